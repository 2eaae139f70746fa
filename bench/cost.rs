// SPDX-License-Identifier: GPL-2.0

//! Measures allocate and free.

use crate::{
    abstractions::{context::Context, exec},
    cgroup::Cgroups,
    ffi,
    fixture::{min_time_per_loop, time, wait_until, Fixture},
    protocol::{Group, HeldChild, Root},
    Results,
};
use core::mem::MaybeUninit;
use kernel::{
    prelude::*,
    sync::{
        atomic::{Atomic, Relaxed},
        Arc,
    },
};

/// Pairs in a measurement, so few that most measurements see no timer tick.
const LOOPS: u32 = 400;

#[inline(never)]
fn handle_pairs(child: &HeldChild, loops: u32) -> Result {
    for _ in 0..loops {
        drop(child.alloc(GFP_KERNEL)?);
    }
    Ok(())
}

#[inline(never)]
fn lookup_pairs(root: &Arc<Root>, group: &Arc<Group>, loops: u32) -> Result {
    for _ in 0..loops {
        drop(root.alloc(Some(group), GFP_KERNEL)?);
    }
    Ok(())
}

#[inline(never)]
fn current_pairs(root: &Arc<Root>, cgroups: &Cgroups, loops: u32) -> Result {
    for _ in 0..loops {
        drop(root.alloc_for(cgroups, GFP_KERNEL)?);
    }
    Ok(())
}

#[inline(never)]
fn bulk<const N: usize>(child: &HeldChild, loops: u32) -> Result {
    let mut space = [MaybeUninit::uninit(); N];
    for _ in 0..loops {
        drop(child.alloc_bulk(&mut space, GFP_KERNEL)?);
    }
    Ok(())
}

/// Measures a pair of allocate and free of `size` bytes for each kind of cache and each way to find it.
pub(crate) fn cost(fixture: &Fixture, size: u32, results: &mut Results) -> Result {
    let plain = fixture.create_plain(size, false)?;
    let accounted = fixture.create_plain(size, true)?;
    let mut add = |name: &str, cost: u64| results.add(fmt!("{name}.{size}"), cost);
    add(
        "plain",
        min_time_per_loop(LOOPS, |loops| plain.pairs(loops))?,
    )?;
    add(
        "account",
        min_time_per_loop(LOOPS, |loops| accounted.pairs(loops))?,
    )?;
    add(
        "plain_bulk16",
        min_time_per_loop(LOOPS / 16, |loops| plain.bulk(16, loops))?,
    )?;
    add(
        "plain_bulk64",
        min_time_per_loop(LOOPS / 64, |loops| plain.bulk(64, loops))?,
    )?;

    let root = fixture.create_root(size)?;
    let groups = fixture.create_groups(1)?;
    let group = groups.first().ok_or(EINVAL)?;
    fixture.create_children(&root, &groups)?;
    let child = root.child(group).ok_or(EINVAL)?;
    add(
        "handle",
        min_time_per_loop(LOOPS, |loops| handle_pairs(&child, loops))?,
    )?;
    add(
        "lookup",
        min_time_per_loop(LOOPS, |loops| lookup_pairs(&root, group, loops))?,
    )?;
    add(
        "bulk16",
        min_time_per_loop(LOOPS / 16, |loops| bulk::<16>(&child, loops))?,
    )?;
    add(
        "bulk64",
        min_time_per_loop(LOOPS / 64, |loops| bulk::<64>(&child, loops))?,
    )?;
    drop(child);
    let cgroups = &fixture.cgroups;
    cgroups.attach()?;
    // Wait until a worker has created the child of the task's cgroup.
    wait_until(|| {
        root.alloc_for(&**cgroups, GFP_KERNEL)
            .is_ok_and(|object| object.child() != 0)
    })?;
    add(
        "current",
        min_time_per_loop(LOOPS, |loops| current_pairs(&root, cgroups, loops))?,
    )?;
    cgroups.detach()?;
    fixture.teardown(&root, &groups)?;

    let root = ffi::TwinRoot::new(size)?;
    let group = ffi::TwinGroup::new(0)?;
    let child = root.child(&group)?;
    add(
        "handle_c",
        min_time_per_loop(LOOPS, |loops| child.pairs(loops))?,
    )?;
    add(
        "lookup_c",
        min_time_per_loop(LOOPS, |loops| root.lookups(&group, loops))?,
    )?;
    add(
        "current_c",
        min_time_per_loop(LOOPS, |loops| root.currents(loops))?,
    )?;
    add(
        "bulk16_c",
        min_time_per_loop(LOOPS / 16, |loops| child.bulk(16, loops))?,
    )?;
    add(
        "bulk64_c",
        min_time_per_loop(LOOPS / 64, |loops| child.bulk(64, loops))?,
    )?;
    drop(group);
    drop(root);
    Ok(())
}

