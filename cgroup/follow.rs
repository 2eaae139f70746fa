// SPDX-License-Identifier: GPL-2.0

//! Follows the cgroups that come and go.

use super::Status;
use crate::{
    abstractions::{
        call_rcu::Callbacks,
        cgroup::{Cgroup, Watch, MAX_PATH},
        rcu_hash::{RcuHash, Reservation},
        rcu_slot::Reader,
        unload,
        workqueue::{Options, OwnedQueue},
    },
    protocol::{Group, Kmemcg, NewGroup, MAX_GROUPS},
};
use kernel::{
    alloc::{flags::__GFP_NOWARN, Flags},
    prelude::*,
    sync::{
        atomic::{Acquire, Atomic, AtomicFlag, Relaxed, Release},
        Arc, ArcBorrow,
    },
    workqueue::{impl_has_work, new_work, Work, WorkItem},
};

/// The groups of the cgroups, by id.
#[pin_data]
pub(super) struct Follow {
    kmemcg: Arc<Kmemcg>,
    /// A group is added to the tree, and to this, with its lock held. It holds the group for a grace
    /// period after it was removed: the lookup relies on that.
    #[pin]
    table: RcuHash<Arc<Group>>,
    closed: AtomicFlag,
    missed: Atomic<u64>,
    walks: Atomic<u64>,
    #[pin]
    again: Work<Follow>,
    queue: OwnedQueue,
}

impl_has_work! { impl HasWork<Self> for Follow { self.again } }

impl Follow {
    pub(super) fn new(kmemcg: &Arc<Kmemcg>, module: &unload::Handle) -> Result<Arc<Self>> {
        let callbacks = Callbacks::new(module);
        Arc::pin_init(
            try_pin_init!(Self {
                kmemcg: kmemcg.clone(),
                table <- RcuHash::new(MAX_GROUPS.ilog2(), &callbacks),
                closed: AtomicFlag::new(false),
                missed: Atomic::new(0),
                walks: Atomic::new(0),
                again <- new_work!("rust_kmemcg::Follow::again"),
                queue: OwnedQueue::new(c"rust_kmemcg_cgroup", Options::unbound(), module)?,
            }),
            GFP_KERNEL,
        )
    }

    /// The group of the cgroup `id`. Context: any.
    #[inline]
    pub(super) fn find<'a>(&'a self, id: u64, reader: &'a impl Reader) -> Option<&'a Arc<Group>> {
        self.table.get(id, reader)
    }

    /// Makes the cgroup a group, unless it is one. Context: as `flags` say.
    ///
    /// # Errors
    ///
    /// `ENOENT`: its parent is not one yet. `ENOSPC`: there are too many groups. `ENOMEM`.
    fn add(&self, cgroup: &Cgroup, path: &CStr, flags: Flags) -> Result {
        // The root is the top of the tree.
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
        // There is no such entry, as we just saw.
        let _ = table.insert(entry.into_entry(cgroup.id(), group));
        Ok(())
    }

    /// The cgroup is no group any more, if it was one. Context: any.
    fn remove(&self, id: u64) {
        let mut table = self.table.lock();
        let Some(group) = table.get(id).cloned() else {
            return;
        };
        table.remove(id);
        drop(table);
        // Whoever detaches may have been faster.
        let _ = self.kmemcg.offline_group(&group);
    }

    /// Makes all cgroups groups that are none yet. Context: may sleep.
    pub(super) fn walk(&self) -> Result {
        self.walks.add(1, Relaxed);
        let mut path = KVec::from_elem(0u8, MAX_PATH, GFP_KERNEL)?;
        for cgroup in Cgroup::all() {
            if self.closed.load(Acquire) {
                break;
            }
            match self.add(&cgroup, cgroup.path(&mut path)?, GFP_KERNEL) {
                // The parent was removed since, so this one too.
                Ok(()) | Err(ENOENT) => (),
                Err(error) => return Err(error),
            }
            // Who removed it may have looked for its group before there was one.
            if !cgroup.is_online() {
                self.remove(cgroup.id());
            }
        }
        Ok(())
    }

    /// Lets no cgroup be made a group any more. Context: any.
    pub(super) fn close(&self) {
        let _table = self.table.lock();
        self.closed.store(true, Release);
    }

    /// Takes the groups offline, after the last tracepoint has told us anything. Context: may sleep.
    pub(super) fn end(&self) {
        self.close();
        self.kmemcg.offline_with_cookie();
        // A walk holds an `Arc` of this. It must not be the last one: that would destroy the queue, and
        // wait for the walk.
        self.queue.flush();
    }

    pub(super) fn status(&self) -> Status {
        Status {
            followed: self.table.lock().len(),
            missed: self.missed.load(Relaxed),
            walks: self.walks.load(Relaxed),
        }
    }

    fn miss(&self) {
        self.missed.add(1, Relaxed);
    }
}

impl Watch for Follow {
    fn mkdir(this: ArcBorrow<'_, Self>, cgroup: &Cgroup, path: &CStr) {
        match this.add(cgroup, path, GFP_ATOMIC) {
            Ok(()) => return,
            // The first walk has not come to its parent yet.
            Err(ENOENT) => (),
            Err(_) => this.miss(),
        }
        // It is queued already, or is now.
        let _ = this.queue.enqueue(Arc::from(this));
    }

    fn rmdir(this: ArcBorrow<'_, Self>, cgroup: &Cgroup) {
        this.remove(cgroup.id());
    }

    fn release(this: ArcBorrow<'_, Self>, cgroup: &Cgroup) {
        this.remove(cgroup.id());
    }
}

impl WorkItem for Follow {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        if this.walk().is_err() {
            this.miss();
        }
    }
}
