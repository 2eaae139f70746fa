// SPDX-License-Identifier: GPL-2.0

//! As much of the `kernel` crate as `abstractions/sync/rcu/slot.rs` uses, on top of loom.
//!
//! Loom lets every load return every value that the C11 memory model allows. RCU is implemented by a
//! lock. It gives the guarantee of a grace period (a reader that is not waited for sees the writes before
//! it), and a publisher does not take it, so it orders nothing between publication and lookup.
//!
//! Each of the features `relaxed_publish`, `relaxed_load` and `no_grace_period` removes something; then a
//! test must fail.

pub mod prelude {
    pub use crate::{Error, Result, GFP_KERNEL};
}

#[derive(Debug)]
pub struct Error;
pub type Result<T = (), E = Error> = core::result::Result<T, E>;
pub struct Flags;
pub const GFP_KERNEL: Flags = Flags;

pub mod ffi {
    #[allow(non_camel_case_types)]
    pub type c_ulong = core::ffi::c_ulong;
}

/// Grace periods.
pub mod bindings {
    use super::{ffi::c_ulong, sync::rcu::STATE};

    /// # Safety
    ///
    /// Always safe.
    pub unsafe fn get_state_synchronize_rcu() -> c_ulong {
        STATE.with(|state| state.begin())
    }

    /// # Safety
    ///
    /// Always safe.
    pub unsafe fn cond_synchronize_rcu(from: c_ulong) {
        if !cfg!(feature = "no_grace_period") {
            STATE.with(|state| state.wait(from));
        }
    }
}

pub mod task {
    pub fn might_sleep() {}
}

pub mod sync {
    use core::{ops::Deref, ptr::NonNull};

    /// An `Arc` with the kernel's `new()`.
    pub struct Arc<T>(loom::sync::Arc<T>);

    impl<T> Arc<T> {
        pub fn new(value: T, _flags: super::Flags) -> super::Result<Self> {
            Ok(Self(loom::sync::Arc::new(value)))
        }

        pub fn into_raw(self) -> *const T {
            loom::sync::Arc::into_raw(self.0)
        }

        /// # Safety
        ///
        /// From [`into_raw`](Self::into_raw), once.
        pub unsafe fn from_raw(ptr: *const T) -> Self {
            // SAFETY: The caller guarantees it.
            Self(unsafe { loom::sync::Arc::from_raw(ptr) })
        }

        pub fn as_ptr(this: &Self) -> NonNull<T> {
            NonNull::from(&**this)
        }
    }

    impl<T> Clone for Arc<T> {
        fn clone(&self) -> Self {
            Self(self.0.clone())
        }
    }

    impl<T> Deref for Arc<T> {
        type Target = T;

        fn deref(&self) -> &T {
            &self.0
        }
    }

    pub mod atomic {
        use core::cell::OnceCell;
        use loom::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

        #[derive(Clone, Copy)]
        pub struct Acquire;
        #[derive(Clone, Copy)]
        pub struct Release;
        #[derive(Clone, Copy)]
        pub struct Full;

        /// The kernel's `Atomic`, for the one type that is used: `Atomic<*mut T>`.
        ///
        /// Its constructor is const, as in the kernel, so the loom atomic is made at the first access.
        pub struct Atomic<P: Pointer> {
            init: P,
            inner: OnceCell<P::Atomic>,
        }

        // SAFETY: Loom runs one thread at a time, and the content of the cell is atomic.
        unsafe impl<P: Pointer> Send for Atomic<P> {}
        // SAFETY: As above.
        unsafe impl<P: Pointer> Sync for Atomic<P> {}

        pub trait Pointer {
            type Atomic;
        }

        impl<T> Pointer for *mut T {
            type Atomic = AtomicPtr<T>;
        }

        fn publish() -> Ordering {
            if cfg!(feature = "relaxed_publish") {
                Ordering::Relaxed
            } else {
                Ordering::AcqRel
            }
        }

        fn acquire() -> Ordering {
            if cfg!(feature = "relaxed_load") {
                Ordering::Relaxed
            } else {
                Ordering::Acquire
            }
        }

        impl<T> Atomic<*mut T> {
            pub const fn new(init: *mut T) -> Self {
                Self {
                    init,
                    inner: OnceCell::new(),
                }
            }

            fn inner(&self) -> &AtomicPtr<T> {
                self.inner.get_or_init(|| AtomicPtr::new(self.init))
            }

            pub fn load(&self, _: Acquire) -> *mut T {
                self.inner().load(acquire())
            }

            pub fn xchg(&self, new: *mut T, _: Full) -> *mut T {
                self.inner().swap(new, Ordering::AcqRel)
            }

            pub fn cmpxchg(&self, old: *mut T, new: *mut T, _: Full) -> Result<*mut T, *mut T> {
                self.inner()
                    .compare_exchange(old, new, publish(), Ordering::Relaxed)
            }
        }

        pub struct AtomicFlag(AtomicBool);

        impl AtomicFlag {
            pub fn new(value: bool) -> Self {
                Self(AtomicBool::new(value))
            }

            pub fn load(&self, _: Acquire) -> bool {
                self.0.load(acquire())
            }

            pub fn store(&self, value: bool, _: Release) {
                self.0.store(
                    value,
                    if cfg!(feature = "relaxed_publish") {
                        Ordering::Relaxed
                    } else {
                        Ordering::Release
                    },
                );
            }
        }
    }

    pub mod rcu {
        use loom::sync::{Condvar, Mutex};

        /// The readers, by the time of their `read_lock()`, and the number of grace periods that have begun.
        pub(crate) struct State {
            readers: Mutex<(u64, Vec<u64>)>,
            left: Condvar,
        }

        loom::lazy_static! {
            pub(crate) static ref STATE_CELL: State = State {
                readers: Mutex::new((0, Vec::new())),
                left: Condvar::new(),
            };
        }

        pub(crate) struct Cell;
        pub(crate) static STATE: Cell = Cell;
        impl Cell {
            pub(crate) fn with<R>(&self, f: impl FnOnce(&State) -> R) -> R {
                f(&STATE_CELL)
            }
        }

        impl State {
            /// Begins a grace period: it waits for the readers that have begun before.
            pub(crate) fn begin(&self) -> core::ffi::c_ulong {
                let mut state = self.readers.lock().unwrap();
                state.0 += 1;
                state.0 as _
            }

            pub(crate) fn wait(&self, from: core::ffi::c_ulong) {
                let mut state = self.readers.lock().unwrap();
                while state.1.iter().any(|&came| came < from as u64) {
                    state = self.left.wait(state).unwrap();
                }
            }
        }

        /// A read-side critical section.
        pub struct Guard(u64);

        pub fn read_lock() -> Guard {
            STATE.with(|state| {
                let mut state = state.readers.lock().unwrap();
                let now = state.0;
                state.1.push(now);
                Guard(now)
            })
        }

        impl Drop for Guard {
            fn drop(&mut self) {
                STATE.with(|state| {
                    let mut readers = state.readers.lock().unwrap();
                    let at = readers.1.iter().position(|&came| came == self.0).unwrap();
                    readers.1.remove(at);
                    state.left.notify_all();
                });
            }
        }
    }
}
