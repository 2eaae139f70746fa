// SPDX-License-Identifier: GPL-2.0

//! Keeps a group for each cgroup, as cgroups are created and removed.

use super::Status;
use crate::{
    abstractions::{
        call_rcu::Callbacks,
        cgroup::{Cgroup, Watch, MAX_PATH},
        rcu_hash::{RcuHash, Reservation},
        rcu_slot::Reader,
        unload,
        workqueue::{Options, OwnedQueue}, //
    },
    protocol::{Group, Kmemcg, NewGroup},
};
use kernel::{
    alloc::{flags::__GFP_NOWARN, Flags},
    prelude::*,
    sync::{
        atomic::{Acquire, Atomic, AtomicFlag, Relaxed, Release},
        Arc, ArcBorrow,
    },
    workqueue::{impl_has_work, new_work, Work, WorkItem}, //
};

/// Buckets of the table: 512 KiB while attached. With the largest number of groups 16 share a bucket.
const BUCKETS: u32 = 1 << 16;

/// The groups of cgroups, by the id of the cgroup.
///
/// What can happen to a cgroup:
///
/// - It is created after the tracepoints were registered. `mkdir` adds its group, `rmdir` removes it,
///   and `release` finds nothing to remove.
/// - It was created before. A walk adds the group.
/// - `mkdir` fails to add the group, for lack of memory or of a group of the parent: it queues `work`,
///   whose walk adds the group.
/// - It is removed while a walk adds its group. Either `rmdir` takes the lock last and removes the group,
///   or the walk then finds the cgroup offline and removes the group.
/// - Its creation fails in the cgroup core after a walk has found it. The core calls neither `mkdir` nor
///   `rmdir` for it, and `release` removes the group.
#[pin_data]
pub(super) struct Follower {
    kmemcg: Arc<Kmemcg>,
    /// Its lock is held while a group is added to the tree of groups and to the table. The table drops
    /// its reference on a removed group after a grace period only, as
    /// [`FindGroup`](crate::protocol::FindGroup) requires.
    #[pin]
    table: RcuHash<Arc<Group>>,
    /// No group is added any more. Set with the lock of `table` held.
    closed: AtomicFlag,
    missed: Atomic<u64>,
    walks: Atomic<u64>,
    /// Walks again.
    #[pin]
    work: Work<Follower>,
    queue: OwnedQueue,
}

impl_has_work! { impl HasWork<Self> for Follower { self.work } }

impl Follower {
    /// Creates an empty table. Context: may sleep.
    pub(super) fn new(kmemcg: &Arc<Kmemcg>, module: &unload::Handle) -> Result<Arc<Self>> {
        let callbacks = Callbacks::new(module);
        Arc::pin_init(
            try_pin_init!(Self {
                kmemcg: kmemcg.clone(),
                table <- RcuHash::new(BUCKETS.ilog2(), &callbacks),
                closed: AtomicFlag::new(false),
                missed: Atomic::new(0),
                walks: Atomic::new(0),
                work <- new_work!("rust_kmemcg::Follower::work"),
                queue: OwnedQueue::new(c"rust_kmemcg_cgroup", Options::unbound(), module)?,
            }),
            GFP_KERNEL,
        )
    }

    /// The group of the cgroup with this id. Takes no lock. Context: any.
    #[inline]
    pub(super) fn find<'a>(&'a self, id: u64, reader: &'a impl Reader) -> Option<&'a Arc<Group>> {
        self.table.get(id, reader)
    }

