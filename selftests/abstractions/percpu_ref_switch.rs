// SPDX-License-Identifier: GPL-2.0

//! Reference counts that are switched between their modes, or killed or resurrected meanwhile.

use crate::{
    abstractions::{
        sync::percpu_ref::*,
        workqueue::Builder, //
    },
    percpu_ref_session::{
        get,
        Session,
        CONFIRMS,
        RELEASES, //
    },
    support::{
        cpus_expected,
        eventually,
        in_parallel,
        stays_false,
        Counter,
        HeldGracePeriod, //
    }, //
};
use kernel::{
    bindings,
    error::to_result,
    prelude::*,
    sync::rcu,
    types::Opaque, //
};

tests! { "percpu_ref":
    switching_modes,
    switching_says_why_not,
    counted_while_it_is_switched,
    counted_in_the_middle_of_a_switch,
    killed_while_it_is_switched,
    confirmed_kill_while_it_is_switched,
    killed_while_it_is_resurrected,
    confirmed_may_kill_other_counts,
    not_resurrected_before_it_is_confirmed,
}

/// Live counts only; references survive, and no switch revives or ends anything.
fn switching_modes() -> Result {
    let session = Session::new()?;
    check_err!(session.refs.switch_to_atomic(), ENODEV);
    check_err!(session.refs.switch_to_percpu(), ENODEV);
    check!(session.refs.is_zero() && session.refs.is_idle());
    PercpuRef::start(&session, crate::hold()?)?;
    let guard = get(&session)?;
    for _ in 0..3 {
        session.refs.switch_to_atomic()?;
        check!(!session.refs.is_zero() && !session.refs.is_dying());
        drop(get(&session)?);
        session.refs.switch_to_percpu()?;
        drop(get(&session)?);
    }
    check!(session.refs.kill());
    check_err!(session.refs.switch_to_atomic(), ENODEV);
    check_err!(session.refs.switch_to_percpu(), ENODEV);
    check!(session.refs.is_dying());
    check!(PercpuRef::tryget_live(&*session).is_none());
    check_eq!(RELEASES.get(), 0);
    drop(guard);
    rcu::rcu_barrier();
    check_eq!(RELEASES.get(), 1);
    // The callback that the release has queued: the second release needs its head.
    rcu::rcu_barrier();
    // An atomic count is released by the kill itself.
    PercpuRef::start(&session, crate::hold()?)?;
    session.refs.switch_to_atomic()?;
    check!(session.refs.kill());
    check_eq!(RELEASES.get(), 2);
    Ok(())
}

/// Kills the count while a worker switches it, which takes as long as a grace period is held.
fn kill_while_switching(kill: fn(&PercpuRef<Session>) -> bool, confirms: usize) -> Result {
    let session = Session::started()?;
    let queue = Builder::unbound().build(c"kmemcg_test_switch", crate::handle()?)?;
    let held = HeldGracePeriod::new()?;
    let switched = session.clone();
    static SWITCHED: Counter = Counter::new();
    SWITCHED.set(0);
    queue.try_spawn(GFP_KERNEL, move || {
        if switched.refs.switch_to_atomic().is_ok() {
            SWITCHED.add();
        }
    })?;
    check!(stays_false(|| SWITCHED.get() != 0));
    check!(session.refs.is_live());
    check!(kill(&session.refs));
    check!(!kill(&session.refs));
    check!(!session.refs.is_live());
    // The kill is put off.
    let guard = get(&session)?;
    check!(held.is_held());
    check_eq!((SWITCHED.get(), CONFIRMS.get()), (0, 0));
    held.release();
    queue.flush();
    rcu::rcu_barrier();
    check!(session.refs.is_dying());
    check!(PercpuRef::tryget_live(&*session).is_none());
    check_eq!((CONFIRMS.get(), RELEASES.get()), (confirms, 0));
    drop(guard);
    check_eq!((CONFIRMS.get(), RELEASES.get()), (confirms, 1));
    Ok(())
}

/// It waits for nothing; who switches kills.
fn killed_while_it_is_switched() -> Result {
    kill_while_switching(|refs| refs.kill(), 0)
}

