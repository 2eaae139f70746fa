// SPDX-License-Identifier: GPL-2.0

//! `include/linux/rcupdate.h`.
//!
//! A grace period waits for the readers that began before it, and for no others. A callback runs in a softirq after a
//! grace period that began after `call_rcu()`; nothing is said of the order of callbacks, so each has a thread
//! of its own. `rcu_barrier()` waits for the callbacks that were queued before it, and for no grace period
//! where there is none.

use crate::{check, check::Waiters, context};
use core::ffi::c_ulong;
use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
};

thread_local! {
    static STATE: State = State::default();
}

#[derive(Default)]
struct State {
    /// Counts the beginnings of readers.
    now: Cell<u64>,
    readers: RefCell<BTreeMap<usize, u64>>,
    left: Waiters,
    /// The callbacks that have not returned.
    callbacks: RefCell<BTreeMap<u64, usize>>,
    called: Waiters,
}

/// Begins an execution.
pub(super) fn begin() {
    STATE.with(|state| {
        state.now.set(0);
        state.readers.borrow_mut().clear();
        state.callbacks.borrow_mut().clear();
        state.left.begin();
        state.called.begin();
    });
}

fn tick() -> u64 {
    STATE.with(|state| {
        state.now.set(state.now.get() + 1);
        state.now.get()
    })
}

pub(crate) fn begin_reader(thread: usize) {
    let now = tick();
    STATE.with(|state| state.readers.borrow_mut().insert(thread, now));
}

pub(crate) fn end_reader(thread: usize) {
    STATE.with(|state| {
        state.readers.borrow_mut().remove(&thread);
        state.left.wake();
    });
}

/// Waits for the readers that began before that moment.
fn wait(from: u64) {
    STATE.with(|state| {
        state
            .left
            .wait_until(|| state.readers.borrow().values().all(|&began| began > from))
    });
}

pub fn synchronize_rcu() {
    context::might_sleep();
    wait(tick());
}

pub fn rcu_barrier() {
    context::might_sleep();
    STATE.with(|state| {
        let before = tick();
        let none = || {
            state
                .callbacks
                .borrow()
                .keys()
                .all(|&queued| queued > before)
        };
        state.called.wait_until(none);
    });
}

pub unsafe fn get_state_synchronize_rcu() -> c_ulong {
    check::point();
    tick()
}

pub unsafe fn cond_synchronize_rcu(from: c_ulong) {
    context::might_sleep();
    wait(from);
}

#[repr(C)]
#[allow(non_camel_case_types)]
pub struct callback_head {
    _private: [usize; 2],
}

pub(crate) fn call_rcu(head: usize, f: impl FnOnce() + 'static) {
    check::point();
    let queued = tick();
    STATE.with(|state| {
        let mut callbacks = state.callbacks.borrow_mut();
        assert!(
            !callbacks.values().any(|&other| other == head),
            "call_rcu() of a head that is queued"
        );
        callbacks.insert(queued, head);
    });
    check::spawn_kernel(move || {
        wait(queued);
        context::in_softirq(|| {
            check::point();
            // The head can be queued again from here.
            STATE.with(|state| state.callbacks.borrow_mut().insert(queued, 0));
            f();
        });
        STATE.with(|state| {
            state.callbacks.borrow_mut().remove(&queued);
            state.called.wake();
        });
    });
}

pub mod helpers {
    use super::*;

    pub unsafe fn rust_kmemcg_call_rcu_hurry(
        head: *mut callback_head,
        f: Option<unsafe extern "C" fn(*mut callback_head)>,
    ) {
        let f = f.expect("a function");
        // SAFETY: The caller guarantees that the head stays until then.
        call_rcu(head as usize, move || unsafe { f(head) });
    }

    pub unsafe fn rust_kmemcg_synchronize_rcu_tasks() {
        context::might_sleep();
    }
}
