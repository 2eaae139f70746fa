// SPDX-License-Identifier: GPL-2.0

//! `lib/percpu-refcount.c`: its states and their order, with a counter for each thread instead of each CPU.

use super::rcu;
use crate::{
    check,
    check::{point, Waiters},
    context,
};
use core::ffi::{c_int, c_long, c_uint};
use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
};

pub const PERCPU_REF_INIT_DEAD: c_uint = 2;
pub const PERCPU_REF_ALLOW_REINIT: c_uint = 4;

#[allow(non_camel_case_types)]
pub type percpu_ref_func_t = Option<unsafe extern "C" fn(*mut percpu_ref)>;

#[allow(non_camel_case_types)]
pub struct percpu_ref {
    /// `__PERCPU_REF_ATOMIC`, `__PERCPU_REF_DEAD`.
    is_atomic: Cell<bool>,
    is_dead: Cell<bool>,
    /// `percpu_ref_exit()` was called.
    has_ended: Cell<bool>,
    /// `PERCPU_COUNT_BIAS` is in the count.
    has_bias: Cell<bool>,
    count: Cell<c_long>,
    percpu: RefCell<BTreeMap<usize, c_long>>,
    release: percpu_ref_func_t,
    /// Set from the switch to atomic until its confirmation.
    confirm_switch: Cell<bool>,
    confirmed: Waiters,
}

/// `percpu_ref_switch_lock`, which all counts share.
mod switch_lock {
    use super::*;

    thread_local! {
        static HELD: Cell<Option<usize>> = const { Cell::new(None) };
        static WAITERS: Waiters = const { Waiters::new() };
    }

    pub fn begin() {
        HELD.with(|held| held.set(None));
        WAITERS.with(Waiters::begin);
    }

    pub fn lock() {
        point();
        context::disable_irqs();
        WAITERS.with(|waiters| waiters.wait_until(|| HELD.with(Cell::get).is_none()));
        HELD.with(|held| held.set(Some(context::current_id())));
    }

    pub fn is_ours() -> bool {
        HELD.with(Cell::get) == Some(context::current_id())
    }

    pub fn unlock() {
        HELD.with(|held| held.set(None));
        WAITERS.with(Waiters::wake);
        context::enable_irqs();
    }
}
pub(super) use switch_lock::begin;

impl percpu_ref {
    fn is_percpu(&self) -> bool {
        assert!(
            !self.has_ended.get(),
            "use of a percpu_ref after percpu_ref_exit()"
        );
        !self.is_atomic.get() && !self.is_dead.get()
    }

    fn add_here(&self, by: c_long) {
        *self
            .percpu
            .borrow_mut()
            .entry(context::current_id())
            .or_default() += by;
    }

    fn sum(&self) -> c_long {
        self.percpu.borrow().values().sum()
    }

    fn get(&self) {
        context::rcu_read_lock();
        point();
        let is_percpu = self.is_percpu();
        point();
        if is_percpu {
            self.add_here(1);
        } else {
            self.count.set(self.count.get() + 1);
        }
        context::rcu_read_unlock();
    }

    fn inc_not_zero(&self) -> bool {
        point();
        let is_zero = self.count.get() == 0 && !self.has_bias.get();
        if !is_zero {
            self.count.set(self.count.get() + 1);
        }
        !is_zero
    }

    fn tryget(&self, if_dead: bool) -> bool {
        context::rcu_read_lock();
        point();
        let got = if self.is_percpu() {
            point();
            self.add_here(1);
            true
        } else {
            (if_dead || !self.is_dead.get()) && self.inc_not_zero()
        };
        context::rcu_read_unlock();
        got
    }

    fn put(this: *mut Self) {
        // SAFETY: The caller has a reference.
        let refs = unsafe { &*this };
        context::rcu_read_lock();
        point();
        let is_percpu = refs.is_percpu();
        point();
        if is_percpu {
            refs.add_here(-1);
        } else {
            refs.count.set(refs.count.get() - 1);
            if refs.count.get() == 0 && !refs.has_bias.get() {
                let release = refs.release.expect("initialised");
                // A kill in it would wait for itself.
                assert!(
                    !switch_lock::is_ours(),
                    "release() with percpu_ref_switch_lock held"
                );
                // SAFETY: The count is zero.
                unsafe { release(this) };
            }
            // It may be negative while it has the bias.
            assert!(
                refs.count.get() >= 0 || refs.has_bias.get(),
                "percpu_ref underflow"
            );
        }
        context::rcu_read_unlock();
    }

