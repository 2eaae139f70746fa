// SPDX-License-Identifier: GPL-2.0

//! How a queue is made.

use super::OwnedQueue;
use crate::abstractions::unload;
use core::marker::PhantomData;
use kernel::{
    bindings,
    prelude::*,
    task::might_sleep, //
};

/// A kind of queue, in [`Builder`]: items run on the CPU that queued them (`WQ_PERCPU`).
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

/// Makes an [`OwnedQueue`]. It begins with the kind of queue. What C ignores or refuses for a kind
/// is no method of that kind:
///
/// | | [`PerCpu`] | [`Unbound`] | [`Ordered`] |
/// |---|---|---|---|
/// | [`mem_reclaim`](Self::mem_reclaim), [`freezable`](Self::freezable) | yes | yes | yes |
/// | [`max_active`](Self::max_active), [`highpri`](Self::highpri) | yes | yes | |
/// | [`cpu_intensive`](Builder::cpu_intensive) | yes | | |
/// | [`power_efficient`](Builder::power_efficient) | yes | | |
///
/// # Examples
///
/// ```
/// use kernel::prelude::*;
/// use rust_kmemcg::abstractions::{unload, workqueue::{Builder, Ordered}};
///
/// const LOG: Builder<Ordered> = Builder::ordered().freezable();
///
/// fn example(module: &unload::Handle) -> Result {
///     let log = LOG.build(c"example_log", module)?;
///     let releases = Builder::unbound().mem_reclaim().max_active(16).build(c"example", module)?;
///     # drop((log, releases));
///     Ok(())
/// }
/// # assert_eq!(unload::scope(example), Ok(()));
/// ```
///
/// # Invariants
///
/// `flags` are `WQ_*` that `alloc_workqueue()` accepts together: one of `WQ_PERCPU` and
/// `WQ_UNBOUND`, and `__WQ_ORDERED` with `WQ_UNBOUND` and a `max_active` of 1 only.
#[must_use = "makes no queue before `build()`"]
#[derive(Clone, Copy)]
pub struct Builder<K = Unbound> {
    flags: u32,
    max_active: u32,
    _kind: PhantomData<K>,
}

impl Builder<PerCpu> {
    /// A queue whose items run on the CPU that queued them.
    pub const fn per_cpu() -> Self {
        Self::with(bindings::wq_flags_WQ_PERCPU, 0)
    }

    /// Items do not keep others of their CPU from running, as they use much of it
    /// (`WQ_CPU_INTENSIVE`).
    pub const fn cpu_intensive(mut self) -> Self {
        self.flags |= bindings::wq_flags_WQ_CPU_INTENSIVE;
        self
    }

    /// The queue is unbound instead, where the kernel was started with `workqueue.power_efficient`
    /// (`WQ_POWER_EFFICIENT`).
    pub const fn power_efficient(mut self) -> Self {
        self.flags |= bindings::wq_flags_WQ_POWER_EFFICIENT;
        self
    }
}

impl Builder<Unbound> {
    /// A queue whose items run on no CPU in particular.
    pub const fn unbound() -> Self {
        Self::with(bindings::wq_flags_WQ_UNBOUND, 0)
    }
}

impl Builder<Ordered> {
    /// A queue whose items run one after the other, in the order in which they were queued.
    pub const fn ordered() -> Self {
        Self::with(
            bindings::wq_flags_WQ_UNBOUND | bindings::wq_flags___WQ_ORDERED,
            1,
        )
    }
}

impl<K: Concurrent> Builder<K> {
    /// Runs at most so many items at a time: on each CPU, or, if the queue is [`Unbound`], in all,
    /// divided among the NUMA nodes by their CPUs, but at least 8 on each node, or all of them if
    /// they are fewer; so the sum may be more. 0, the default, is the kernel's default.
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

impl<K> Builder<K> {
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

    /// Makes the queue, for items of the module.
    ///
    /// Wraps `alloc_workqueue()`. Context: may sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`. `EINVAL`: more than `WQ_MAX_ACTIVE` items at a time, or a name that is longer than
    /// the kernel keeps (31 bytes). `ENODEV`: the module is being unloaded.
    pub fn build(self, name: &CStr, module: &impl unload::Source) -> Result<OwnedQueue> {
        /// `WQ_NAME_LEN`: C cuts a name that is longer.
        const NAME_LEN: usize = 32;
        might_sleep();
        let name_fits = name.to_bytes_with_nul().len() <= NAME_LEN;
        if self.max_active > bindings::wq_consts_WQ_MAX_ACTIVE || !name_fits {
            return Err(EINVAL);
        }
        OwnedQueue::alloc(
            name,
            self.flags,
            self.max_active,
            module.take_hold(unload::Abstraction::new())?,
        )
    }
}

#[cfg(all(CONFIG_KUNIT, not(MODULE)))]
#[kunit_tests(rust_workqueue_builder)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_flags() {
        let unbound = bindings::wq_flags_WQ_UNBOUND;
        assert_eq!(Builder::per_cpu().flags, bindings::wq_flags_WQ_PERCPU);
        assert_eq!(Builder::unbound().flags, unbound);
        let ordered = Builder::ordered().mem_reclaim();
        assert_eq!(
            ordered.flags,
            unbound | bindings::wq_flags___WQ_ORDERED | bindings::wq_flags_WQ_MEM_RECLAIM
        );
        assert_eq!(ordered.max_active, 1);
    }

    #[test]
    fn methods_add_to_what_was_asked_for() {
        let queue = Builder::per_cpu()
            .highpri()
            .cpu_intensive()
            .freezable()
            .max_active(3);
        assert_eq!(
            queue.flags,
            bindings::wq_flags_WQ_PERCPU
                | bindings::wq_flags_WQ_HIGHPRI
                | bindings::wq_flags_WQ_CPU_INTENSIVE
                | bindings::wq_flags_WQ_FREEZABLE
        );
        assert_eq!(queue.max_active, 3);
    }
}
