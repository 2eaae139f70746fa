// SPDX-License-Identifier: GPL-2.0

//! Keeps a group for each cgroup, as cgroups are created and removed.

use super::Status;
use crate::{
    abstractions::{
        cgroup::{
            Cgroup,
            Watch,
            MAX_PATH, //
        },
        sync::rcu::{
            call_rcu::Callbacks,
            hash::{
                RcuHash,
                Reservation, //
            },
            slot::{
                self,
                Reader, //
            }, //
        },
        ticks::Ticks,
        unload,
        workqueue::{
            Builder,
            OwnedQueue, //
        }, //
    },
    protocol::{
        Group,
        Kmemcg,
        NewGroup, //
    }, //
};
use kernel::{
    alloc::{flags::__GFP_NOWARN, Flags},
    prelude::*,
    sync::{
        atomic::{Acquire, Atomic, AtomicFlag, Full, Relaxed, Release},
        new_condvar, new_mutex, Arc, ArcBorrow, CondVar, CondVarTimeoutResult, Mutex,
    },
    task::might_sleep,
    time::{msecs_to_jiffies, Jiffies},
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
/// - `mkdir` fails to add the group, for lack of memory, of room for another group, or of a group of the
///   parent. The cgroup is *missed*: `work` walks until none is.
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
    /// How many cgroups have no group: those that the last walk could not add, and those that `mkdir`
    /// could not add since it began. Some may be counted twice until the next walk.
    missed: Atomic<usize>,
    /// A missed cgroup was removed: the next walk counts anew.
    stale: AtomicFlag,
    walks: Atomic<u64>,
    /// Locked during a walk; memory for a path.
    #[pin]
    walking: Mutex<KVec<u8>>,
    /// For `rest()`.
    #[pin]
    resting: Mutex<()>,
    #[pin]
    wake: CondVar,
    /// Walks again, as long as cgroups are missed.
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
                stale: AtomicFlag::new(false),
                walks: Atomic::new(0),
                walking <- new_mutex!(KVec::from_elem(0u8, MAX_PATH, GFP_KERNEL)?, "Follower::walking"),
                resting <- new_mutex!((), "Follower::resting"),
                wake <- new_condvar!("Follower::wake"),
                work <- new_work!("rust_kmemcg::Follower::work"),
                queue: Builder::unbound().build(c"rust_kmemcg_cgroup", module)?,
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
        // Do not allocate what cannot be used. A walk may have added it already.
        if !self.kmemcg.has_room_for_group() && !self.knows(cgroup.id()) {
            return Err(ENOSPC);
        }
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

    /// Takes the group of the cgroup with this id offline, and returns whether it had one. Context: any.
    fn remove(&self, id: u64) -> bool {
        let mut table = self.table.lock();
        let Some(group) = table.get(id).cloned() else {
            return false;
        };
        table.remove(id);
        drop(table);
        // Fails if teardown() has taken the group offline already.
        let _ = self.kmemcg.offline_group(&group);
        true
    }

    /// Has the cgroup with this id a group? Takes no lock. Context: any.
    fn knows(&self, id: u64) -> bool {
        slot::read(|reader| self.find(id, reader).is_some())
    }

    /// Adds a group for every cgroup that has none, and counts those that cannot be added. Context: may
    /// sleep.
    ///
    /// # Errors
    ///
    /// The first one: `ENOSPC`: there are too many groups. `ENOMEM`. Groups that were added stay.
    pub(super) fn walk(&self) -> Result {
        let mut path = self.walking.lock();
        self.walks.add(1, Relaxed);
        // If mkdir() counts a cgroup from here on, this walk may count it, too.
        let before = self.missed.load(Acquire);
        let mut missed = 0;
        let mut result = Ok(());
        for cgroup in Cgroup::all() {
            might_sleep();
            if self.closed.load(Acquire) {
                break;
            }
            if self.knows(cgroup.id()) {
                continue;
            }
            let added = match cgroup.path(&mut path) {
                Ok(path) => self.add(&cgroup, path, GFP_KERNEL),
                Err(error) => Err(error),
            };
            if !cgroup.is_online() {
                // rmdir() may have come before add().
                self.remove(cgroup.id());
            } else if let Err(error) = added {
                missed += 1;
                // The parent is missed, too, or is being made or removed.
                if error != ENOENT {
                    result = result.and(Err(error));
                }
            }
        }
        // In this order, so that it is never 0 in between.
        self.missed.add(missed, Relaxed);
        self.missed.fetch_sub(before, Full);
        result
    }

    /// Walks as [`walk`](Self::walk) does; what that has missed for another reason than its errors is
    /// added later. Context: may sleep.
    pub(super) fn first_walk(this: &Arc<Self>) -> Result {
        this.walk()?;
        if this.missed.load(Relaxed) > 0 {
            // Fails if the work is queued already.
            let _ = this.queue.enqueue(this.clone());
        }
        Ok(())
    }

    /// Walks until no cgroup is missed, or the table is closed. Context: worker.
    ///
    /// It polls: a group that is freed, a limit that is raised and memory that is freed all make room. While
    /// there is no room it does not walk. It rests after each walk, so that it needs a ninth of a processor
    /// at most, however often mkdir() fails.
    fn walk_until_complete(&self) {
        let shortest = msecs_to_jiffies(100);
        while self.missed.load(Acquire) > 0 {
            let mut rest = shortest;
            if self.stale.xchg(false, Full) || self.kmemcg.has_room_for_group() {
                let begin = Ticks::now();
                // What it could not add it has counted.
                let _ = self.walk();
                rest = rest.max(8 * Ticks::now().since(begin).as_raw() as Jiffies);
            }
            if !self.rest(rest) {
                return;
            }
        }
    }

    /// Sleeps until the time is over or the table is closed, and returns whether it is open. Context: may
    /// sleep.
    fn rest(&self, time: Jiffies) -> bool {
        let mut left = time;
        let mut guard = self.resting.lock();
        while left > 0 && !self.closed.load(Acquire) {
            left = match self.wake.wait_interruptible_timeout(&mut guard, left) {
                CondVarTimeoutResult::Woken { jiffies } => jiffies,
                // A worker gets no signal.
                CondVarTimeoutResult::Signal { .. } | CondVarTimeoutResult::Timeout => 0,
            };
        }
        !self.closed.load(Acquire)
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
        // rest() looks at the table with this locked, and then waits.
        drop(self.resting.lock());
        self.wake.notify_all();
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
}

impl Watch for Follower {
    fn mkdir(this: ArcBorrow<'_, Self>, cgroup: &Cgroup, path: &CStr) {
        if this.add(cgroup, path, GFP_ATOMIC).is_err() {
            this.missed.add(1, Relaxed);
            // Fails if the work is queued already: it has not looked at `missed` yet.
            let _ = this.queue.enqueue(Arc::from(this));
        }
    }

    fn rmdir(this: ArcBorrow<'_, Self>, cgroup: &Cgroup) {
        if !this.remove(cgroup.id()) {
            this.stale.store(true, Release);
        }
    }

    fn release(this: ArcBorrow<'_, Self>, cgroup: &Cgroup) {
        this.remove(cgroup.id());
    }
}

impl WorkItem for Follower {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        this.walk_until_complete();
    }
}
