// SPDX-License-Identifier: GPL-2.0

//! Measures offline, release and destruction of caches.

use crate::{
    ffi,
    fixture::{min_time_per_loop, time, wait_until, Fixture},
    protocol::{Group, Root},
    Results,
};
use kernel::{prelude::*, str::CString, sync::Arc};

/// Number of measurements, of which the minimum is the result. With many children the noise of the machine
/// is a smaller part of it.
const fn rounds(count: u32) -> u32 {
    if count < 100 {
        30
    } else {
        5
    }
}

/// Measures the offline of a group with `count` children, one in each root; the same for the twin.
pub(crate) fn offline(fixture: &Fixture, count: u32, results: &mut Results) -> Result {
    let mut least = u64::MAX;
    let mut least_c = u64::MAX;
    for _ in 0..rounds(count) {
        let groups = fixture.create_groups(1)?;
        let group = groups.first().ok_or(EINVAL)?;
        let mut roots = KVec::new();
        for _ in 0..count {
            roots.push(fixture.create_root(96)?, GFP_KERNEL)?;
        }
        for root in roots.iter() {
            fixture.create_children(root, &groups)?;
        }
        least = least.min(time(|| fixture.kmemcg.offline_group(group))?);
        for root in roots.iter() {
            wait_until(|| root.caches() == 1)?;
            fixture.kmemcg.destroy_root(root)?;
        }

        let group = ffi::TwinGroup::new(0)?;
        let mut roots = KVec::new();
        for _ in 0..count {
            let root = ffi::TwinRoot::new(96)?;
            root.child(&group)?.pairs(1)?;
            roots.push(root, GFP_KERNEL)?;
        }
        least_c = least_c.min(time(|| {
            drop(group);
            Ok(())
        })?);
        drop(roots);
    }
    results.add(fmt!("offline.{count}"), least * 1000)?;
    results.add(fmt!("offline_c.{count}"), least_c * 1000)
}

/// How many groups of [`inherited`] go offline, one after the other. The minimum is the result.
const LEVELS: usize = 6;

/// How many children each of them has of its own.
const OWN: usize = 10;

/// Measures the offline of a group with [`OWN`] children, one in each root, that has inherited `count` more.
///
/// The groups are below each other: each inherits what the one below had inherited.
pub(crate) fn inherited(fixture: &Fixture, count: u32, results: &mut Results) -> Result {
    let mut levels = KVec::new();
    for _ in 0..LEVELS {
        let parent = levels.last().map(|group: &Arc<Group>| &**group);
        levels.push(fixture.create_group_below(parent)?, GFP_KERNEL)?;
    }
    let mut roots = KVec::<Arc<Root>>::new();
    for _ in 0..OWN {
        let root = fixture.create_root(96)?;
        fixture.create_children(&root, &levels)?;
        roots.push(root, GFP_KERNEL)?;
    }

    let root = fixture.create_root(96)?;
    let mut objects = KVVec::with_capacity(count as usize, GFP_KERNEL)?;
    let mut groups = KVVec::with_capacity(count as usize, GFP_KERNEL)?;
    for _ in 0..count {
        let parent = levels.last().map(|group| &**group);
        groups.push(fixture.create_group_below(parent)?, GFP_KERNEL)?;
    }
    fixture.create_children(&root, &groups)?;
    for group in &groups {
        objects.push(root.alloc(Some(group), GFP_KERNEL)?, GFP_KERNEL)?;
        fixture.kmemcg.offline_group(group)?;
    }
    drop(groups);
    wait_until(|| objects.iter().all(|object| object.is_exact()))?;

    let mut least = u64::MAX;
    while let Some(group) = levels.pop() {
        least = least.min(time(|| fixture.kmemcg.offline_group(&group))?);
        wait_until(|| roots.iter().all(|root| root.caches() == 1 + levels.len()))?;
    }
    drop(objects);
    wait_until(|| root.caches() == 1)?;
    roots.push(root, GFP_KERNEL)?;
    for root in roots.iter() {
        fixture.kmemcg.destroy_root(root)?;
    }
    results.add(fmt!("inherited.{count}"), least * 1000)
}

