// SPDX-License-Identifier: GPL-2.0

//! What it costs to get rid of caches.

use crate::{
    ffi,
    world::{time, wait, World},
    Results,
};
use kernel::prelude::*;

/// How often it is measured; the least counts. Of many children the rest of the machine is a smaller part.
const fn rounds(count: u32) -> u32 {
    if count < 100 {
        30
    } else {
        5
    }
}

/// A group with `count` children, one in each root, goes offline.
pub(crate) fn offline(world: &World, count: u32, results: &mut Results) -> Result {
    let mut least = u64::MAX;
    let mut least_c = u64::MAX;
    for _ in 0..rounds(count) {
        let groups = world.groups(1)?;
        let group = groups.first().ok_or(EINVAL)?;
        let mut roots = KVec::new();
        for _ in 0..count {
            roots.push(world.root(96)?, GFP_KERNEL)?;
        }
        for root in roots.iter() {
            world.children(root, &groups)?;
        }
        least = least.min(time(|| world.kmemcg.offline_group(group))?);
        for root in roots.iter() {
            wait(|| root.caches() == 1)?;
            world.kmemcg.destroy_root(root)?;
        }

        let group = ffi::Group::new(0)?;
        let mut roots = KVec::new();
        for _ in 0..count {
            let root = ffi::Root::new(96)?;
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

/// `count` caches are destroyed one after the other.
pub(crate) fn destroy(world: &World, count: u32, results: &mut Results) -> Result {
    let mut serial = u64::MAX;
    for _ in 0..rounds(count) {
        let caches = caches(world, count)?;
        serial = serial.min(time(|| {
            drop(caches);
            Ok(())
        })?);
    }
    results.add(fmt!("destroy.{count}"), serial * 1000)
}

fn caches(world: &World, count: u32) -> Result<KVVec<ffi::Plain>> {
    let mut caches = KVVec::with_capacity(count as usize, GFP_KERNEL)?;
    for _ in 0..count {
        let cache = world.plain(96, false)?;
        cache.touch()?;
        caches.push(cache, GFP_KERNEL)?;
    }
    Ok(caches)
}

/// `count` groups, with a child each, go offline, and the caches go; and as many caches are destroyed
/// one after the other.
pub(crate) fn release(world: &World, count: u32, results: &mut Results) -> Result {
    let root = world.root(96)?;
    let groups = world.groups(count)?;
    world.children(&root, &groups)?;
    let released = time(|| {
        for group in &groups {
            world.kmemcg.offline_group(group)?;
        }
        wait(|| root.caches() == 1)
    })?;
    drop(groups);
    world.kmemcg.destroy_root(&root)?;
    results.add(fmt!("release.{count}"), released * 1000)?;

    let root = world.root(96)?;
    let groups = world.groups(count)?;
    world.children(&root, &groups)?;
    let destroyed = time(|| world.kmemcg.destroy_root(&root))?;
    for group in &groups {
        world.kmemcg.offline_group(group)?;
    }
    drop(groups);
    results.add(fmt!("destroy_root.{count}"), destroyed * 1000)?;

    let root = ffi::Root::new(96)?;
    let mut groups = KVVec::with_capacity(count as usize, GFP_KERNEL)?;
    for index in 0..count {
        let group = ffi::Group::new(index)?;
        root.child(&group)?.pairs(1)?;
        groups.push(group, GFP_KERNEL)?;
    }
    let released = time(|| {
        drop(groups);
        wait(|| root.left() == 0)
    })?;
    drop(root);
    results.add(fmt!("release_c.{count}"), released * 1000)?;

    let caches = caches(world, count)?;
    let serial = time(|| {
        drop(caches);
        Ok(())
    })?;
    results.add(fmt!("serial.{count}"), serial * 1000)
}