/// Calls `f` with `value` in a hard interrupt, on PREEMPT_RT in a softirq, and returns what it returns.
pub(crate) fn in_hardirq<T>(
    value: T,
    f: impl FnOnce(T) -> u64 + Send + Unpin + 'static,
) -> Result<u64>
where
    T: Send + Unpin + 'static,
{
    let took = Arc::new(Atomic::<u64>::new(0), GFP_KERNEL)?;
    let result = took.clone();
    // On PREEMPT_RT kmem_cache_free() is not legal in a hard interrupt.
    let context = if cfg!(CONFIG_PREEMPT_RT) {
        Context::SoftIrq
    } else {
        Context::HardIrq
    };
    exec::run(context, value, move |value| result.store(f(value), Relaxed))
        .map_err(|(error, _)| error)?;
    Ok(took.load(Relaxed))
}

/// As [`time`], for a function that cannot fail.
pub(crate) fn time_of(f: impl FnOnce()) -> u64 {
    time(|| {
        f();
        Ok(())
    })
    .unwrap_or(0)
}

/// Number of measurements of the last free of a child. The minimum is the result.
const LAST: usize = 12;

/// Measures a lookup among `count` groups; and a free, and the last free of a child, with as many groups.
pub(crate) fn groups(fixture: &Fixture, count: u32, results: &mut Results) -> Result {
    let root = fixture.create_root(96)?;
    let groups = fixture.create_groups(count)?;
    fixture.create_children(&root, &groups)?;
    // Each pair is for the next group.
    let mut next = groups.iter().cycle();
    let cost = min_time_per_loop(LOOPS, |loops| {
        for _ in 0..loops {
            let group = next.next().ok_or(EINVAL)?;
            drop(root.alloc(Some(group), GFP_KERNEL)?);
        }
        Ok(())
    })?;
    results.add(fmt!("groups.{count}"), cost)?;

    // What reading the clock takes is subtracted below.
    let mut clock = u64::MAX;
    let mut ordinary = u64::MAX;
    let mut last = u64::MAX;
    let mut last_c = u64::MAX;
    let mut ordinary_c = u64::MAX;
    for _ in 0..LAST {
        clock = clock.min(in_hardirq((), |()| time_of(|| ()))?);
    }
    let lonely = fixture.create_groups(LAST as u32)?;
    fixture.create_children(&root, &lonely)?;
    for group in &lonely {
        let object = root.alloc(Some(group), GFP_KERNEL)?;
        let other = root.alloc(Some(group), GFP_KERNEL)?;
        ordinary = ordinary.min(in_hardirq(other, |other| time_of(|| drop(other)))?);
        fixture.kmemcg.offline_group(group)?;
        let before = root.caches();
        wait_until(|| object.is_exact())?;
        last = last.min(in_hardirq(object, |object| time_of(|| drop(object)))?);
        wait_until(|| root.caches() < before)?;
    }
    drop(lonely);
    fixture.teardown(&root, &groups)?;
    let twin = ffi::TwinRoot::new(96)?;
    for index in 0..LAST as u32 {
        let group = ffi::TwinGroup::new(index)?;
        let child = twin.child(&group)?;
        let object = child.alloc()?;
        let other = child.alloc()?;
        ordinary_c = ordinary_c.min(in_hardirq(other, ffi::TwinObject::free)?);
        drop(group);
        wait_until(|| object.is_killed())?;
        last_c = last_c.min(in_hardirq(object, ffi::TwinObject::free)?);
        wait_until(|| twin.left() == 0)?;
    }
    drop(twin);
    for (name, value) in [
        ("free", ordinary),
        ("free_c", ordinary_c),
        ("last_free", last),
        ("last_free_c", last_c),
    ] {
        results.add(fmt!("{name}.{count}"), value.saturating_sub(clock) * 1000)?;
    }
    Ok(())
}
