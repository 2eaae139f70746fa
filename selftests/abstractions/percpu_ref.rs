// SPDX-License-Identifier: GPL-2.0

//! Reference counts with per-CPU counters.

use crate::{
    abstractions::{
        context::Context,
        exec,
        sync::percpu_ref::*,
        workqueue::Builder, //
    },
    percpu_ref_session::{
        get,
        Session,
        CONFIRMS,
        DROPS,
        RELEASED_IN,
        RELEASES, //
    },
    support::{
        cpus_expected,
        eventually,
        in_parallel,
        stays_false,
        Counter,
        HeldGracePeriod,
        CONTEXTS,
        IRQ, //
    }, //
};
use kernel::{
    prelude::*,
    sync::{
        new_spinlock_irq,
        rcu,
        Arc,
        SpinLockIrq, //
    }, //
};

tests! { "percpu_ref":
    idle_until_started,
    second_start_is_ebusy,
    references_are_counted,
    tryget_live_and_tryget_differ_after_the_kill,
    second_kill_does_nothing,
    release_runs_where_the_last_put_is,
    release_without_references,
    confirm_is_called_once,
    confirm_waits_for_the_grace_period,
    resurrected_count_lives_and_dies_again,
    resurrect_only_what_was_killed,
    restarted_after_release,
    restarted_after_the_release_callback,
    released_is_given_up_where_others_have_it,
    both_cpus_get_and_put,
    both_cpus_kill_once,
    guard_keeps_the_structure,
    dropped_without_a_start,
}

/// Dead and zero: no reference can be had, and a kill does nothing.
fn idle_until_started() -> Result {
    let session = Session::new()?;
    check!(session.refs.is_idle());
    check!(session.refs.is_zero());
    check!(session.refs.is_dying());
    check!(PercpuRef::tryget_live(&*session).is_none());
    check!(PercpuRef::tryget(&*session).is_none());
    check!(!session.refs.kill());
    check!(!session.refs.kill_and_confirm());
    check_eq!(CONFIRMS.get(), 0);
    PercpuRef::start(&session, crate::hold()?)?;
    check!(!session.refs.is_idle());
    check!(!session.refs.is_zero());
    check!(!session.refs.is_dying());
    check!(session.refs.kill());
    rcu::rcu_barrier();
    check_eq!(RELEASES.get(), 1);
    Ok(())
}

/// While it is live, and while it is dying.
fn second_start_is_ebusy() -> Result {
    let session = Session::started()?;
    check_err!(PercpuRef::start(&session, crate::hold()?), EBUSY);
    let guard = get(&session)?;
    check!(session.refs.kill());
    check_err!(PercpuRef::start(&session, crate::hold()?), EBUSY);
    rcu::rcu_barrier();
    check_err!(PercpuRef::start(&session, crate::hold()?), EBUSY);
    drop(guard);
    check_eq!(RELEASES.get(), 1);
    drop(session);
    rcu::rcu_barrier();
    check_eq!(DROPS.get(), 1);
    Ok(())
}

/// Clones and gets; the release comes with the last put, and not before.
fn references_are_counted() -> Result {
    let session = Session::started()?;
    let mut guards = KVec::new();
    for _ in 0..50 {
        let guard = get(&session)?;
        guards.push(guard.clone(), GFP_KERNEL)?;
        guards.push(guard, GFP_KERNEL)?;
    }
    check!(session.refs.kill());
    rcu::rcu_barrier();
    while let Some(guard) = guards.pop() {
        check_eq!(RELEASES.get(), 0);
        check!(!session.refs.is_zero());
        drop(guard);
    }
    check_eq!(RELEASES.get(), 1);
    check!(session.refs.is_zero());
    check!(session.refs.is_idle());
    Ok(())
}

/// The one fails from the kill on, the other one from zero on.
fn tryget_live_and_tryget_differ_after_the_kill() -> Result {
    let session = Session::started()?;
    let guard = PercpuRef::tryget(&*session).ok_or(ENODEV)?;
    check!(session.refs.kill());
    check!(PercpuRef::tryget_live(&*session).is_none());
    let second = PercpuRef::tryget(&*session).ok_or(ENODEV)?;
    rcu::rcu_barrier();
    let third = PercpuRef::tryget(&*session).ok_or(ENODEV)?;
    check!(PercpuRef::tryget_live(&*session).is_none());
    drop((guard, second));
    check_eq!(RELEASES.get(), 0);
    drop(third);
    check_eq!(RELEASES.get(), 1);
    check!(PercpuRef::tryget(&*session).is_none());
    Ok(())
}

/// Of any two kills the first one did it.
fn second_kill_does_nothing() -> Result {
    let session = Session::started()?;
    let guard = get(&session)?;
    check!(session.refs.kill());
    check!(!session.refs.kill());
    check!(!session.refs.kill_and_confirm());
    rcu::rcu_barrier();
    check!(!session.refs.kill());
    drop(guard);
    check!(!session.refs.kill());
    rcu::rcu_barrier();
    check_eq!(RELEASES.get(), 1);
    check_eq!(CONFIRMS.get(), 0);
    drop(session);
    rcu::rcu_barrier();
    check_eq!(DROPS.get(), 1);
    Ok(())
}

