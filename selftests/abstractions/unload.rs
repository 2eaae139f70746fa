// SPDX-License-Identifier: GPL-2.0

//! What keeps a module that is being unloaded: holds on it, and RCU callbacks.

use crate::{
    abstractions::{
        debugfs::{
            File,
            Folder, //
        },
        slab::Reaper,
        sync::{
            percpu_ref::{
                self,
                PercpuRef,
                Release, //
            },
            rcu::call_rcu::{
                Callbacks,
                InCallback,
                RcuArc,
                RcuCallback,
                RcuHead, //
            },
            wait_group::WaitGroup, //
        },
        unload::*,
        workqueue::{
            Builder,
            OwnedQueue, //
        }, //
    },
    impl_has_percpu_ref,
    impl_has_rcu_head,
    support::{
        eventually,
        spin_until,
        stays_false,
        Bell,
        Counter,
        HeldGracePeriod, //
    },
    RustKmemcgTest, //
};
use core::{cell::UnsafeCell, mem::MaybeUninit};
use kernel::{
    prelude::*,
    sync::{
        atomic::{Acquire, AtomicFlag, Full, Release as Released},
        rcu, Arc,
    },
    time::Delta,
    workqueue,
};

tests! { "unload":
    anchor_elsewhere_is_einval,
    drop_waits_for_the_last_hold,
    drop_waits_for_a_task_on_its_way_out,
    drop_waits_for_a_closure_on_a_queue_of_the_system,
    nothing_after_the_close,
    hold_gives_another_after_the_close,
    queue_keeps_the_module,
    reaper_keeps_the_module,
    folder_keeps_the_module,
    watcher_keeps_the_module,
    killed_count_keeps_the_module,
    live_count_keeps_the_module,
    busy_start_gives_its_hold_up,
    callbacks_have_run_after_the_drop,
    members_of_a_group,
}

/// The one piece of the module's memory in which a second anchor may lie.
struct Place {
    anchor: UnsafeCell<MaybeUninit<Anchor<RustKmemcgTest>>>,
    used: AtomicFlag,
}

// SAFETY: Only the test that has set `used` accesses the anchor.
unsafe impl Sync for Place {}

static PLACE: Place = Place {
    anchor: UnsafeCell::new(MaybeUninit::uninit()),
    used: AtomicFlag::new(false),
};

/// An anchor in that place, as if the module had another one. Its drop is that of the anchor.
struct Second(());

/// An anchor where it is put, for as long as a test needs it.
fn anchor() -> impl PinInit<Anchor<RustKmemcgTest>, Error> {
    // SAFETY: The tests below make none in the memory of this module but that of `PLACE`, which
    // `Second` drops before the test ends.
    unsafe { Anchor::new() }
}

impl Second {
    fn new() -> Result<Self> {
        if PLACE.used.xchg(true, Full) {
            return Err(EBUSY);
        }
        // SAFETY: Ours alone; it is dropped before it is written again.
        let made = unsafe { pin_init::raw_try_init(Self::anchor(), anchor()) };
        if let Err(error) = made {
            PLACE.used.store(false, Released);
            return Err(error);
        }
        Ok(Self(()))
    }

    fn anchor() -> *mut Anchor<RustKmemcgTest> {
        PLACE.anchor.get().cast()
    }

    fn handle(&self) -> Handle {
        // SAFETY: Made by `new()`.
        unsafe { &*Self::anchor() }.handle().clone()
    }

    /// Drops it in a worker, and returns who says when that is done.
    fn unload(self) -> Result<Unloading> {
        let queue = Builder::unbound().build(c"kmemcg_test_unload", crate::handle()?)?;
        let done = Arc::new(Counter::new(), GFP_KERNEL)?;
        let (handle, end) = (self.handle(), done.clone());
        queue.try_spawn(GFP_KERNEL, move || {
            drop(self);
            end.add();
        })?;
        if !eventually(|| handle.is_closed()) {
            return Err(ETIMEDOUT);
        }
        Ok(Unloading {
            done,
            _queue: queue,
        })
    }
}

