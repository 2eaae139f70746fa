// SPDX-License-Identifier: GPL-2.0

//! Control groups. What needs cgroups that come and go is in `selftests/cgroup.sh`.

use crate::{
    abstractions::{
        cgroup::{
            Cgroup,
            Watch,
            Watcher,
            MAX_PATH, //
        },
        context::Context,
        exec,
        sync::rcu::slot, //
    },
    support::{
        Counter,
        CONTEXTS,
        IRQ, //
    }, //
};
use kernel::{
    prelude::*,
    sync::{Arc, ArcBorrow},
};

tests! { "cgroup":
    walk_begins_with_the_root_and_parents,
    current_task_is_in_one_of_them,
    interrupt_is_in_none,
    unknown_ids_are_enoent,
    path_is_cut_where_the_buffer_ends,
    charge_runs_in_every_context_and_nests,
    watcher_comes_and_goes,
}

/// Each has a parent that came before it, and an id of its own, by which it is found again.
fn walk_begins_with_the_root_and_parents() -> Result {
    let mut ids = KVec::new();
    for cgroup in Cgroup::all() {
        match cgroup.parent() {
            None => check!(ids.is_empty()),
            Some(parent) => check!(ids.contains(&parent.id())),
        }
        check!(cgroup.id() != 0);
        check!(!ids.contains(&cgroup.id()));
        check!(cgroup.is_online());
        check_eq!(Cgroup::from_id(cgroup.id())?.id(), cgroup.id());
        ids.push(cgroup.id(), GFP_KERNEL)?;
        let again = cgroup.clone();
        drop(cgroup);
        check!(again.is_online());
    }
    check!(!ids.is_empty());
    Ok(())
}

/// Of those that the walk finds.
fn current_task_is_in_one_of_them() -> Result {
    let id = slot::read(Cgroup::current_id);
    check!(Cgroup::all().any(|cgroup| cgroup.id() == id));
    Ok(())
}

/// There is a current task, but it does not ask.
fn interrupt_is_in_none() -> Result {
    static WRONG: Counter = Counter::new();
    WRONG.set(0);
    for context in [Context::SoftIrq, IRQ] {
        exec::run(context, (), |()| {
            if slot::read(Cgroup::current_id) != 0 {
                WRONG.add();
            }
        })
        .map_err(|(error, ())| error)?;
    }
    check_eq!(WRONG.get(), 0);
    Ok(())
}

/// Nor is a task's cgroup 0.
fn unknown_ids_are_enoent() -> Result {
    for id in [0, u64::MAX, 1 << 40] {
        check!(Cgroup::from_id(id).is_err());
    }
    Ok(())
}

/// No byte is written behind it.
fn path_is_cut_where_the_buffer_ends() -> Result {
    let root = Cgroup::all().next().ok_or(ENOENT)?;
    let mut buffer = [0xff; 4];
    check_eq!(root.path(&mut buffer)?.to_bytes(), b"/");
    check_eq!(buffer[2], 0xff);
    check!(root.path(&mut buffer[..0]).is_err());
    let _ = root.path(&mut buffer[..1]);
    check_eq!(buffer[2], 0xff);
    let mut whole = [0; MAX_PATH];
    for cgroup in Cgroup::all() {
        check!(cgroup.path(&mut []).is_err());
        let long = cgroup.path(&mut whole)?;
        let mut short = [0xff; 3];
        if let Ok(short) = cgroup.path(&mut short) {
            check!(long.to_bytes().starts_with(short.to_bytes()));
        }
        check_eq!(cgroup.parent().is_none(), long.to_bytes() == b"/");
    }
    Ok(())
}

/// What the closure returns comes back.
fn charge_runs_in_every_context_and_nests() -> Result {
    static DONE: Counter = Counter::new();
    if cfg!(not(CONFIG_MEMCG)) {
        return Err(EOPNOTSUPP);
    }
    DONE.set(0);
    let root = Cgroup::all().next().ok_or(ENOENT)?;
    for &context in CONTEXTS {
        let payers = (root.memcg().ok_or(ENOENT)?, root.memcg().ok_or(ENOENT)?);
        exec::run(context, payers, |(one, two)| {
            // On PREEMPT_RT softirqs preempt each other, and the memory cgroup to charge is one variable for all
            // softirqs of a CPU, so that `charge()` does nothing there.
            let charged = cfg!(not(CONFIG_PREEMPT_RT)) || Context::current() == Context::Task;
            let (mut right, before) = (true, one.is_charged());
            let object = one.charge(|| {
                right &= one.is_charged() == charged;
                two.charge(|| {
                    right &= two.is_charged() == charged;
                    drop(KBox::new(1u64, GFP_ATOMIC));
                });
                right &= one.is_charged() == charged;
                KBox::new(42u64, GFP_ATOMIC)
            });
            right &= !before && !one.is_charged() && !two.is_charged();
            if right && object.is_ok_and(|object| *object == 42) {
                DONE.add();
            }
        })
        .map_err(|(error, _)| error)?;
    }
    check_eq!(DONE.get(), CONTEXTS.len());
    Ok(())
}

struct Silent;

impl Watch for Silent {
    fn mkdir(_this: ArcBorrow<'_, Self>, _cgroup: &Cgroup, _path: &CStr) {}
    fn rmdir(_this: ArcBorrow<'_, Self>, _cgroup: &Cgroup) {}
    fn release(_this: ArcBorrow<'_, Self>, _cgroup: &Cgroup) {}
}

/// Two at once; and what is watched for is not kept.
fn watcher_comes_and_goes() -> Result {
    let (one, two) = (Arc::new(Silent, GFP_KERNEL)?, Arc::new(Silent, GFP_KERNEL)?);
    let first = Watcher::new(one.clone(), crate::handle()?)?;
    let second = Watcher::new(two, crate::handle()?)?;
    // The same once more is refused by the tracepoint.
    check_err!(Watcher::new(one.clone(), crate::handle()?), EEXIST);
    check!(Arc::ptr_eq(&first.stop(), &one));
    drop(second);
    check!(Arc::into_unique_or_drop(one).is_some());
    Ok(())
}