/// And the switcher has it confirmed.
fn confirmed_kill_while_it_is_switched() -> Result {
    kill_while_switching(|refs| refs.kill_and_confirm(), 1)
}

/// A kill waits for nothing; whoever resurrects the count kills it again in the end.
fn killed_while_it_is_resurrected() -> Result {
    let session = Session::started()?;
    let guard = get(&session)?;
    let queue = Builder::unbound().build(c"kmemcg_test_revive", crate::handle()?)?;
    let held = HeldGracePeriod::new()?;
    check!(session.refs.kill());
    static REVIVED: Counter = Counter::new();
    REVIVED.set(0);
    let revived = guard.clone();
    queue.try_spawn(GFP_KERNEL, move || {
        if PercpuRef::resurrect(&revived).is_ok() {
            REVIVED.add();
        }
    })?;
    // It waits for the switch to atomic of the kill.
    check!(eventually(|| session.refs.is_live()));
    check_err!(PercpuRef::resurrect(&guard), EALREADY);
    check_err!(session.refs.switch_to_atomic(), EBUSY);
    check!(session.refs.kill());
    check!(!session.refs.kill());
    check_err!(PercpuRef::resurrect(&guard), EBUSY);
    check_err!(session.refs.switch_to_percpu(), ENODEV);
    check!(held.is_held());
    check_eq!(REVIVED.get(), 0);
    held.release();
    queue.flush();
    rcu::rcu_barrier();
    check_eq!(REVIVED.get(), 1);
    check!(session.refs.is_dying());
    check!(PercpuRef::tryget_live(&*session).is_none());
    check_eq!(RELEASES.get(), 0);
    drop(guard);
    check_eq!(RELEASES.get(), 1);
    Ok(())
}

/// Also of a count that is atomic already, whose kill is confirmed by the caller.
fn confirmed_may_kill_other_counts() -> Result {
    for atomic in [false, true] {
        let victim = Session::started()?;
        let session = Session::make_with(Some(victim.clone()))?;
        PercpuRef::start(&session, crate::hold()?)?;
        let guard = get(&session)?;
        if atomic {
            session.refs.switch_to_atomic()?;
        }
        check!(session.refs.kill_and_confirm());
        rcu::rcu_barrier();
        check_eq!(CONFIRMS.get(), 1);
        check!(victim.refs.is_dying());
        rcu::rcu_barrier();
        check_eq!(RELEASES.get(), 1);
        drop(guard);
        check_eq!(RELEASES.get(), 2);
        rcu::rcu_barrier();
    }
    Ok(())
}

/// A confirmation finds the count dead.
fn not_resurrected_before_it_is_confirmed() -> Result {
    let session = Session::started()?;
    let guard = get(&session)?;
    let held = HeldGracePeriod::new()?;
    check!(session.refs.kill_and_confirm());
    check_err!(PercpuRef::resurrect(&guard), EBUSY);
    check!(held.is_held());
    check_eq!(CONFIRMS.get(), 0);
    held.release();
    rcu::rcu_barrier();
    check_eq!(CONFIRMS.get(), 1);
    PercpuRef::resurrect(&guard)?;
    check!(session.refs.kill());
    drop(guard);
    rcu::rcu_barrier();
    check_eq!((CONFIRMS.get(), RELEASES.get()), (1, 1));
    Ok(())
}

/// By another thread; ended by a kill.
fn switching_says_why_not() -> Result {
    let session = Session::started()?;
    let queue = Builder::unbound().build(c"kmemcg_test_switch", crate::handle()?)?;
    let held = HeldGracePeriod::new()?;
    let switched = session.clone();
    static BEGUN: Counter = Counter::new();
    BEGUN.set(0);
    queue.try_spawn(GFP_KERNEL, move || {
        BEGUN.set(1);
        let _ = switched.refs.switch_to_atomic();
        BEGUN.set(2);
    })?;
    check!(eventually(|| BEGUN.get() != 0));
    check!(stays_false(|| BEGUN.get() == 2));
    check_err!(session.refs.switch_to_atomic(), EBUSY);
    check_err!(session.refs.switch_to_percpu(), EBUSY);
    check!(session.refs.kill());
    check_err!(session.refs.switch_to_percpu(), ENODEV);
    check!(held.is_held());
    held.release();
    queue.flush();
    rcu::rcu_barrier();
    check_err!(session.refs.switch_to_percpu(), ENODEV);
    check_eq!(RELEASES.get(), 1);
    Ok(())
}

