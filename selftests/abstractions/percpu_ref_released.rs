// SPDX-License-Identifier: GPL-2.0

//! Structures with a count that are queued, when that is released, on a queue of their own.

use crate::{
    abstractions::{
        exec,
        sync::percpu_ref::*,
        unload::{
            self,
            Handle, //
        },
        workqueue::{
            Builder,
            OwnedQueue, //
        }, //
    },
    impl_has_percpu_ref,
    support::{
        eventually,
        Counter,
        CONTEXTS, //
    }, //
};
use kernel::{
    prelude::*,
    sync::{
        rcu,
        Arc, //
    },
    workqueue::{
        impl_has_work,
        new_work,
        Work,
        WorkItem, //
    }, //
};

tests! { "percpu_ref_released":
    released_is_queued_on_its_own_queue,
    released_that_is_queued_comes_back,
}

static RELEASES: Counter = Counter::new();
static DROPS: Counter = Counter::new();

/// The queue is in the structure, which its worker drops: the queue goes with it.
#[pin_data]
struct Owner {
    #[pin]
    refs: PercpuRef<Owner>,
    #[pin]
    work: Work<Owner>,
    queue: OwnedQueue,
}

impl_has_percpu_ref! { impl HasPercpuRef for Owner { self.refs } }
impl_has_work! { impl HasWork<Self> for Owner { self.work } }

impl Owner {
    fn new(module: &Handle) -> Result<Arc<Self>> {
        RELEASES.set(0);
        DROPS.set(0);
        Arc::pin_init(
            try_pin_init!(Self {
                refs <- PercpuRef::new(GFP_KERNEL),
                work <- new_work!("Owner::work"),
                queue: Builder::unbound().build(c"kmemcg_test_own", module)?,
            }),
            GFP_KERNEL,
        )
    }
}

impl Release for Owner {
    fn release(this: Released<Self>) {
        if this.enqueue_on(|this| &this.queue).is_ok() {
            RELEASES.add();
        }
    }
}

impl WorkItem for Owner {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        if Arc::into_unique_or_drop(this).is_some() {
            DROPS.add();
        }
    }
}

/// In every context; the end waits until the queue was destroyed.
fn released_is_queued_on_its_own_queue() -> Result {
    for &context in CONTEXTS {
        unload::scope(|module| {
            let owner = Owner::new(module)?;
            PercpuRef::start(&owner, module)?;
            let guard = PercpuRef::tryget_live(&*owner).ok_or(ENODEV)?;
            check!(owner.refs.kill());
            rcu::rcu_barrier();
            drop(owner);
            exec::run(context, guard, drop).map_err(|(error, _)| error)?;
            check_eq!(RELEASES.get(), 1);
            check!(eventually(|| DROPS.get() == 1));
            Ok(())
        })?;
    }
    Ok(())
}

/// Its work item lies behind one that waits.
fn released_that_is_queued_comes_back() -> Result {
    unload::scope(|module| {
        let owner = Owner::new(module)?;
        owner.queue.set_max_active(1)?;
        let gate = Arc::new(Counter::new(), GFP_KERNEL)?;
        let opened = gate.clone();
        owner.queue.try_spawn(GFP_KERNEL, move || {
            eventually(|| opened.get() != 0);
        })?;
        check!(Released::from(owner.clone())
            .enqueue_on(|owner| &owner.queue)
            .is_ok());
        let again = Released::from(owner.clone()).enqueue_on(|owner| &owner.queue);
        gate.set(1);
        check!(again.is_err());
        drop(again);
        owner.queue.flush();
        check_eq!(DROPS.get(), 0);
        drop(owner);
        Ok(())
    })
}