impl Drop for Second {
    fn drop(&mut self) {
        // SAFETY: Made by `new()`, and dropped once.
        unsafe { Self::anchor().drop_in_place() };
        PLACE.used.store(false, Released);
    }
}

/// An anchor that is closed and being dropped.
struct Unloading {
    done: Arc<Counter>,
    _queue: OwnedQueue,
}

impl Unloading {
    fn waits(&self) -> bool {
        stays_false(|| self.done.get() != 0)
    }

    fn ends(&self) -> bool {
        eventually(|| self.done.get() != 0)
    }
}

static RUNS: Counter = Counter::new();
static DROPS: Counter = Counter::new();

/// What is kept as long as `keep` is there: so long the anchor's drop waits, and no longer.
fn keeps<T>(make: impl FnOnce(&Handle) -> Result<T>) -> Result {
    let second = Second::new()?;
    let keep = make(&second.handle())?;
    let unloading = second.unload()?;
    check!(unloading.waits());
    drop(keep);
    check!(unloading.ends());
    Ok(())
}

/// What is dropped with its memory must lie in the module's.
fn anchor_elsewhere_is_einval() -> Result {
    let boxed = KBox::pin_init(anchor(), GFP_KERNEL);
    check_eq!(
        boxed.err().map(|error| error.to_errno()),
        Some(EINVAL.to_errno())
    );
    let shared = Arc::pin_init(anchor(), GFP_KERNEL);
    check_eq!(
        shared.err().map(|error| error.to_errno()),
        Some(EINVAL.to_errno())
    );
    drop(Second::new()?);
    Ok(())
}

/// A value that owns a hold, and can be dropped wherever a task may sleep.
fn held(module: &Handle) -> Result<OwnedQueue> {
    Builder::unbound().build(c"kmemcg_test_held", module)
}

/// Whichever value owns it, in whatever order they are dropped.
fn drop_waits_for_the_last_hold() -> Result {
    let queue = Builder::unbound().build(c"kmemcg_test_hold", crate::handle()?)?;
    let second = Second::new()?;
    let handle = second.handle();
    let (first, last) = (held(&handle)?, held(&handle)?);
    DROPS.set(0);
    queue.try_spawn(GFP_KERNEL, move || {
        // Long after the drop of the anchor has begun.
        eventually(|| handle.is_closed());
        drop(first);
        stays_false(|| false);
        DROPS.add();
        drop(last);
    })?;
    drop(second);
    check_eq!(DROPS.get(), 1);
    Ok(())
}

/// A task that has dropped the last hold is still in code of the module until it returns. Here it
/// stays there for as long as it takes without sleeping: no RCU reader, and no hold. The hold is that of
/// a count, as a queue is destroyed by another worker.
fn drop_waits_for_a_task_on_its_way_out() -> Result {
    let queue = Builder::unbound().build(c"kmemcg_test_out", crate::handle()?)?;
    let second = Second::new()?;
    let session = session()?;
    PercpuRef::start(&session, &second.handle())?;
    let last = PercpuRef::tryget_live(&*session).ok_or(ENODEV)?;
    let unloading = second.unload()?;
    check!(session.refs.kill());
    // From here the count is atomic, so the task below is the one that releases it.
    rcu::rcu_barrier();
    let early = Arc::new(Counter::new(), GFP_KERNEL)?;
    let (done, seen) = (unloading.done.clone(), early.clone());
    queue.try_spawn(GFP_KERNEL, move || {
        drop(last);
        // Many times the wait for readers and callbacks.
        if spin_until(|| done.get() != 0, Delta::from_millis(500)) {
            seen.add();
        }
    })?;
    queue.flush();
    check!(unloading.ends());
    check_eq!(early.get(), 0);
    Ok(())
}