    /// Adds the group of a cgroup, unless it has one or the table is closed. Context: as `flags` say.
    ///
    /// # Errors
    ///
    /// `ENOENT`: the parent has no group. `ENOSPC`: there are too many groups. `ENOMEM`.
    fn add(&self, cgroup: &Cgroup, path: &CStr, flags: Flags) -> Result {
        // The root cgroup is no group: it corresponds to the top of the tree.
        let Some(parent) = cgroup.parent() else {
            return Ok(());
        };
        let flags = flags | __GFP_NOWARN;
        let new = NewGroup::new(path.to_bytes(), cgroup.id(), flags)?;
        let entry = Reservation::new(flags)?;

        let mut table = self.table.lock();
        if self.closed.load(Acquire) || table.get(cgroup.id()).is_some() {
            return Ok(());
        }
        let parent = match parent.parent() {
            Some(_) => Some(table.get(parent.id()).ok_or(ENOENT)?.clone()),
            None => None,
        };
        let group = self.kmemcg.add_group(new, parent.as_deref())?;
        // Cannot fail: get() found no such entry, and the lock was held since.
        let _ = table.insert(entry.into_entry(cgroup.id(), group));
        Ok(())
    }

    /// Takes the group of the cgroup with this id offline, if it has one. Context: any.
    fn remove(&self, id: u64) {
        let mut table = self.table.lock();
        let Some(group) = table.get(id).cloned() else {
            return;
        };
        table.remove(id);
        drop(table);
        // Fails if teardown() has taken the group offline already.
        let _ = self.kmemcg.offline_group(&group);
    }

    /// Adds a group for every cgroup that has none. Context: may sleep.
    ///
    /// # Errors
    ///
    /// `ENOSPC`: there are too many groups. `ENOMEM`. Groups that were added before the error stay.
    pub(super) fn walk(&self) -> Result {
        self.walks.add(1, Relaxed);
        let mut path = KVec::from_elem(0u8, MAX_PATH, GFP_KERNEL)?;
        for cgroup in Cgroup::all() {
            if self.closed.load(Acquire) {
                break;
            }
            match self.add(&cgroup, cgroup.path(&mut path)?, GFP_KERNEL) {
                // The parent was removed meanwhile, so this cgroup was, too.
                Ok(()) | Err(ENOENT) => (),
                Err(error) => return Err(error),
            }
            // If it was removed meanwhile, rmdir() may have come before add().
            if !cgroup.is_online() {
                self.remove(cgroup.id());
            }
        }
        Ok(())
    }

    /// Closes the table: no group is added from here on. Context: any.
    pub(super) fn close(&self) {
        let _table = self.table.lock();
        self.closed.store(true, Release);
    }

    /// Closes the table, takes all groups of cgroups offline, and waits for a queued walk. The tracepoints
    /// are unregistered. Context: may sleep.
    pub(super) fn teardown(&self) {
        self.close();
        self.kmemcg.offline_with_cookie();
        // A queued walk holds an `Arc` of `self`. If it were the last one, the worker would destroy the
        // queue that it runs on, and wait for itself.
        self.queue.flush();
    }

    /// A snapshot of the counters. Context: any.
    pub(super) fn status(&self) -> Status {
        Status {
            followed: self.table.lock().len(),
            missed: self.missed.load(Relaxed),
            walks: self.walks.load(Relaxed),
        }
    }

    fn count_missed(&self) {
        self.missed.add(1, Relaxed);
    }
}

impl Watch for Follower {
    fn mkdir(this: ArcBorrow<'_, Self>, cgroup: &Cgroup, path: &CStr) {
        match this.add(cgroup, path, GFP_ATOMIC) {
            Ok(()) => return,
            // The first walk has not added the group of the parent yet.
            Err(ENOENT) => (),
            Err(_) => this.count_missed(),
        }
        // Fails if the work is queued already.
        let _ = this.queue.enqueue(Arc::from(this));
    }

    fn rmdir(this: ArcBorrow<'_, Self>, cgroup: &Cgroup) {
        this.remove(cgroup.id());
    }

    fn release(this: ArcBorrow<'_, Self>, cgroup: &Cgroup) {
        this.remove(cgroup.id());
    }
}

impl WorkItem for Follower {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        if this.walk().is_err() {
            this.count_missed();
        }
    }
}
