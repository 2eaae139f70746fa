// SPDX-License-Identifier: GPL-2.0

//! Creation: of a root with its own cache, and of a child, by a worker, when its group allocates for the
//! first time.

use super::{
    child::{Child, Group, Groups, Root, Roots},
    gate::QueuesRef,
    slots::Slot,
    stage::{Event, RootEvent},
    steps, //
};
use crate::abstractions::slab::Options;
use core::alloc::Layout;
use kernel::{
    alloc::flags::__GFP_NOWARN,
    prelude::*,
    rbtree::RBTreeNodeReservation,
    str::CString,
    sync::{
        atomic::{Atomic, Full, Relaxed, Release},
        Arc, //
    },
    workqueue::{impl_has_work, new_work, Work, WorkItem}, //
};

/// The number of the next child, of any root.
static NEXT: Atomic<u64> = Atomic::new(1);

/// Makes a root with its own cache. Context: may sleep.
pub(super) fn root(
    number: u64,
    name: &str,
    layout: Layout,
    options: Options,
    groups: &Arc<Groups>,
    roots: &Arc<Roots>,
    queues: QueuesRef,
) -> Result<Arc<Root>> {
    let root = Root::new(number, name, layout, options, groups, roots, queues)?;
    let cache_name = CString::try_from_fmt(fmt!("kmemcg:{name}.{number}"))?;
    let own = Child::new(&root, 0, groups.top()?, None, &cache_name)?;
    let node = RBTreeNodeReservation::new(GFP_KERNEL)?;
    // Nothing can fail from here: a cache that is listed is unlinked by a destroy only.
    drop(steps::link(&own, node)?);
    root.own.publish(own).map_err(|_| EEXIST)?;
    root.trace(RootEvent::root_create);
    Ok(root)
}

/// A request for the child of `group`.
#[pin_data]
struct Request {
    #[pin]
    work: Work<Self>,
    root: Arc<Root>,
    group: Arc<Group>,
}

impl_has_work! { impl HasWork<Self> for Request { self.work } }

/// Queues the creation of a child, unless that is queued already.
///
/// The caller needs no result: without a child the root's own cache serves, and the next allocation
/// requests again. So the memory is optional: whatever the flags of the allocation, nothing is reclaimed or
/// killed for it, no reserve is used, and no cgroup is charged for what may outlive it. Context: any.
#[cold]
pub(super) fn request(root: &Arc<Root>, group: &Arc<Group>) {
    let flags = GFP_NOWAIT | __GFP_NOWARN;
    let Ok(slot) = root.slots.get_or_make(group.index(), flags) else {
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
    if !request.is_ok_and(queue) {
        slot.requested.store(false, Release);
    }
}

/// Queues a request, or drops it where the root is being destroyed.
fn queue(request: Pin<KBox<Request>>) -> bool {
    let root = request.root.clone();
    let mut gate = root.gate.enter();
    match gate.admit_creation() {
        Some(admission) => {
            request.trace(Event::child_request);
            root.stats.requests.count();
            admission.queue_creation(request);
            true
        }
        None => {
            // Not under the gate: it may have the last reference on its group.
            drop(gate);
            false
        }
    }
}

impl Request {
    fn trace(&self, event: Event) {
        event.trace(None, || (self.root.number(), self.group.number(), 0));
    }

    /// Makes and publishes the child. Context: worker.
    fn make(&self, slot: &Slot<'_, Child>) -> Result {
        let Self { root, group, .. } = self;
        if !root.groups.is_online(group) {
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
        let child = Child::new(root, number, group.owner(), Some(group.index()), &name)?;
        let (listed, owned) = (
            RBTreeNodeReservation::new(GFP_KERNEL)?,
            RBTreeNodeReservation::new(GFP_KERNEL)?,
        );
        // Is the root dying? If that is set later, the flush waits for this work, and the
        // destroyer finds the child in the list.
        let reference = steps::link(&child, listed)?;
        // Is the group still online, and has no other work made its child?
        let published = root.groups.while_online(group, |children| {
            slot.child.publish(child.clone()).map_err(|_| EEXIST)?;
            children.insert(owned.into_node(number, child.clone()));
            steps::publish(&child);
            Ok(())
        });
        match published {
            Ok(()) => steps::kill_if_closing(&child),
            Err(_) => steps::give_up(&child),
        }
        // An asynchronous destroy may come at any moment. It has not released the child until here.
        drop(reference);
        child.set_made(&mut root.gate.enter());
        published
    }
}

impl WorkItem for Request {
    type Pointer = Pin<KBox<Self>>;

    fn run(this: Pin<KBox<Self>>) {
        let Some(slot) = this.root.slots.get(this.group.index()) else {
            return;
        };
        if this.make(&slot).is_err() {
            this.root.stats.aborts.count();
            this.trace(Event::child_abort);
        }
        slot.requested.store(false, Release);
    }
}