/// In a task, a softirq, a hard interrupt: at once, and there.
fn release_runs_where_the_last_put_is() -> Result {
    for &context in CONTEXTS {
        let session = Session::started()?;
        let guard = get(&session)?;
        check!(session.refs.kill());
        rcu::rcu_barrier();
        check_eq!(RELEASES.get(), 0);
        exec::run(context, guard, drop).map_err(|(error, _)| error)?;
        check_eq!(RELEASES.get(), 1);
        check_eq!(RELEASED_IN.get(), context as usize + 1);
    }
    Ok(())
}

/// After the kill's own grace period, in no context that is a hard interrupt.
fn release_without_references() -> Result {
    let session = Session::started()?;
    let held = HeldGracePeriod::new()?;
    drop(get(&session)?);
    exec::run(IRQ, session.clone(), |session| {
        session.refs.kill();
    })
    .map_err(|(error, _)| error)?;
    check!(session.refs.is_dying());
    check!(stays_false(|| RELEASES.get() != 0));
    check!(held.is_held());
    held.release();
    rcu::rcu_barrier();
    check_eq!(RELEASES.get(), 1);
    check!(RELEASED_IN.get() != Context::HardIrq as usize + 1);
    Ok(())
}

/// Before the release, with a count above zero; for kills with confirmation only.
fn confirm_is_called_once() -> Result {
    let session = Session::started()?;
    let guard = get(&session)?;
    check!(session.refs.kill_and_confirm());
    rcu::rcu_barrier();
    check_eq!(CONFIRMS.get(), 1);
    check_eq!(RELEASES.get(), 0);
    drop(guard);
    rcu::rcu_barrier();
    check_eq!(CONFIRMS.get(), 1);
    check_eq!(RELEASES.get(), 1);
    // Without a reference: confirmed first, then released.
    PercpuRef::start(&session, crate::hold()?)?;
    check!(session.refs.kill_and_confirm());
    rcu::rcu_barrier();
    check_eq!(CONFIRMS.get(), 2);
    check_eq!(RELEASES.get(), 2);
    // Already atomic: by the caller.
    PercpuRef::start(&session, crate::hold()?)?;
    session.refs.switch_to_atomic()?;
    // The callback of the switch puts its own reference after it has confirmed.
    rcu::rcu_barrier();
    check!(session.refs.kill_and_confirm());
    check_eq!(CONFIRMS.get(), 3);
    check_eq!(RELEASES.get(), 3);
    Ok(())
}

/// Readers that could still take a live reference are gone then.
fn confirm_waits_for_the_grace_period() -> Result {
    let session = Session::started()?;
    let held = HeldGracePeriod::new()?;
    check!(session.refs.kill_and_confirm());
    check!(stays_false(|| CONFIRMS.get() != 0));
    check!(held.is_held());
    held.release();
    check!(eventually(|| CONFIRMS.get() == 1));
    check!(eventually(|| RELEASES.get() == 1));
    Ok(())
}

/// Live references again; one release in the end.
fn resurrected_count_lives_and_dies_again() -> Result {
    let session = Session::started()?;
    let guard = get(&session)?;
    for wait in [true, false, true] {
        check!(session.refs.kill());
        check!(PercpuRef::tryget_live(&*session).is_none());
        if wait {
            rcu::rcu_barrier();
        }
        PercpuRef::resurrect(&guard)?;
        check!(!session.refs.is_dying());
        drop(get(&session)?);
    }
    check!(session.refs.kill_and_confirm());
    rcu::rcu_barrier();
    check_eq!(RELEASES.get(), 0);
    drop(guard);
    check_eq!((RELEASES.get(), CONFIRMS.get()), (1, 1));
    Ok(())
}

/// Not a live one; not twice.
fn resurrect_only_what_was_killed() -> Result {
    let session = Session::started()?;
    let guard = get(&session)?;
    check_err!(PercpuRef::resurrect(&guard), EALREADY);
    check!(!session.refs.is_killed());
    check!(session.refs.kill());
    check!(session.refs.is_killed());
    PercpuRef::resurrect(&guard)?;
    check!(!session.refs.is_killed());
    check_err!(PercpuRef::resurrect(&guard), EALREADY);
    check!(session.refs.kill());
    drop(guard);
    rcu::rcu_barrier();
    check_eq!(RELEASES.get(), 1);
    Ok(())
}

/// A count has as many lives as it is started, each with its release.
fn restarted_after_release() -> Result {
    let session = Session::started()?;
    for life in 1..=5 {
        let guard = get(&session)?;
        check!(session.refs.kill());
        rcu::rcu_barrier();
        drop(guard);
        check_eq!(RELEASES.get(), life);
        check!(session.refs.is_idle());
        rcu::rcu_barrier();
        PercpuRef::start(&session, crate::hold()?)?;
        check!(!session.refs.is_idle());
    }
    check!(session.refs.kill());
    rcu::rcu_barrier();
    check_eq!(RELEASES.get(), 6);
    drop(session);
    rcu::rcu_barrier();
    check_eq!(DROPS.get(), 1);
    Ok(())
}