/// The closure sleeps, and nothing but the handle knows of it.
fn drop_waits_for_a_closure_on_a_queue_of_the_system() -> Result {
    let second = Second::new()?;
    let handle = second.handle();
    let end = Arc::new(Counter::new(), GFP_KERNEL)?;
    let (until, closed) = (end.clone(), handle.clone());
    DROPS.set(0);
    handle.try_spawn(workqueue::system_long(), GFP_KERNEL, move || {
        eventually(|| until.get() != 0 && closed.is_closed());
        stays_false(|| false);
        DROPS.add();
    })?;
    let unloading = second.unload()?;
    check!(unloading.waits());
    check_eq!(DROPS.get(), 0);
    end.set(1);
    check!(unloading.ends());
    check_eq!(DROPS.get(), 1);
    Ok(())
}

/// Whatever needs a hold, while the anchor waits and when it is gone.
fn nothing_after_the_close() -> Result {
    let second = Second::new()?;
    let handle = second.handle();
    let hold = held(&handle)?;
    let unloading = second.unload()?;
    let while_it_waits = nothing_can_be_had(&handle).and_then(|()| {
        check!(unloading.waits());
        Ok(())
    });
    drop(hold);
    while_it_waits?;
    check!(unloading.ends());
    nothing_can_be_had(&handle)
}

fn nothing_can_be_had(handle: &Handle) -> Result {
    check_err!(PercpuRef::start(&session()?, handle), ENODEV);
    check_err!(
        handle.try_spawn(workqueue::system(), GFP_KERNEL, || ()),
        ENODEV
    );
    check_err!(
        Builder::unbound().build(c"kmemcg_test_late", handle),
        ENODEV
    );
    check_err!(Reaper::new(c"kmemcg_test_late", handle), ENODEV);
    check_err!(folder(handle), ENODEV);
    check_err!(Callbacks::new(handle).call(entry()?), ENODEV);
    check_err!(RcuArc::from_arc(entry()?, handle), ENODEV);
    Ok(())
}

/// So the owner of a queue can start a count at any time.
fn hold_gives_another_after_the_close() -> Result {
    let second = Second::new()?;
    let queue = held(&second.handle())?;
    let unloading = second.unload()?;
    let session = session()?;
    PercpuRef::start(&session, &queue)?;
    drop(queue);
    check!(unloading.waits());
    check!(session.refs.kill());
    check!(unloading.ends());
    Ok(())
}

fn queue_keeps_the_module() -> Result {
    keeps(|module| Builder::unbound().build(c"kmemcg_test_keeps", module))
}

fn reaper_keeps_the_module() -> Result {
    keeps(|module| Reaper::new(c"kmemcg_test_keeps", module))
}

fn folder(module: &Handle) -> Result<Folder<Bell>> {
    static FILES: [File<Bell>; 0] = [];
    let data = Arc::new(Bell(&DROPS), GFP_KERNEL)?;
    Folder::new::<RustKmemcgTest>(c"rust_kmemcg_test.late", data, &FILES, module)
}

fn folder_keeps_the_module() -> Result {
    keeps(folder)
}

