// SPDX-License-Identifier: GPL-2.0

//! Reference counts with per-CPU counters.

use crate::{
    abstractions::{
        context::Context,
        exec,
        sync::{
            percpu_ref::*,
            rcu::call_rcu::{
                Callbacks,
                InCallback,
                RcuCallback,
                RcuHead, //
            }, //
        },
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
    impl_has_rcu_head,
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
    bindings,
    error::to_result,
    prelude::*,
    sync::{new_spinlock_irq, rcu, Arc, SpinLockIrq},
    types::Opaque,
    workqueue::{impl_has_work, new_work, Work, WorkItem},
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
    released_is_queued_on_its_own_queue,
    released_that_is_queued_comes_back,
    switching_modes,
    switching_says_why_not,
    counted_while_it_is_switched,
    counted_in_the_middle_of_a_switch,
    killed_while_it_is_switched,
    confirmed_kill_while_it_is_switched,
    killed_while_it_is_resurrected,
    confirmed_may_kill_other_counts,
    not_resurrected_before_it_is_confirmed,
    both_cpus_get_and_put,
    both_cpus_kill_once,
    guard_keeps_the_structure,
    dropped_without_a_start,
}

#[pin_data(PinnedDrop)]
struct Session {
    #[pin]
    refs: PercpuRef<Session>,
    #[pin]
    rcu: RcuHead<Session>,
    #[pin]
    work: Work<Session>,
    /// Where the release callback queues it, to be started again.
    #[pin]
    restart: SpinLockIrq<Option<Arc<OwnedQueue>>>,
    /// What `confirmed()` kills.
    victim: Option<Arc<Session>>,
}

impl_has_percpu_ref! { impl HasPercpuRef for Session { self.refs } }
impl_has_rcu_head! { impl HasRcuHead for Session { self.rcu } }
impl_has_work! { impl HasWork<Self> for Session { self.work } }

static RELEASES: Counter = Counter::new();
static RELEASED_IN: Counter = Counter::new();
static CONFIRMS: Counter = Counter::new();
static DROPS: Counter = Counter::new();

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
    fn new() -> Result<Arc<Self>> {
        // A kill of the test before may still be on its way.
        rcu::rcu_barrier();
        for counter in [&RELEASES, &RELEASED_IN, &CONFIRMS, &DROPS] {
            counter.set(0);
        }
        Self::make()
    }

    fn make() -> Result<Arc<Self>> {
        Self::make_with(None)
    }

    fn make_with(victim: Option<Arc<Session>>) -> Result<Arc<Self>> {
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

    fn started() -> Result<Arc<Self>> {
        let session = Self::new()?;
        PercpuRef::start(&session, crate::hold()?)?;
        Ok(session)
    }
}

fn get(session: &Arc<Session>) -> Result<Guard<Session>> {
    PercpuRef::tryget_live(&**session).ok_or(ENODEV)
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
