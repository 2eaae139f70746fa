// SPDX-License-Identifier: GPL-2.0

//! Groups that are real cgroups.
//!
//! While this room is *attached*, every cgroup of the unified hierarchy (cgroup v2) is a group, from its
//! mkdir to its rmdir; but the root cgroup, which is the top of the tree of groups. The tag of such a
//! group is the cgroup's id, its name the cgroup's path.
//!
//! Which cgroups there are is learnt in three ways, and one lock makes them agree:
//!
//! - tracepoints of the cgroup core tell of those that come and go. They fire with interrupts off and
//!   locks held, so a group is made there of memory that is allocated atomically;
//! - a walk over all cgroups finds those that were there before. What it finds may be removed before its
//!   group is made; so it looks at the cgroup once more afterwards. Whoever removes a cgroup first marks
//!   it offline, then takes the lock; the walk first takes the lock, then looks for the mark. One of them
//!   sees the other;
//! - where there was no memory, or no parent yet, a worker walks once more.
//!
//! A group is never what keeps its cgroup: it knows the id only. And the current task finds its group
//! without a lock: the id of its cgroup, then a search in a hash table under RCU.

mod follow;

use crate::{
    abstractions::{
        cgroup::{Cgroup, Memcg, Watcher},
        context::{self, Context},
        rcu_slot::{RcuSlot, Reader},
        unload,
    },
    protocol::{FindGroup, Group, Kmemcg, Root},
};
use follow::Follow;
use kernel::{
    prelude::*,
    sync::{new_mutex, Arc, Mutex},
};

/// The binding of groups to cgroups: detached when it is made.
///
/// Dropping it detaches. Context of the drop: may sleep.
#[pin_data(PinnedDrop)]
pub struct Cgroups {
    kmemcg: Arc<Kmemcg>,
    module: unload::Handle,
    /// Where the allocation path finds the groups.
    found: RcuSlot<Follow>,
    #[pin]
    attached: Mutex<Option<Attachment>>,
}

/// What there is to tell of an attachment.
pub struct Status {
    /// How many cgroups are followed.
    pub followed: usize,
    /// How many could not be, for want of memory or of room; a later walk may have found them.
    pub missed: u64,
    /// How many walks there were.
    pub walks: u64,
}

impl Cgroups {
    /// Binds nothing yet. Context: may sleep.
    pub fn new(kmemcg: &Arc<Kmemcg>, module: &unload::Handle) -> impl PinInit<Self> {
        let (kmemcg, module) = (kmemcg.clone(), module.clone());
        pin_init!(Self {
            kmemcg,
            module,
            found: RcuSlot::new(),
            attached <- new_mutex!(None, "Cgroups::attached"),
        })
    }

    /// Makes every cgroup a group, and follows those that come and go. Context: may sleep.
    ///
    /// # Errors
    ///
    /// `EBUSY`: it is attached. `EOPNOTSUPP`: the kernel has not got the tracepoints. `ENOSPC`: there are
    /// too many cgroups. `ENOMEM`. Nothing is attached then.
    pub fn attach(&self) -> Result {
        let mut attached = self.attached.lock();
        if attached.is_some() {
            return Err(EBUSY);
        }
        let follow = Follow::new(&self.kmemcg, &self.module)?;
        let new = match Watcher::new(follow.clone(), &self.module) {
            Ok(watcher) => Attachment(Some(watcher)),
            Err(error) => {
                // Nobody was told of a cgroup, so this ends the queue only.
                follow.end();
                if error == ENOENT {
                    pr_err!("no tracepoints of the cgroup core: cgroups cannot be followed\n");
                    return Err(EOPNOTSUPP);
                }
                return Err(error);
            }
        };
        follow.walk()?;
        // Nobody else fills the slot: `attached` is locked.
        self.found.publish(follow).map_err(|_| EBUSY)?;
        *attached = Some(new);
        Ok(())
    }

    /// Takes all groups that are cgroups offline, and follows no more. Context: may sleep.
    ///
    /// # Errors
    ///
    /// `EBUSY`: it is not attached.
    pub fn detach(&self) -> Result {
        let mut attached = self.attached.lock();
        let old = attached.take().ok_or(EBUSY)?;
        // Waits for those who are searching in it.
        drop(self.found.take());
        drop(old);
        Ok(())
    }

    /// What there is to tell, where it is attached.
    pub fn status(&self) -> Option<Status> {
        let attached = self.attached.lock();
        Some(attached.as_ref()?.0.as_ref()?.status())
    }

    /// Who pays for an object of `root` for `group`: the cgroup that the group is, where the root accounts.
    /// None where the current task pays, or nobody; and in an interrupt, or where interrupts are disabled.
    /// Context: any.
    pub fn payer(root: &Root, group: &Group) -> Option<Memcg> {
        if !root.options().accounts() || group.cookie() == 0 {
            return None;
        }
        if Context::current() != Context::Task || !context::interrupts_enabled() {
            return None;
        }
        Cgroup::from_id(group.cookie()).ok()?.memcg()
    }
}

/// For the current task: the group of its cgroup. In an interrupt no task asks, and the root's own cache
/// serves, as with the kernel's own accounting.
impl FindGroup for Cgroups {
    #[inline]
    fn find_group<'a>(&'a self, reader: &'a impl Reader) -> Option<&'a Arc<Group>> {
        self.found
            .load(reader)?
            .find(Cgroup::current_id(reader), reader)
    }
}

/// Dropping it takes all groups offline that are cgroups. Context of the drop: may sleep.
struct Attachment(Option<Watcher<Follow>>);

impl Drop for Attachment {
    fn drop(&mut self) {
        if let Some(watcher) = self.0.take() {
            // What the tracepoints tell from here adds nothing.
            watcher.close();
            watcher.stop().end();
        }
    }
}

#[pinned_drop]
impl PinnedDrop for Cgroups {
    fn drop(self: Pin<&mut Self>) {
        let _ = self.detach();
    }
}
