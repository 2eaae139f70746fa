// SPDX-License-Identifier: GPL-2.0

//! Why a module cannot be unloaded while its code may still be called.
//!
//! A value whose drop waits can be forgotten: `mem::forget`, a static, a cycle of `Arc`s. What it
//! would have waited for then calls code that is gone. So in this crate waiting in a drop is never
//! what keeps the module: whatever has its code called by others (a workqueue, a folder of
//! debugfs, a count that is not released yet) has a [`Hold`] as long as that can happen, and the
//! module's [`Anchor`] waits for all of them. Where something was forgotten, `rmmod` waits for
//! ever; it never frees code that somebody may run.
//!
//! The anchor itself cannot be forgotten, as it is pinned in the memory of the module: in the
//! structure that `module!` keeps. What is pinned must be dropped before its memory goes; that is
//! what pinning means. (There is one exception, even from safe code: a module that wraps the
//! anchor, in that very structure, in what never drops its content: `Opaque`, `MaybeUninit`.) Its
//! drop
//!
//! 1. closes: from here no hold is given out, and no RCU callback queued;
//! 2. waits until there is no hold;
//! 3. waits for those who were in an RCU read-side critical section (`synchronize_rcu()`): the last
//!    steps of who let go of the last hold in one, and those who had looked whether it is closed,
//!    and were about to queue a callback;
//! 4. waits for all callbacks that were queued (`rcu_barrier()`).
//!
//! A hold protects the code of the module whose anchor gave it out, so that is the one to ask for
//! it.
//!
//! # Examples
//!
//! ```
//! use kernel::{prelude::*, ModuleMetadata};
//! use rust_kmemcg::abstractions::{unload, workqueue::*};
//!
//! /// The fields are dropped in this order.
//! #[pin_data]
//! struct MyModule<M: ModuleMetadata> {
//!     queue: OwnedQueue,
//!     #[pin]
//!     anchor: unload::Anchor<M>,
//! }
//!
//! fn init<M: ModuleMetadata>() -> impl PinInit<MyModule<M>, Error> {
//!     try_pin_init!(MyModule {
//!         anchor <- unload::Anchor::new(),
//!         queue: OwnedQueue::new(c"example", Options::unbound(), anchor.handle())?,
//!     })
//! }
//! ```
//!
//! C header: [`include/linux/module.h`](srctree/include/linux/module.h)

use crate::abstractions::{
    helpers,
    wait_group::{Member, WaitGroup},
};
use core::marker::{PhantomData, PhantomPinned};
use kernel::{prelude::*, sync::rcu, ModuleMetadata};

/// Waits, when it is dropped, until nobody calls the code of the module `M`; see the comment of
/// this file.
///
/// Its place is the module's own structure, as the last field, so that what has holds is dropped
/// before. Context of the drop: may sleep.
#[pin_data(PinnedDrop)]
pub struct Anchor<M: ModuleMetadata> {
    handle: Handle,
    #[pin]
    _pin: PhantomPinned,
    _module: PhantomData<fn() -> M>,
}

impl<M: ModuleMetadata> Anchor<M> {
    /// Makes the anchor, in the memory of the module.
    ///
    /// # Errors
    ///
    /// `EINVAL`: somewhere else. `ENOMEM`.
    pub fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(&this in Self {
            handle: {
                if !is_in_module::<M, Self>(this.as_ptr()) {
                    return Err(EINVAL);
                }
                Handle(WaitGroup::new()?)
            },
            _pin: PhantomPinned,
            _module: PhantomData,
        })
    }

    /// What holds are had from.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }
}

#[pinned_drop]
impl<M: ModuleMetadata> PinnedDrop for Anchor<M> {
    fn drop(self: Pin<&mut Self>) {
        self.handle.end();
    }
}

/// Calls `f` with a handle that gives out holds until `f` returns, and then waits for all of them
/// as the drop of an [`Anchor`] does: for tests and examples, which have no module of their own.
///
/// Context: may sleep.
///
/// # Errors
///
/// `ENOMEM`, and those of `f`.
///
/// # Examples
///
/// ```
/// use kernel::prelude::*;
/// use rust_kmemcg::abstractions::unload::{self, Handle};
///
/// fn example() -> Result<Handle> {
///     let mut handle = None;
///     unload::scope(|module| {
///         handle = Some(module.clone());
///         module.hold().map(drop)
///     })?;
///     handle.ok_or(EINVAL)
/// }
/// # assert_eq!(example().and_then(|handle| handle.hold().map(drop)), Err(ENODEV));
/// ```
pub fn scope(f: impl FnOnce(&Handle) -> Result) -> Result {
    let handle = Handle(WaitGroup::new()?);
    let result = f(&handle);
    // Before this returns, to code of the same module.
    handle.end();
    result
}

/// Does that lie in the memory of the module `M`, which goes with it?
pub(super) fn is_in_module<M: ModuleMetadata, T>(place: *const T) -> bool {
    // SAFETY: Compares an address with those of a module that is loaded, as its code runs; a null
    // pointer is the kernel itself, whose code never goes.
    unsafe { helpers::rust_kmemcg_in_module(place.cast(), M::THIS_MODULE.as_ptr()) }
}

/// Gives out holds, as long as the [`Anchor`] that it came from exists.
#[derive(Clone)]
pub struct Handle(WaitGroup);

impl Handle {
    /// A hold on the module. Context: any but NMI.
    ///
    /// # Errors
    ///
    /// `ENODEV`: the module is being unloaded, and its [`Anchor`] is being dropped.
    pub fn hold(&self) -> Result<Hold> {
        self.0.try_join().map(Hold).ok_or(ENODEV)
    }

    /// Gives out no more, and waits until nobody runs by one.
    fn end(&self) {
        self.0.close();
        self.0.wait();
        rcu::synchronize_rcu();
        rcu::rcu_barrier();
    }

    /// Is the [`Anchor`] being dropped, or was it? If not, it waits for an RCU read-side critical
    /// section that the caller is in. Context: any.
    pub(super) fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}

/// Keeps the code of the module until it is dropped.
///
/// Who has one can always have another: a clone. Context of the drop: any but NMI. Whoever drops
/// one and returns through code of the module does so in an RCU read-side critical section, or is
/// waited for otherwise: it may be the last one.
#[must_use = "the module may go when it is dropped"]
#[derive(Clone)]
pub struct Hold(#[allow(dead_code)] Member);