/// Measures what is done with groups by their names, and the offline of a group that has a subgroup, with
/// `count` groups.
pub(crate) fn names(fixture: &Fixture, count: u32, results: &mut Results) -> Result {
    /// Groups in a measurement.
    const LOOPS: u32 = 40;
    let groups = fixture.create_groups(count)?;
    let kmemcg = &fixture.kmemcg;
    let mut names = KVec::new();
    for i in 0..LOOPS {
        names.push(CString::try_from_fmt(fmt!("name{i}"))?, GFP_KERNEL)?;
    }
    let mut next = groups.iter().cycle();
    let find = min_time_per_loop(LOOPS, |loops| {
        for _ in 0..loops {
            let name = next.next().ok_or(EINVAL)?.name();
            kmemcg.group(name.to_str().map_err(|_| EINVAL)?)?;
        }
        Ok(())
    })?;
    let create = min_time_per_loop(LOOPS, |_| {
        for new in names.iter() {
            kmemcg.create_group(new.to_str().map_err(|_| EINVAL)?, None)?;
        }
        for old in names.iter() {
            let group = kmemcg.group(old.to_str().map_err(|_| EINVAL)?)?;
            kmemcg.offline_group(&group)?;
        }
        Ok(())
    })?;
    let middle = min_time_per_loop(LOOPS, |loops| {
        for _ in 0..loops {
            let upper = kmemcg.create_group("upper", None)?;
            let lower = kmemcg.create_group("lower", Some(&upper))?;
            kmemcg.offline_group(&upper)?;
            kmemcg.offline_group(&lower)?;
        }
        Ok(())
    })?;
    for group in &groups {
        kmemcg.offline_group(group)?;
    }
    results.add(fmt!("find.{count}"), find)?;
    results.add(fmt!("create.{count}"), create)?;
    results.add(fmt!("middle.{count}"), middle)
}

/// Measures the destruction of `count` plain caches one after the other.
pub(crate) fn destroy(fixture: &Fixture, count: u32, results: &mut Results) -> Result {
    let mut serial = u64::MAX;
    for _ in 0..rounds(count) {
        let caches = caches(fixture, count)?;
        serial = serial.min(time(|| {
            drop(caches);
            Ok(())
        })?);
    }
    results.add(fmt!("destroy.{count}"), serial * 1000)
}

/// Creates `count` plain caches, each of which has had an object.
fn caches(fixture: &Fixture, count: u32) -> Result<KVVec<ffi::PlainCache>> {
    let mut caches = KVVec::with_capacity(count as usize, GFP_KERNEL)?;
    for _ in 0..count {
        let cache = fixture.create_plain(96, false)?;
        cache.touch()?;
        caches.push(cache, GFP_KERNEL)?;
    }
    Ok(caches)
}

/// Measures the release of `count` children, from the offline of their groups until the caches are
/// destroyed; the destruction of a root with as many; the release for the twin; and the destruction of as
/// many plain caches one after the other.
pub(crate) fn release(fixture: &Fixture, count: u32, results: &mut Results) -> Result {
    let root = fixture.create_root(96)?;
    let groups = fixture.create_groups(count)?;
    fixture.create_children(&root, &groups)?;
    let released = time(|| {
        for group in &groups {
            fixture.kmemcg.offline_group(group)?;
        }
        wait_until(|| root.caches() == 1)
    })?;
    drop(groups);
    fixture.kmemcg.destroy_root(&root)?;
    results.add(fmt!("release.{count}"), released * 1000)?;

    let root = fixture.create_root(96)?;
    let groups = fixture.create_groups(count)?;
    fixture.create_children(&root, &groups)?;
    let destroyed = time(|| fixture.kmemcg.destroy_root(&root))?;
    for group in &groups {
        fixture.kmemcg.offline_group(group)?;
    }
    drop(groups);
    results.add(fmt!("destroy_root.{count}"), destroyed * 1000)?;

    let root = ffi::TwinRoot::new(96)?;
    let mut groups = KVVec::with_capacity(count as usize, GFP_KERNEL)?;
    for index in 0..count {
        let group = ffi::TwinGroup::new(index)?;
        root.child(&group)?.pairs(1)?;
        groups.push(group, GFP_KERNEL)?;
    }
    let released = time(|| {
        drop(groups);
        wait_until(|| root.left() == 0)
    })?;
    drop(root);
    results.add(fmt!("release_c.{count}"), released * 1000)?;

    let caches = caches(fixture, count)?;
    let serial = time(|| {
        drop(caches);
        Ok(())
    })?;
    results.add(fmt!("serial.{count}"), serial * 1000)
}