    /// `__percpu_ref_switch_to_atomic()`, with the lock held.
    fn switch_to_atomic(this: *mut Self, confirm: percpu_ref_func_t) {
        // SAFETY: The caller has a reference.
        let refs = unsafe { &*this };
        let call = move || {
            if let Some(confirm) = confirm {
                // SAFETY: The caller of the switch guarantees it.
                unsafe { confirm(this) };
            }
        };
        if refs.is_atomic.get() {
            return call();
        }
        refs.is_atomic.set(true);
        refs.confirm_switch.set(true);
        refs.count.set(refs.count.get() + 1);
        rcu::call_rcu(this as usize, move || {
            // SAFETY: The reference that was taken for this.
            let refs = unsafe { &*this };
            refs.count.set(refs.count.get() + refs.sum());
            refs.has_bias.set(false);
            assert!(
                refs.count.get() > 0,
                "percpu_ref: count is {} after the switch",
                refs.count.get()
            );
            call();
            point();
            refs.confirm_switch.set(false);
            refs.confirmed.wake();
            Self::put(this);
        });
    }

    /// `__percpu_ref_switch_to_percpu()`, with the lock held.
    fn switch_to_percpu(&self) {
        if !self.is_atomic.get() {
            return;
        }
        self.has_bias.set(true);
        self.percpu.borrow_mut().clear();
        point();
        self.is_atomic.set(false);
    }

    /// Waits for a switch to atomic. The lock is held, but for the wait.
    fn wait_switched(&self) {
        while self.confirm_switch.get() {
            switch_lock::unlock();
            context::might_sleep();
            self.confirmed.wait_until(|| !self.confirm_switch.get());
            switch_lock::lock();
        }
    }

    fn resurrect(&self) {
        switch_lock::lock();
        assert!(self.is_dead.get(), "percpu_ref_resurrect() of a live count");
        self.is_dead.set(false);
        self.count.set(self.count.get() + 1);
        self.wait_switched();
        self.switch_to_percpu();
        switch_lock::unlock();
    }
}

pub unsafe fn percpu_ref_init(
    refs: *mut percpu_ref,
    release: percpu_ref_func_t,
    flags: c_uint,
    _: super::bindings::gfp_t,
) -> c_int {
    assert!(flags == PERCPU_REF_INIT_DEAD | PERCPU_REF_ALLOW_REINIT);
    context::might_sleep();
    if check::fails() {
        return crate::error::code::ENOMEM.to_errno();
    }
    let new = percpu_ref {
        is_atomic: Cell::new(true),
        is_dead: Cell::new(true),
        has_ended: Cell::new(false),
        has_bias: Cell::new(false),
        count: Cell::new(0),
        percpu: Default::default(),
        release,
        confirm_switch: Cell::new(false),
        confirmed: Waiters::new(),
    };
    // SAFETY: The caller guarantees it.
    unsafe { refs.write(new) };
    0
}

pub unsafe fn percpu_ref_exit(refs: *mut percpu_ref) {
    // SAFETY: The caller guarantees it.
    let this = unsafe { &*refs };
    assert!(
        !this.confirm_switch.get(),
        "percpu_ref_exit() during a switch"
    );
    assert!(
        this.is_atomic.get() && this.count.get() == 0,
        "percpu_ref_exit() of a count in use"
    );
    this.has_ended.set(true);
}

pub unsafe fn percpu_ref_reinit(refs: *mut percpu_ref) {
    // SAFETY: The caller guarantees it.
    let this = unsafe { &*refs };
    assert!(
        this.is_atomic.get() && this.count.get() == 0,
        "percpu_ref_reinit() of a count in use"
    );
    this.resurrect();
}

pub unsafe fn percpu_ref_resurrect(refs: *mut percpu_ref) {
    // SAFETY: The caller guarantees it.
    unsafe { &*refs }.resurrect();
}

