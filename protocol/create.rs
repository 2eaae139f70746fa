// SPDX-License-Identifier: GPL-2.0

//! Creation of a child, by a worker, when its group allocates for the first time.

use super::{
    child::Child,
    destroy,
    group::Group,
    root::{Root, Slot},
};
use crate::abstractions::{percpu_ref::PercpuRef, trace};
use kernel::{
    alloc::{flags::__GFP_NOWARN, Flags},
    prelude::*,
    rbtree::RBTreeNodeReservation,
    str::CString,
    sync::{
        atomic::{Atomic, Full, Relaxed, Release},
        Arc,
    },
    workqueue::{impl_has_work, new_work, Work, WorkItem},
};

/// The number of the next child, of any root.
static NEXT: Atomic<u64> = Atomic::new(1);

/// A request for the child of `group`.
#[pin_data]
pub(super) struct Request {
    #[pin]
    work: Work<Self>,
    root: Arc<Root>,
    group: Arc<Group>,
}

impl_has_work! { impl HasWork<Self> for Request { self.work } }

/// Asks the worker for a child, unless somebody did already.
///
/// Nobody needs to know whether it worked: without a child the root's own cache serves, and the
/// next allocation asks again. Context: as `flags` say.
#[cold]
pub(super) fn request(root: &Arc<Root>, group: &Arc<Group>, flags: Flags) {
    let flags = flags | __GFP_NOWARN;
    let Ok(slot) = root.slots().get_or_make(group.index(), flags) else {
        return;
    };
    if slot.requested.xchg(true, Full) {
        return;
    }
    let request = KBox::pin_init(
        pin_init!(Request {
            work <- new_work!("rust_kmemcg::Request::work"),
            root: root.clone(),
            group: group.clone(),
        }),
        flags,
    );
    let queued = request.map(|request| {
        let refused = root.gate().enter().request(request);
        // Dropped here, where the gate was left.
        refused.is_ok()
    });
    if !queued.unwrap_or(false) {
        slot.requested.store(false, Release);
    }
}

impl Request {
    pub(super) fn root(&self) -> &Root {
        &self.root
    }

    pub(super) fn trace(&self, event: fn(u64, u64, u64)) {
        event(self.root.number(), self.group.number(), 0);
    }

    /// Makes and publishes the child. Context: worker.
    fn make(&self, slot: &Slot<'_>) -> Result {
        let Self { root, group, .. } = self;
        if !root.groups().is_online(group) {
            return Err(ENOENT);
        }
        let number = NEXT.fetch_add(1, Relaxed);
        let name = CString::try_from_fmt(fmt!(
            "kmemcg:{}.{}({}:{})",
            root.name(),
            root.number(),
            number,
            group.short_name(),
        ))?;
        let child = Child::new(root, number, group.number(), Some(group.index()), &name)?;
        let (listed, owned) = (
            RBTreeNodeReservation::new(GFP_KERNEL)?,
            RBTreeNodeReservation::new(GFP_KERNEL)?,
        );
        // Is the root dying? If that is set later, the flush waits for this work, and the
        // destroyer finds the child in the list.
        root.gate().enter().adopt(&child, listed)?;
        PercpuRef::start(&child, root.gate().hold())?;
        // An asynchronous destroy may come at any moment. While this is held nothing is released: the
        // child is either refused here, or published alive.
        let reference = PercpuRef::tryget_live(&*child).ok_or(ENODEV)?;
        // Is the group still online, and was nobody faster?
        if let Err(error) = root.groups().publish(group, &child, owned, slot.child) {
            root.gate().enter().kill(&child);
            child.refs().kill();
            return Err(error);
        }
        root.stats().creations.count();
        // Was an asynchronous destroy begun since it was listed? Then it may have passed the child
        // by, as that could not be killed yet.
        destroy::condemn_if_closing(&child);
        drop(reference);
        Ok(())
    }
}

impl WorkItem for Request {
    type Pointer = Pin<KBox<Self>>;

    fn run(this: Pin<KBox<Self>>) {
        let Some(slot) = this.root.slots().get(this.group.index()) else {
            return;
        };
        if this.make(&slot).is_err() {
            this.root.stats().aborts.count();
            this.trace(trace::child_abort);
        }
        slot.requested.store(false, Release);
    }
}
