// SPDX-License-Identifier: GPL-2.0

//! What threads share.

pub mod aref;
pub mod atomic;
pub mod rcu;
#[rustfmt::skip] // Not of this repository.
#[path = "../../../tree/kernel/sync/set_once.rs"]
mod set_once;

pub use crate::{
    arc::{live, Arc, UniqueArc},
    lock::{Completion, CondVar},
    new_condvar, new_mutex, new_spinlock, new_spinlock_irq,
};
pub use set_once::SetOnce;

use core::{cell::UnsafeCell, pin::Pin};

pub mod lock {
    pub use crate::lock::{spinlock, Backend, Guard, Lock};
}

pub type Mutex<T> = lock::Lock<T, crate::lock::MutexBackend>;
pub type SpinLock<T> = lock::Lock<T, lock::spinlock::SpinLockBackend>;
pub type SpinLockIrq<T> = lock::Lock<T, lock::spinlock::SpinLockIrqBackend>;

pub struct LockClassKey;
impl LockClassKey {
    pub fn new_static() -> Pin<&'static Self> {
        Pin::static_ref(&Self)
    }

    pub fn as_ptr(&self) -> *mut crate::bindings::lock_class_key {
        core::ptr::null_mut()
    }
}

/// Data that a lock elsewhere protects.
pub struct LockedBy<T, U> {
    owner: *const U,
    data: UnsafeCell<T>,
}

// SAFETY: As in the kernel crate.
unsafe impl<T: Send, U> Send for LockedBy<T, U> {}
// SAFETY: As in the kernel crate.
unsafe impl<T: Send, U> Sync for LockedBy<T, U> {}

impl<T, U> LockedBy<T, U> {
    pub fn new<B: lock::Backend>(owner: &lock::Lock<U, B>, data: T) -> Self {
        Self {
            owner: owner.data.get(),
            data: UnsafeCell::new(data),
        }
    }

    pub fn access<'a>(&'a self, owner: &'a U) -> &'a T
    where
        T: Sync,
    {
        assert!(core::ptr::eq(owner, self.owner), "mismatched owners");
        // SAFETY: The owner is borrowed, and so its lock is held.
        unsafe { &*self.data.get() }
    }

    pub fn access_mut<'a>(&'a self, owner: &'a mut U) -> &'a mut T {
        assert!(core::ptr::eq(owner, self.owner), "mismatched owners");
        // SAFETY: As above, for this caller alone.
        unsafe { &mut *self.data.get() }
    }
}
