// SPDX-License-Identifier: GPL-2.0

//! Measures offline, release and destruction of caches.

use crate::{
    ffi,
    fixture::{time, wait_until, Fixture},
    Results,
};
use kernel::prelude::*;

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
