// SPDX-License-Identifier: GPL-2.0

//! Locks and what one may wait for with them.

use crate::{check, check::Waiters, context, str::CStr, sync::LockClassKey};
use core::{
    cell::{Cell, UnsafeCell},
    marker::PhantomPinned,
    ops::{Deref, DerefMut},
    pin::Pin,
};
use pin_init::{pin_data, pin_init, PinInit, Wrapper};

#[derive(PartialEq)]
pub enum Kind {
    Sleeping,
    /// Preemption is off while it is held.
    Spin,
    /// Interrupts are off while it is held.
    SpinIrq,
}

pub trait Backend {
    const KIND: Kind;
}

pub mod spinlock {
    /// One that leaves interrupts on. The module has none; a mutant has.
    pub struct SpinLockBackend;
    impl super::Backend for SpinLockBackend {
        const KIND: super::Kind = super::Kind::Spin;
    }

    pub struct SpinLockIrqBackend;
    impl super::Backend for SpinLockIrqBackend {
        const KIND: super::Kind = super::Kind::SpinIrq;
    }
}

pub struct MutexBackend;
impl Backend for MutexBackend {
    const KIND: Kind = Kind::Sleeping;
}

/// Memory that is freed stays as it is until the end of an execution, so that this can be read.
struct Alive(Cell<bool>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

#[pin_data]
#[repr(C)]
pub struct Lock<T, B: Backend> {
    holder: Cell<Option<usize>>,
    alive: Alive,
    waiters: Waiters,
    backend: core::marker::PhantomData<B>,
    #[pin]
    _pin: PhantomPinned,
    #[pin]
    pub(crate) data: UnsafeCell<T>,
}

// SAFETY: A lock.
unsafe impl<T: Send, B: Backend> Send for Lock<T, B> {}
// SAFETY: A lock.
unsafe impl<T: Send, B: Backend> Sync for Lock<T, B> {}

impl<T, B: Backend> Lock<T, B> {
    pub fn new(
        data: impl PinInit<T>,
        _: &'static CStr,
        _: Pin<&'static LockClassKey>,
    ) -> impl PinInit<Self> {
        pin_init!(Self {
            holder: Cell::new(None),
            alive: Alive(Cell::new(true)),
            waiters: Waiters::new(),
            backend: core::marker::PhantomData,
            _pin: PhantomPinned,
            data <- UnsafeCell::pin_init(data),
        })
    }

    pub fn lock(&self) -> Guard<'_, T, B> {
        if B::KIND == Kind::Sleeping {
            context::might_sleep();
        } else {
            check::point();
        }
        Self::enter();
        self.acquire();
        Guard {
            lock: self,
            _not_send: core::marker::PhantomData,
        }
    }

    fn enter() {
        match B::KIND {
            Kind::Sleeping => (),
            Kind::Spin => context::preempt_disable(),
            Kind::SpinIrq => context::disable_irqs(),
        }
    }

    fn leave() {
        match B::KIND {
            Kind::Sleeping => (),
            Kind::Spin => context::preempt_enable(),
            Kind::SpinIrq => context::enable_irqs(),
        }
    }

    fn acquire(&self) {
        let me = context::current_id();
        assert!(self.alive.0.get(), "use of a lock that was freed");
        assert!(self.holder.get() != Some(me), "the lock is taken twice");
        self.waiters.wait_until(|| self.holder.get().is_none());
        self.holder.set(Some(me));
    }

    fn release(&self) {
        self.holder.set(None);
        self.waiters.wake();
    }
}

pub struct Guard<'a, T, B: Backend> {
    lock: &'a Lock<T, B>,
    _not_send: core::marker::PhantomData<*mut ()>,
}

impl<T, B: Backend> Deref for Guard<'_, T, B> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: Held.
        unsafe { &*self.lock.data.get() }
    }
}

impl<T: Unpin, B: Backend> DerefMut for Guard<'_, T, B> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: Held.
        unsafe { &mut *self.lock.data.get() }
    }
}

impl<T, B: Backend> Drop for Guard<'_, T, B> {
    fn drop(&mut self) {
        self.lock.release();
        Lock::<T, B>::leave();
    }
}

/// `wait_queue_head_t`.
#[pin_data]
pub struct CondVar {
    notified: Cell<usize>,
    waiters: Waiters,
    #[pin]
    _pin: PhantomPinned,
}

// SAFETY: The checker runs one thread at a time.
unsafe impl Send for CondVar {}
// SAFETY: As above.
unsafe impl Sync for CondVar {}

impl CondVar {
    pub fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            notified: Cell::new(0),
            waiters: Waiters::new(),
            _pin: PhantomPinned
        })
    }

    pub fn wait<T, B: Backend>(&self, guard: &mut Guard<'_, T, B>) {
        let before = self.notified.get();
        guard.lock.release();
        // What one waits with is the lock, and nothing else.
        Lock::<T, B>::leave();
        context::might_sleep();
        self.waiters.wait_until(|| self.notified.get() != before);
        Lock::<T, B>::enter();
        guard.lock.acquire();
    }

    pub fn notify_all(&self) {
        self.notified.set(self.notified.get() + 1);
        self.waiters.wake();
    }
}

/// `struct completion`.
#[pin_data]
pub struct Completion {
    done: Cell<bool>,
    waiters: Waiters,
    #[pin]
    _pin: PhantomPinned,
}

// SAFETY: The checker runs one thread at a time.
unsafe impl Send for Completion {}
// SAFETY: As above.
unsafe impl Sync for Completion {}

impl Completion {
    pub fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            done: Cell::new(false),
            waiters: Waiters::new(),
            _pin: PhantomPinned
        })
    }

    pub fn complete_all(&self) {
        check::point();
        self.done.set(true);
        self.waiters.wake();
    }

    pub fn wait_for_completion(&self) {
        context::might_sleep();
        self.waiters.wait_until(|| self.done.get());
    }
}