pub unsafe fn percpu_ref_kill_and_confirm(refs: *mut percpu_ref, confirm: percpu_ref_func_t) {
    // SAFETY: The caller guarantees it.
    let this = unsafe { &*refs };
    switch_lock::lock();
    assert!(!this.is_dead.get(), "percpu_ref_kill() of a dead count");
    this.is_dead.set(true);
    // `percpu_ref_kill()` of a count that is being switched waits, which no caller of ours does.
    percpu_ref::switch_to_atomic(refs, confirm);
    percpu_ref::put(refs);
    switch_lock::unlock();
}

pub unsafe fn percpu_ref_switch_to_atomic_sync(refs: *mut percpu_ref) {
    // SAFETY: The caller guarantees it.
    let this = unsafe { &*refs };
    switch_lock::lock();
    this.wait_switched();
    percpu_ref::switch_to_atomic(refs, None);
    switch_lock::unlock();
    this.confirmed.wait_until(|| !this.confirm_switch.get());
}

pub unsafe fn percpu_ref_switch_to_percpu(refs: *mut percpu_ref) {
    // SAFETY: The caller guarantees it.
    let this = unsafe { &*refs };
    switch_lock::lock();
    this.wait_switched();
    if !this.is_dead.get() {
        this.switch_to_percpu();
    }
    switch_lock::unlock();
}

pub unsafe fn percpu_ref_is_zero(refs: *mut percpu_ref) -> bool {
    point();
    // SAFETY: The caller guarantees it.
    let this = unsafe { &*refs };
    !this.is_percpu() && this.count.get() == 0 && !this.has_bias.get()
}

pub mod helpers {
    use super::*;

    pub unsafe fn rust_kmemcg_percpu_ref_get(refs: *mut percpu_ref) {
        // SAFETY: The caller guarantees it.
        unsafe { &*refs }.get();
    }

    pub unsafe fn rust_kmemcg_percpu_ref_tryget(refs: *mut percpu_ref) -> bool {
        // SAFETY: The caller guarantees it.
        unsafe { &*refs }.tryget(true)
    }

    pub unsafe fn rust_kmemcg_percpu_ref_tryget_live(refs: *mut percpu_ref) -> bool {
        // SAFETY: The caller guarantees it.
        unsafe { &*refs }.tryget(false)
    }

    pub unsafe fn rust_kmemcg_percpu_ref_tryget_percpu(refs: *mut percpu_ref) -> bool {
        // SAFETY: The caller guarantees it.
        let this = unsafe { &*refs };
        point();
        let is_percpu = this.is_percpu();
        point();
        if is_percpu {
            this.add_here(1);
        }
        is_percpu
    }

    pub unsafe fn rust_kmemcg_percpu_ref_put(refs: *mut percpu_ref) {
        percpu_ref::put(refs);
    }

    pub unsafe fn rust_kmemcg_percpu_ref_is_dying(refs: *mut percpu_ref) -> bool {
        point();
        // SAFETY: The caller guarantees it.
        unsafe { &*refs }.is_dead.get()
    }

    pub unsafe fn rust_kmemcg_percpu_ref_is_exact(refs: *mut percpu_ref) -> bool {
        point();
        // SAFETY: The caller guarantees it.
        let this = unsafe { &*refs };
        this.is_atomic.get() && !this.confirm_switch.get()
    }

    /// Line by line that of `abstractions/helpers.c`: the counters are read one after the other.
    pub unsafe fn rust_kmemcg_percpu_ref_count(refs: *mut percpu_ref, to_percpu: bool) -> c_long {
        // SAFETY: The caller guarantees it.
        let this = unsafe { &*refs };
        loop {
            point();
            let state = (this.is_atomic.get(), this.is_dead.get());
            let switching = this.confirm_switch.get();
            let mut count = this.count.get();
            if this.has_bias.get() {
                let stale = to_percpu && this.is_atomic.get() && !switching;
                let threads: Vec<_> = this.percpu.borrow().keys().copied().collect();
                for thread in threads {
                    if !stale {
                        point();
                        count += this.percpu.borrow().get(&thread).copied().unwrap_or(0);
                    }
                }
            }
            point();
            if (this.is_atomic.get(), this.is_dead.get()) == state
                && this.confirm_switch.get() == switching
            {
                return count - c_long::from(switching);
            }
        }
    }
}
