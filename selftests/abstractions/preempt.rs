// SPDX-License-Identifier: GPL-2.0

//! Readers with preemption disabled, and counts that rely on them.

use crate::{
    abstractions::{
        exec,
        preempt,
        sync::{
            percpu_ref::*,
            rcu::slot::RcuSlot, //
        },
        workqueue::Builder, //
    },
    impl_has_percpu_ref,
    support::{
        cpus_expected,
        eventually,
        in_parallel,
        stays_false,
        Bell,
        Counter,
        HeldGracePeriod,
        CONTEXTS, //
    }, //
};
use kernel::{
    prelude::*,
    sync::{rcu, Arc},
};

tests! { "preempt":
    guard_holds_a_grace_period_open,
    kill_waits_for_the_guard,
    percpu_references_of_live_counts_only,
    percpu_references_race_with_the_kill,
}

static DROPS: Counter = Counter::new();
static RELEASES: Counter = Counter::new();

#[pin_data]
struct Session {
    #[pin]
    refs: PercpuRef<Session>,
}

impl_has_percpu_ref! { impl HasPercpuRef for Session { self.refs } }

impl Release for Session {
    fn release(_this: Released<Self>) {
        RELEASES.add();
    }
}

fn session() -> Result<Arc<Session>> {
    rcu::rcu_barrier();
    RELEASES.set(0);
    let session = Arc::pin_init(
        try_pin_init!(Session { refs <- PercpuRef::new(GFP_KERNEL) }),
        GFP_KERNEL,
    )?;
    PercpuRef::start(&session, crate::hold()?)?;
    Ok(session)
}

/// What was taken out of a slot is not dropped before.
fn guard_holds_a_grace_period_open() -> Result {
    DROPS.set(0);
    let slot = RcuSlot::new();
    check!(slot.publish(Arc::new(Bell(&DROPS), GFP_KERNEL)?).is_ok());
    let held = HeldGracePeriod::by(|wait| preempt::with(|_| wait()))?;
    let retired = slot.take().ok_or(ENOENT)?;
    let queue = Builder::unbound().build(c"kmemcg_test_preempt", crate::handle()?)?;
    queue.try_spawn(GFP_KERNEL, move || drop(retired))?;
    check!(stays_false(|| DROPS.get() != 0));
    check!(held.is_held());
    held.release();
    check!(eventually(|| DROPS.get() == 1));
    Ok(())
}

/// The count is not made exact while somebody may have seen it per-CPU.
fn kill_waits_for_the_guard() -> Result {
    let session = session()?;
    let held = HeldGracePeriod::by(|wait| preempt::with(|_| wait()))?;
    check!(session.refs.kill());
    check!(stays_false(|| RELEASES.get() != 0));
    check!(!session.refs.is_exact());
    check!(held.is_held());
    held.release();
    check!(eventually(|| RELEASES.get() == 1));
    check!(session.refs.is_exact());
    Ok(())
}

fn percpu(session: &Session) -> Option<Guard<Session>> {
    preempt::with(|guard| PercpuRef::tryget_percpu(session, guard))
}

/// In every context; not of a count that is atomic, or dead.
fn percpu_references_of_live_counts_only() -> Result {
    for &context in CONTEXTS {
        let session = session()?;
        let guards = Arc::new(Counter::new(), GFP_KERNEL)?;
        exec::run(
            context,
            (session.clone(), guards.clone()),
            |(session, guards)| {
                if let Some(guard) = percpu(&session) {
                    guards.set(session.refs.count());
                    drop(guard);
                }
            },
        )
        .map_err(|(error, _)| error)?;
        check_eq!(guards.get(), 1);
        check_eq!(session.refs.count(), 0);
        session.refs.switch_to_atomic()?;
        check!(percpu(&session).is_none());
        check!(PercpuRef::tryget_live(&*session).is_some());
        session.refs.switch_to_percpu()?;
        check!(percpu(&session).is_some());
        check!(session.refs.kill());
        check!(percpu(&session).is_none());
        rcu::rcu_barrier();
        check_eq!(RELEASES.get(), 1);
    }
    Ok(())
}

/// Whoever got one before the kill keeps the structure; the last one releases it, once.
fn percpu_references_race_with_the_kill() -> Result {
    for _ in 0..50 {
        let session = session()?;
        let shared = session.clone();
        let cpus = in_parallel(4, move |worker| {
            for i in 0..2000 {
                if worker == 0 && i == 1000 {
                    shared.refs.kill();
                }
                let guard = percpu(&shared).or_else(|| PercpuRef::tryget_live(&*shared));
                let twice = guard.as_ref().cloned();
                drop((guard, twice));
            }
        })?;
        check!(cpus >= cpus_expected());
        rcu::rcu_barrier();
        check_eq!(RELEASES.get(), 1);
        check!(session.refs.is_zero());
    }
    Ok(())
}