/// The per-CPU counts of before the switch to atomic are there until the switch back.
fn counted_while_it_is_switched() -> Result {
    const REFERENCES: usize = 1000;
    let session = Session::started()?;
    let mut guards = KVec::new();
    for _ in 0..REFERENCES {
        guards.push(get(&session)?, GFP_KERNEL)?;
    }
    static WRONG: Counter = Counter::new();
    static DONE: Counter = Counter::new();
    WRONG.set(0);
    DONE.set(0);
    let shared = session.clone();
    let cpus = in_parallel(2, move |me| {
        if me == 0 {
            for _ in 0..30 {
                let _ = shared.refs.switch_to_atomic();
                let _ = shared.refs.switch_to_percpu();
            }
            DONE.set(1);
            return;
        }
        while DONE.get() == 0 {
            for _ in 0..1_000 {
                // The percpu_ref core holds one, for a moment after a switch.
                let count = shared.refs.count();
                if !(REFERENCES - 1..=REFERENCES + 1).contains(&count) {
                    WRONG.set(count);
                }
            }
            crate::support::give_way();
        }
    })?;
    check!(cpus >= cpus_expected());
    check_eq!(WRONG.get(), 0);
    check_eq!(session.refs.count(), REFERENCES);
    check!(session.refs.kill());
    drop(guards);
    rcu::rcu_barrier();
    check_eq!(RELEASES.get(), 1);
    Ok(())
}

extern "C" {
    fn rust_kmemcg_percpu_ref_count(refs: *mut bindings::percpu_ref, to_percpu: bool) -> isize;
    fn rust_kmemcg_percpu_ref_get(refs: *mut bindings::percpu_ref);
    fn rust_kmemcg_percpu_ref_put(refs: *mut bindings::percpu_ref);
}

/// In the state of a count between two lines of `__percpu_ref_switch_to_percpu()`.
fn counted_in_the_middle_of_a_switch() -> Result {
    const REFERENCES: isize = 1000;
    extern "C" fn released(_refs: *mut bindings::percpu_ref) {
        RELEASES.add();
    }
    rcu::rcu_barrier();
    RELEASES.set(0);
    let refs = KBox::new(Opaque::<bindings::percpu_ref>::uninit(), GFP_KERNEL)?;
    let raw = refs.get();
    // SAFETY: Stays in its box until `percpu_ref_exit()` below; nobody else has it.
    let (atomic, middle) = unsafe {
        let flags = bindings::PERCPU_REF_ALLOW_REINIT;
        to_result(bindings::percpu_ref_init(
            raw,
            Some(released),
            flags,
            bindings::GFP_KERNEL,
        ))?;
        for _ in 0..REFERENCES {
            rust_kmemcg_percpu_ref_get(raw);
        }
        bindings::percpu_ref_switch_to_atomic_sync(raw);
        // The core puts its own reference after it has reported the switch.
        rcu::rcu_barrier();
        let atomic = rust_kmemcg_percpu_ref_count(raw, true);
        let count: *mut isize = (&raw mut (*(*raw).data).count).cast();
        count.write(count.read().wrapping_add(isize::MIN));
        let middle = rust_kmemcg_percpu_ref_count(raw, true);
        count.write(count.read().wrapping_sub(isize::MIN));
        for _ in 0..REFERENCES {
            rust_kmemcg_percpu_ref_put(raw);
        }
        bindings::percpu_ref_kill_and_confirm(raw, None);
        bindings::percpu_ref_exit(raw);
        (atomic, middle)
    };
    check_eq!((atomic, middle), (REFERENCES + 1, REFERENCES + 1));
    check_eq!(RELEASES.get(), 1);
    Ok(())
}