#[cfg(CONFIG_CGROUPS)]
fn watcher_keeps_the_module() -> Result {
    use crate::abstractions::cgroup::{Cgroup, Watch, Watcher};
    use kernel::sync::ArcBorrow;

    struct Nobody;

    impl Watch for Nobody {
        fn mkdir(_: ArcBorrow<'_, Self>, _: &Cgroup, _: &CStr) {}
        fn rmdir(_: ArcBorrow<'_, Self>, _: &Cgroup) {}
        fn release(_: ArcBorrow<'_, Self>, _: &Cgroup) {}
    }

    keeps(|module| Watcher::new(Arc::new(Nobody, GFP_KERNEL)?, module)).map_err(|error| {
        if error == ENOENT {
            EOPNOTSUPP
        } else {
            error
        }
    })
}

#[cfg(not(CONFIG_CGROUPS))]
fn watcher_keeps_the_module() -> Result {
    Err(EOPNOTSUPP)
}

#[pin_data]
struct Session {
    #[pin]
    refs: PercpuRef<Session>,
}

impl_has_percpu_ref! { impl HasPercpuRef for Session { self.refs } }

impl Release for Session {
    fn release(_this: percpu_ref::Released<Self>) {
        RUNS.add();
    }
}

fn session() -> Result<Arc<Session>> {
    RUNS.set(0);
    Arc::pin_init(
        try_pin_init!(Session { refs <- PercpuRef::new(GFP_KERNEL) }),
        GFP_KERNEL,
    )
}

/// Until its release was called, after the grace period of the kill.
fn killed_count_keeps_the_module() -> Result {
    let second = Second::new()?;
    let session = session()?;
    PercpuRef::start(&session, &second.handle())?;
    let held = HeldGracePeriod::new()?;
    check!(session.refs.kill());
    let unloading = second.unload()?;
    check!(unloading.waits());
    check!(held.is_held());
    check_eq!(RUNS.get(), 0);
    held.release();
    check!(unloading.ends());
    check_eq!(RUNS.get(), 1);
    Ok(())
}

/// Until it is killed, and the last reference was put.
fn live_count_keeps_the_module() -> Result {
    let second = Second::new()?;
    let session = session()?;
    PercpuRef::start(&session, &second.handle())?;
    let guard = PercpuRef::tryget_live(&*session).ok_or(ENODEV)?;
    let unloading = second.unload()?;
    check!(unloading.waits());
    check!(session.refs.kill());
    check!(unloading.waits());
    drop(guard);
    check!(unloading.ends());
    check_eq!(RUNS.get(), 1);
    // Idle: it holds nothing, and can be started for another module.
    PercpuRef::start(&session, crate::hold()?)?;
    check!(session.refs.kill());
    rcu::rcu_barrier();
    Ok(())
}

/// And the count keeps its own.
fn busy_start_gives_its_hold_up() -> Result {
    let (one, other) = (crate::hold()?, Second::new()?);
    let session = session()?;
    PercpuRef::start(&session, one)?;
    check_err!(PercpuRef::start(&session, &other.handle()), EBUSY);
    drop(other);
    check!(session.refs.kill());
    rcu::rcu_barrier();
    Ok(())
}

#[pin_data]
struct Entry {
    #[pin]
    rcu: RcuHead<Entry>,
}

impl_has_rcu_head! { impl HasRcuHead for Entry { self.rcu } }

impl RcuCallback for Entry {
    type Pointer = Arc<Self>;

    fn run(_this: Arc<Self>, _cx: InCallback<'_>) {
        RUNS.add();
    }
}

fn entry() -> Result<Arc<Entry>> {
    Arc::pin_init(pin_init!(Entry { rcu <- RcuHead::new() }), GFP_KERNEL)
}

fn callbacks_have_run_after_the_drop() -> Result {
    RUNS.set(0);
    let second = Second::new()?;
    let callbacks = Callbacks::new(&second.handle());
    let held = HeldGracePeriod::new()?;
    for _ in 0..100 {
        check!(callbacks.call(entry()?).is_ok());
    }
    let unloading = second.unload()?;
    check!(unloading.waits());
    check!(held.is_held());
    check_eq!(RUNS.get(), 0);
    held.release();
    check!(unloading.ends());
    check_eq!(RUNS.get(), 100);
    Ok(())
}

/// Joining, cloning, closing.
fn members_of_a_group() -> Result {
    let group = WaitGroup::new()?;
    group.wait();
    let queue = Builder::unbound().build(c"kmemcg_test_group", crate::handle()?)?;
    let waited = Arc::new(AtomicFlag::new(false), GFP_KERNEL)?;
    let member = group.try_join().ok_or(ENODEV)?;
    group.close();
    check!(group.is_closed());
    check!(group.try_join().is_none());
    let (more, clone) = (group.join(), member.clone());
    let (theirs, end) = (group.clone(), waited.clone());
    queue.try_spawn(GFP_KERNEL, move || {
        theirs.wait();
        end.store(true, Released);
    })?;
    for one in [member, more] {
        drop(one);
        check!(stays_false(|| waited.load(Acquire)));
    }
    drop(clone);
    check!(eventually(|| waited.load(Acquire)));
    group.wait();
    Ok(())
}
