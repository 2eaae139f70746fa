// SPDX-License-Identifier: GPL-2.0

//! Binds groups to cgroups.
//!
//! While a [`Cgroups`] is *attached*, every cgroup of the unified hierarchy (cgroup v2) is a group,
//! from its mkdir to its rmdir. The exception is the root cgroup, which corresponds to the top of the
//! tree of groups. The cookie of such a group is the id of the cgroup, its name the path of the
//! cgroup.
//!
//! Three sources report cgroups, and the lock of one table (`Follower::table`) serialises them:
//!
//! - Tracepoints of the cgroup core report the cgroups that are created and removed. They are called
//!   with interrupts disabled and with locks held, so that a group is allocated with `GFP_ATOMIC`.
//! - A walk over all cgroups finds those that existed before the tracepoints were registered.
//! - If mkdir cannot add the group, for lack of memory or room, or finds no group for the parent yet, the
//!   cgroup is missed. A worker walks again, as soon as there is room, until none is.
//!
//! A walk may find a cgroup that is removed before its group was added. The cgroup core first marks
//! the cgroup offline, and then calls the tracepoint, which takes the lock to remove the group. The
//! walk first takes the lock to add the group, and then tests the mark. So either the tracepoint finds
//! the group, or the walk finds the mark and removes the group.
//!
//! A group holds no reference on its cgroup: it stores the id only. The allocation path takes no lock
//! to find the group of the current task: it reads the id of the task's cgroup and searches a hash
//! table under RCU.

mod follow;

use crate::{
    abstractions::{
        cgroup::{
            Cgroup,
            Memcg,
            Watcher, //
        },
        context::{
            self,
            Context, //
        },
        sync::rcu::slot::{
            RcuSlot,
            Reader, //
        },
        unload, //
    },
    protocol::{
        FindGroup,
        Group,
        Kmemcg,
        Root, //
    }, //
};
use follow::Follower;
use kernel::{
    prelude::*,
    sync::{new_mutex, Arc, Mutex}, //
};

/// The binding of groups to cgroups. It starts detached.
///
/// - [`attach`](Self::attach) makes every cgroup a group, until [`detach`](Self::detach) takes all these
///   groups offline. Both may be repeated.
/// - Allocations find the group of the current task through [`FindGroup`]. While detached they find
///   none.
///
/// Dropping it detaches. Context of the drop: may sleep.
#[pin_data(PinnedDrop)]
pub struct Cgroups {
    kmemcg: Arc<Kmemcg>,
    module: unload::Handle,
    /// Where the allocation path finds the follower; empty while detached.
    lookup: RcuSlot<Follower>,
    #[pin]
    attached: Mutex<Option<Attachment>>,
}

/// Counters of an attachment.
pub struct Status {
    /// Number of cgroups that are groups.
    pub followed: usize,
    /// Number of cgroups that are no groups, for lack of memory or because there are too many groups:
    /// exact when nothing is created or removed. A walk adds them as soon as there is room.
    pub missed: usize,
    /// Number of walks over all cgroups.
    pub walks: u64,
}

impl Cgroups {
    /// Creates a detached binding. Context: may sleep.
    pub fn new(kmemcg: &Arc<Kmemcg>, module: &unload::Handle) -> impl PinInit<Self> {
        let (kmemcg, module) = (kmemcg.clone(), module.clone());
        pin_init!(Self {
            kmemcg,
            module,
            lookup: RcuSlot::new(),
            attached <- new_mutex!(None, "Cgroups::attached"),
        })
    }

    /// Makes every cgroup a group, those that are created later included. Context: may sleep.
    ///
    /// # Errors
    ///
    /// `EBUSY`: it is attached already. `EOPNOTSUPP`: the kernel lacks the tracepoints. `ENOSPC`: there
    /// are too many cgroups. `ENOMEM`. After an error it is detached, unless it was `EBUSY`.
    pub fn attach(&self) -> Result {
        let mut attached = self.attached.lock();
        if attached.is_some() {
            return Err(EBUSY);
        }
        let follower = Follower::new(&self.kmemcg, &self.module)?;
        let attachment = match Watcher::new(follower.clone(), &self.module) {
            Ok(watcher) => Attachment(Some(watcher)),
            Err(error) => {
                // The mkdir tracepoint was not registered, so no group was added.
                follower.teardown();
                if error == ENOENT {
                    pr_err!("no tracepoints of the cgroup core: cgroups cannot be followed\n");
                    return Err(EOPNOTSUPP);
                }
                return Err(error);
            }
        };
        Follower::first_walk(&follower)?;
        // The slot is empty: only this function fills it, and `attached` is locked.
        self.lookup.publish(follower).map_err(|_| EBUSY)?;
        *attached = Some(attachment);
        Ok(())
    }

    /// Takes all groups that are cgroups offline, and ignores cgroups from then on. Context: may sleep.
    ///
    /// # Errors
    ///
    /// `EBUSY`: it is not attached.
    pub fn detach(&self) -> Result {
        let mut attached = self.attached.lock();
        let attachment = attached.take().ok_or(EBUSY)?;
        // Waits until no allocation searches the table.
        drop(self.lookup.take());
        drop(attachment);
        Ok(())
    }

    /// The counters of the attachment; none while detached. Context: may sleep.
    pub fn status(&self) -> Option<Status> {
        let attached = self.attached.lock();
        Some(attached.as_ref()?.0.as_ref()?.status())
    }

    /// The memory cgroup to charge for an object of `root` that is allocated for `group`: that of the
    /// cgroup that the group is. Context: any.
    ///
    /// None if the root does not account, if the group is no cgroup, or one that was removed or is
    /// outside of the cgroup namespace of the current task; if the memory controller is in a hierarchy of
    /// version 1; and in an interrupt, or while interrupts are disabled. The kernel then charges what it
    /// charges for any allocation in that context.
    pub fn charge_target(root: &Root, group: &Group) -> Option<Memcg> {
        if !root.options().accounts() || group.cookie() == 0 {
            return None;
        }
        // `Cgroup::from_id()` needs a task with interrupts enabled.
        if Context::current() != Context::Task || !context::interrupts_enabled() {
            return None;
        }
        Cgroup::from_id(group.cookie()).ok()?.memcg()
    }
}

/// Finds the group of the current task's cgroup. It finds none in an interrupt, where the allocation
/// does not belong to the current task; the root's own cache then serves.
impl FindGroup for Cgroups {
    #[inline]
    fn find_group<'a>(&'a self, reader: &'a impl Reader) -> Option<&'a Arc<Group>> {
        self.lookup
            .load(reader)?
            .find(Cgroup::current_id(reader), reader)
    }
}

/// The registered tracepoints and the groups that they maintain.
///
/// Dropping it unregisters them, and takes the groups offline. Context of the drop: may sleep.
struct Attachment(Option<Watcher<Follower>>);

impl Drop for Attachment {
    fn drop(&mut self) {
        if let Some(watcher) = self.0.take() {
            // The tracepoints may be called until stop() returns, but add no group any more.
            watcher.close();
            watcher.stop().teardown();
        }
    }
}

#[pinned_drop]
impl PinnedDrop for Cgroups {
    fn drop(self: Pin<&mut Self>) {
        // Fails if it is detached already.
        let _ = self.detach();
    }
}