/// By a worker, as a start may sleep: the release callback queues it, in any context.
fn restarted_after_the_release_callback() -> Result {
    let session = Session::started()?;
    let guard = get(&session)?;
    check!(session.refs.kill());
    rcu::rcu_barrier();
    let queue = Builder::unbound().build(c"kmemcg_test_restart", crate::handle()?)?;
    let queue = Arc::new(queue, GFP_KERNEL)?;
    *session.restart.lock() = Some(queue.clone());
    exec::run(IRQ, guard, drop).map_err(|(error, _)| error)?;
    queue.flush();
    check_eq!(RELEASES.get(), 1);
    check!(!session.refs.is_idle());
    drop(get(&session)?);
    check!(session.refs.kill());
    rcu::rcu_barrier();
    check_eq!(RELEASES.get(), 2);
    Ok(())
}

/// In every context: nothing is dropped and nothing is leaked.
fn released_is_given_up_where_others_have_it() -> Result {
    for &context in CONTEXTS {
        let session = Session::new()?;
        let released = Released::from(session.clone());
        exec::run(context, released, drop).map_err(|(error, _)| error)?;
        check_eq!(DROPS.get(), 0);
        drop(session);
        check_eq!(DROPS.get(), 1);
    }
    Ok(())
}

/// While the count is killed, switched, and resurrected.
fn both_cpus_get_and_put() -> Result {
    let session = Session::started()?;
    let base = get(&session)?;
    let shared = session.clone();
    let cpus = in_parallel(3, move |me| {
        if me == 0 {
            for _ in 0..20 {
                let _ = shared.refs.switch_to_atomic();
                let _ = shared.refs.switch_to_percpu();
                if let Some(guard) = PercpuRef::tryget(&*shared) {
                    if shared.refs.kill() {
                        let _ = PercpuRef::resurrect(&guard);
                    }
                }
            }
            return;
        }
        for _ in 0..5_000 {
            let first = PercpuRef::tryget_live(&*shared);
            let second = PercpuRef::tryget(&*shared);
            let third = second.clone();
            drop((first, third, second));
        }
    })?;
    check!(cpus >= cpus_expected());
    check_eq!(RELEASES.get(), 0);
    check!(session.refs.kill());
    rcu::rcu_barrier();
    check_eq!(RELEASES.get(), 0);
    drop(base);
    check_eq!(RELEASES.get(), 1);
    Ok(())
}

/// Both kill, one did it; the last put races with the end of the grace period.
fn both_cpus_kill_once() -> Result {
    const ROUNDS: usize = 100;
    #[pin_data]
    struct Round {
        session: Arc<Session>,
        arrived: Counter,
        #[pin]
        guards: SpinLockIrq<KVec<Guard<Session>>>,
    }
    static KILLS: Counter = Counter::new();
    KILLS.set(0);
    let mut rounds = KVec::new();
    Session::new()?;
    DROPS.set(0);
    for _ in 0..ROUNDS {
        let session = Session::make()?;
        PercpuRef::start(&session, crate::hold()?)?;
        let mut guards = KVec::new();
        guards.push(get(&session)?, GFP_KERNEL)?;
        guards.push(get(&session)?, GFP_KERNEL)?;
        let round = pin_init!(Round {
            session,
            arrived: Counter::new(),
            guards <- new_spinlock_irq!(guards),
        });
        rounds.push(KBox::pin_init(round, GFP_KERNEL)?, GFP_KERNEL)?;
    }
    let cpus = in_parallel(2, move |_| {
        for round in &rounds {
            round.arrived.add();
            crate::support::spin_until(
                || round.arrived.get() == 2,
                kernel::time::Delta::from_millis(100),
            );
            if round.session.refs.kill() {
                KILLS.add();
            }
            let guard = round.guards.lock().pop();
            drop(guard);
        }
    })?;
    check!(cpus >= cpus_expected());
    rcu::rcu_barrier();
    check_eq!(KILLS.get(), ROUNDS);
    check_eq!(RELEASES.get(), ROUNDS);
    // The callbacks of the releases, which were queued by then.
    rcu::rcu_barrier();
    check_eq!(DROPS.get(), ROUNDS);
    Ok(())
}

/// The count's `Arc` does, and it is dropped with the release.
fn guard_keeps_the_structure() -> Result {
    let session = Session::started()?;
    let guard = get(&session)?;
    check!(session.refs.kill());
    drop(session);
    rcu::rcu_barrier();
    check_eq!(DROPS.get(), 0);
    check!(guard.refs.is_dying());
    drop(guard);
    check_eq!(RELEASES.get(), 1);
    rcu::rcu_barrier();
    check_eq!(DROPS.get(), 1);
    Ok(())
}

/// No release, no leak.
fn dropped_without_a_start() -> Result {
    drop(Session::new()?);
    check_eq!((RELEASES.get(), DROPS.get()), (0, 1));
    Ok(())
}
