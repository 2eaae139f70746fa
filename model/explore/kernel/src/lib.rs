// SPDX-License-Identifier: GPL-2.0

//! A `kernel` crate in user space, under a checker that chooses every interleaving.
//!
//! It has what `protocol/` and `abstractions/` use, under the same names. Three layers:
//!
//! - `check.rs`: the checker. Where a thread may be interrupted, and what it waits for.
//! - `c/`: the C functions, each written from what the kernel documents of it, and no stronger.
//! - the rest: the Rust types of the in-tree crate. Where those need nothing but the C functions they
//!   are the in-tree files themselves (`workqueue.rs`, `sync/set_once.rs`, `pin-init`).
//!
//! A thread of the checker is a task, a worker, a softirq or a hard interrupt (`context.rs`); what may not
//! sleep and does is an error.

#![feature(arbitrary_self_types)]
#![allow(clippy::missing_safety_doc, clippy::new_without_default)]

extern crate self as kernel;

#[macro_use]
mod macros_of_prelude;
pub mod alloc;
mod arc;
pub mod c;
pub mod check;
pub mod context;
pub mod error;
mod lock;
pub mod rbtree;
pub mod str;
pub mod sync;
pub mod types;
#[rustfmt::skip] // Not of this repository.
#[path = "../../tree/kernel/workqueue.rs"]
pub mod workqueue;

pub use c::{bindings, helpers};
pub use core::ffi;

/// Begins an execution: all that outlives one is as at first. For the arguments see [`check::begin`].
pub fn begin(choices: bool, failing: usize) {
    context::begin();
    check::begin(choices, failing);
    arc::begin();
    c::begin();
}

pub mod fmt {
    pub use core::fmt::*;

    /// An argument of `fmt!`, where a `CStr` has a text, too.
    pub struct Adapter<'a, T: ?Sized>(pub &'a T);

    pub trait Show {
        fn show(&self) -> String;
    }

    impl<T: Display + ?Sized> Show for Adapter<'_, T> {
        fn show(&self) -> String {
            self.0.to_string()
        }
    }

    impl Adapter<'_, &core::ffi::CStr> {
        pub fn show(&self) -> String {
            self.0.to_string_lossy().into_owned()
        }
    }
}

pub mod init {
    pub use crate::alloc::InPlaceInit;
}

pub mod page {
    pub const PAGE_SIZE: usize = 4096;
}

pub mod time {
    use core::{cell::Cell, marker::PhantomData};

    pub type Jiffies = u64;

    pub struct Monotonic;

    /// Time passes only for whoever looks at it, and others may run meanwhile.
    pub struct Instant<C>(Cell<i64>, PhantomData<C>);

    impl<C> Instant<C> {
        pub fn now() -> Self {
            Self(Cell::new(0), PhantomData)
        }

        pub fn elapsed(&self) -> Delta {
            crate::check::point();
            self.0.set(self.0.get() + 50);
            Delta(self.0.get())
        }
    }

    #[derive(PartialEq, PartialOrd)]
    pub struct Delta(i64);

    impl Delta {
        pub const fn from_millis(millis: i64) -> Self {
            Self(millis)
        }
    }
}

pub mod task {
    pub use crate::context::might_sleep;

    pub struct Task;
    impl Task {
        pub fn current_raw() -> *mut crate::bindings::task_struct {
            crate::context::current_id() as _
        }
    }
}

pub mod macros {
    pub use paste::paste;
}

/// Whoever has a module: a test has none.
pub trait ModuleMetadata {
    const NAME: &'static str::CStr;
    const THIS_MODULE: ThisModule;
}

pub struct ThisModule;
impl ThisModule {
    pub const fn as_ptr(&self) -> *mut bindings::module {
        core::ptr::null_mut()
    }
}

pub mod prelude {
    // Crates of their own in the kernel, which the in-tree files name without a `use`.
    pub use crate::fmt;
    pub use crate::{
        alloc::{flags::*, Box, InPlaceInit, KBox, KVVec, KVec},
        error::{code::*, Error, Result},
        ffi::{c_char, c_int, c_uint, c_ulong, c_void},
        pr_err, pr_warn,
        str::{CStr, CStrExt as _},
        try_init, try_pin_init,
    };
    pub use crate::{bindings, ffi};
    pub use core::{
        mem::{align_of, align_of_val, size_of, size_of_val},
        pin::Pin,
    };
    pub use pin_init::{
        init, pin_data, pin_init, pinned_drop, InPlaceWrite, Init, PinInit, Zeroable,
    };
}
