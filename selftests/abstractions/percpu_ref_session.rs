// SPDX-License-Identifier: GPL-2.0

//! The structure with a count that the tests of `percpu_ref` use.

use crate::{
    abstractions::{
        context::Context,
        sync::{
            percpu_ref::*,
            rcu::call_rcu::{
                Callbacks,
                InCallback,
                RcuCallback,
                RcuHead, //
            }, //
        },
        workqueue::OwnedQueue, //
    },
    impl_has_percpu_ref,
    impl_has_rcu_head,
    support::Counter, //
};
use kernel::{
    prelude::*,
    sync::{
        new_spinlock_irq,
        rcu,
        Arc,
        SpinLockIrq, //
    },
    workqueue::{
        impl_has_work,
        new_work,
        Work,
        WorkItem, //
    }, //
};

#[pin_data(PinnedDrop)]
pub(crate) struct Session {
    #[pin]
    pub(crate) refs: PercpuRef<Session>,
    #[pin]
    rcu: RcuHead<Session>,
    #[pin]
    work: Work<Session>,
    /// Where the release callback queues it, to be started again.
    #[pin]
    pub(crate) restart: SpinLockIrq<Option<Arc<OwnedQueue>>>,
    /// What `confirmed()` kills.
    victim: Option<Arc<Session>>,
}

impl_has_percpu_ref! { impl HasPercpuRef for Session { self.refs } }
impl_has_rcu_head! { impl HasRcuHead for Session { self.rcu } }
impl_has_work! { impl HasWork<Self> for Session { self.work } }

pub(crate) static RELEASES: Counter = Counter::new();
pub(crate) static RELEASED_IN: Counter = Counter::new();
pub(crate) static CONFIRMS: Counter = Counter::new();
pub(crate) static DROPS: Counter = Counter::new();

impl Release for Session {
    fn release(this: Released<Self>) {
        RELEASED_IN.set(Context::current() as usize + 1);
        let restart = this.restart.lock().take();
        let queued = match restart {
            Some(queue) => queue.enqueue(this),
            None => match crate::handle() {
                Ok(module) => this
                    .call_rcu(&Callbacks::new(module))
                    .map_err(|refused| refused.this),
                Err(_) => Err(this),
            },
        };
        if queued.is_ok() {
            RELEASES.add();
        }
    }
}

impl RcuCallback for Session {
    type Pointer = Arc<Self>;

    fn run(_this: Arc<Self>, _cx: InCallback<'_>) {}
}

impl WorkItem for Session {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        let start = |hold| PercpuRef::start(&this, hold);
        if crate::hold().and_then(start).is_err() {
            RELEASES.set(100);
        }
    }
}

impl Confirm for Session {
    fn confirmed(&self) {
        if self.refs.is_dying() && PercpuRef::tryget_live(self).is_none() {
            CONFIRMS.add();
        }
        if let Some(victim) = &self.victim {
            victim.refs.kill();
        }
    }
}

#[pinned_drop]
impl PinnedDrop for Session {
    fn drop(self: Pin<&mut Self>) {
        DROPS.add();
    }
}

impl Session {
    /// One that is idle. Resets the counters.
    pub(crate) fn new() -> Result<Arc<Self>> {
        // A kill of the test before may still be on its way.
        rcu::rcu_barrier();
        for counter in [&RELEASES, &RELEASED_IN, &CONFIRMS, &DROPS] {
            counter.set(0);
        }
        Self::make()
    }

    pub(crate) fn make() -> Result<Arc<Self>> {
        Self::make_with(None)
    }

    pub(crate) fn make_with(victim: Option<Arc<Session>>) -> Result<Arc<Self>> {
        Arc::pin_init(
            try_pin_init!(Self {
                refs <- PercpuRef::new(GFP_KERNEL),
                rcu <- RcuHead::new(),
                work <- new_work!("kmemcg_test::Session"),
                restart <- new_spinlock_irq!(None),
                victim,
            }),
            GFP_KERNEL,
        )
    }

    pub(crate) fn started() -> Result<Arc<Self>> {
        let session = Self::new()?;
        PercpuRef::start(&session, crate::hold()?)?;
        Ok(session)
    }
}

pub(crate) fn get(session: &Arc<Session>) -> Result<Guard<Session>> {
    PercpuRef::tryget_live(&**session).ok_or(ENODEV)
}
