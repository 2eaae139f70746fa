// SPDX-License-Identifier: GPL-2.0

//! How a queue is made.

use core::marker::PhantomData;
use kernel::bindings;

/// A kind of queue, in [`Options`]: items run on the CPU that queued them (`WQ_PERCPU`).
#[derive(Clone, Copy)]
pub struct PerCpu;

/// A kind of queue: items run on no CPU in particular (`WQ_UNBOUND`).
#[derive(Clone, Copy)]
pub struct Unbound;

/// A kind of queue: items run one after the other (`alloc_ordered_workqueue()`).
#[derive(Clone, Copy)]
pub struct Ordered;

mod sealed {
    pub trait Concurrent {}
    impl Concurrent for super::PerCpu {}
    impl Concurrent for super::Unbound {}
}

/// The kinds of queues that run several items at a time: [`PerCpu`] and [`Unbound`].
pub trait Concurrent: sealed::Concurrent {}

impl<K: sealed::Concurrent> Concurrent for K {}

/// How a queue is made. What C ignores or refuses for a kind of queue is not there for that kind.
///
/// # Examples
///
/// ```
/// use rust_kmemcg::abstractions::workqueue::{Options, Ordered};
///
/// const RELEASES: Options = Options::unbound().mem_reclaim().max_active(16);
/// const LOG: Options<Ordered> = Options::ordered().freezable();
/// ```
#[derive(Clone, Copy)]
pub struct Options<K = Unbound> {
    pub(super) flags: u32,
    pub(super) max_active: u32,
    _kind: PhantomData<K>,
}

impl Options<PerCpu> {
    /// A queue whose items run on the CPU that queued them.
    pub const fn per_cpu() -> Self {
        Self::with(bindings::wq_flags_WQ_PERCPU, 0)
    }
}

impl Options<Unbound> {
    /// A queue whose items run on no CPU in particular.
    pub const fn unbound() -> Self {
        Self::with(bindings::wq_flags_WQ_UNBOUND, 0)
    }
}

impl Options<Ordered> {
    /// A queue whose items run one after the other, in the order in which they were queued.
    pub const fn ordered() -> Self {
        Self::with(
            bindings::wq_flags_WQ_UNBOUND | bindings::wq_flags___WQ_ORDERED,
            1,
        )
    }
}

impl<K: Concurrent> Options<K> {
    /// Runs at most so many items at a time; 0, the default, is the kernel's default.
    pub const fn max_active(mut self, items: u32) -> Self {
        self.max_active = items;
        self
    }

    /// Items run in workers of high priority (`WQ_HIGHPRI`).
    pub const fn highpri(mut self) -> Self {
        self.flags |= bindings::wq_flags_WQ_HIGHPRI;
        self
    }
}

impl<K> Options<K> {
    const fn with(flags: u32, max_active: u32) -> Self {
        Self {
            flags,
            max_active,
            _kind: PhantomData,
        }
    }

    /// Gives the queue a rescuer, so that it makes progress when there is no memory for new
    /// workers (`WQ_MEM_RECLAIM`): needed if freeing memory depends on the queue.
    pub const fn mem_reclaim(mut self) -> Self {
        self.flags |= bindings::wq_flags_WQ_MEM_RECLAIM;
        self
    }

    /// Items do not run while the system is being suspended (`WQ_FREEZABLE`).
    pub const fn freezable(mut self) -> Self {
        self.flags |= bindings::wq_flags_WQ_FREEZABLE;
        self
    }
}
