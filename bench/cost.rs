// SPDX-License-Identifier: GPL-2.0

//! What an allocation costs, and a free.

use crate::{
    abstractions::{context::Context, exec},
    cgroup::Cgroups,
    ffi,
    protocol::{Group, HeldChild, Root},
    world::{least, time, wait, World},
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

/// Pairs in a round: fewer instructions than between two ticks of the clock.
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

/// One allocation and free of `size` bytes, in each of the ways.
pub(crate) fn cost(world: &World, size: u32, results: &mut Results) -> Result {
    let plain = world.plain(size, false)?;
    let accounted = world.plain(size, true)?;
    let mut add = |name: &str, cost: u64| results.add(fmt!("{name}.{size}"), cost);
    add("plain", least(LOOPS, |loops| plain.pairs(loops))?)?;
    add("account", least(LOOPS, |loops| accounted.pairs(loops))?)?;
    add(
        "plain_bulk16",
        least(LOOPS / 16, |loops| plain.bulk(16, loops))?,
    )?;
    add(
        "plain_bulk64",
        least(LOOPS / 64, |loops| plain.bulk(64, loops))?,
    )?;

    let root = world.root(size)?;
    let groups = world.groups(1)?;
    let group = groups.first().ok_or(EINVAL)?;
    world.children(&root, &groups)?;
    let child = root.child(group).ok_or(EINVAL)?;
    add("handle", least(LOOPS, |loops| handle_pairs(&child, loops))?)?;
    add(
        "lookup",
        least(LOOPS, |loops| lookup_pairs(&root, group, loops))?,
    )?;
    add(
        "bulk16",
        least(LOOPS / 16, |loops| bulk::<16>(&child, loops))?,
    )?;
    add(
        "bulk64",
        least(LOOPS / 64, |loops| bulk::<64>(&child, loops))?,
    )?;
    drop(child);
    let cgroups = &world.cgroups;
    cgroups.attach()?;
    // A worker makes the child of our cgroup.
    wait(|| {
        root.alloc_for(&**cgroups, GFP_KERNEL)
            .is_ok_and(|object| object.child() != 0)
    })?;
    add(
        "current",
        least(LOOPS, |loops| current_pairs(&root, cgroups, loops))?,
    )?;
    cgroups.detach()?;
    world.end(&root, &groups)?;

    let root = ffi::Root::new(size)?;
    let group = ffi::Group::new(0)?;
    let child = root.child(&group)?;
    add("handle_c", least(LOOPS, |loops| child.pairs(loops))?)?;
    add(
        "lookup_c",
        least(LOOPS, |loops| root.lookups(&group, loops))?,
    )?;
    add("current_c", least(LOOPS, |loops| root.currents(loops))?)?;
    add(
        "bulk16_c",
        least(LOOPS / 16, |loops| child.bulk(16, loops))?,
    )?;
    add(
        "bulk64_c",
        least(LOOPS / 64, |loops| child.bulk(64, loops))?,
    )?;
    drop(group);
    drop(root);
    Ok(())
}

/// The time that `f` takes in a hard interrupt.
pub(crate) fn in_hardirq<T>(
    value: T,
    f: impl FnOnce(T) -> u64 + Send + Unpin + 'static,
) -> Result<u64>
where
    T: Send + Unpin + 'static,
{
    let took = Arc::new(Atomic::<u64>::new(0), GFP_KERNEL)?;
    let told = took.clone();
    // There kmem_cache_free() is not legal in a hard interrupt.
    let context = if cfg!(CONFIG_PREEMPT_RT) {
        Context::SoftIrq
    } else {
        Context::HardIrq
    };
    exec::run(context, value, move |value| told.store(f(value), Relaxed))
        .map_err(|(error, _)| error)?;
    Ok(took.load(Relaxed))
}

/// As [`time`], for what cannot fail.
pub(crate) fn took(f: impl FnOnce()) -> u64 {
    time(|| {
        f();
        Ok(())
    })
    .unwrap_or(0)
}

/// How often the last free of a child is measured.
const LAST: usize = 12;

/// A lookup where there are `count` groups, and the last free of some of them.
pub(crate) fn groups(world: &World, count: u32, results: &mut Results) -> Result {
    let root = world.root(96)?;
    let groups = world.groups(count)?;
    world.children(&root, &groups)?;
    // One after the other: each pair is another group's.
    let mut next = groups.iter().cycle();
    let cost = least(LOOPS, |loops| {
        for _ in 0..loops {
            let group = next.next().ok_or(EINVAL)?;
            drop(root.alloc(Some(group), GFP_KERNEL)?);
        }
        Ok(())
    })?;
    results.add(fmt!("groups.{count}"), cost)?;

    // Less what the clock itself takes.
    let mut clock = u64::MAX;
    let mut ordinary = u64::MAX;
    let mut last = u64::MAX;
    let mut last_c = u64::MAX;
    let mut ordinary_c = u64::MAX;
    for _ in 0..LAST {
        clock = clock.min(in_hardirq((), |()| took(|| ()))?);
    }
    let lonely = world.groups(LAST as u32)?;
    world.children(&root, &lonely)?;
    for group in &lonely {
        let object = root.alloc(Some(group), GFP_KERNEL)?;
        let other = root.alloc(Some(group), GFP_KERNEL)?;
        ordinary = ordinary.min(in_hardirq(other, |other| took(|| drop(other)))?);
        world.kmemcg.offline_group(group)?;
        let before = root.caches();
        wait(|| object.is_exact())?;
        last = last.min(in_hardirq(object, |object| took(|| drop(object)))?);
        wait(|| root.caches() < before)?;
    }
    drop(lonely);
    world.end(&root, &groups)?;
    let twin = ffi::Root::new(96)?;
    for index in 0..LAST as u32 {
        let group = ffi::Group::new(index)?;
        let child = twin.child(&group)?;
        let object = child.alloc()?;
        let other = child.alloc()?;
        ordinary_c = ordinary_c.min(in_hardirq(other, ffi::Object::free)?);
        drop(group);
        wait(|| object.is_killed())?;
        last_c = last_c.min(in_hardirq(object, ffi::Object::free)?);
        wait(|| twin.left() == 0)?;
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
