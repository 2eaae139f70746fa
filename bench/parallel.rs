// SPDX-License-Identifier: GPL-2.0

//! Allocate and free on both CPUs.

use crate::{ffi, world::World, Results};
use kernel::prelude::*;

/// The ways take turns; of each the least time counts.
const ROUNDS: u32 = 150;

/// `loops` pairs on one CPU, and on each of both.
pub(crate) fn parallel(world: &World, loops: u32, results: &mut Results) -> Result {
    let plain = world.plain(96, false)?;
    let root = world.root(96)?;
    let groups = world.groups(1)?;
    let group = groups.first().ok_or(EINVAL)?;
    world.children(&root, &groups)?;
    let child = root.child(group).ok_or(EINVAL)?;
    let twin = ffi::Root::new(96)?;
    let twin_group = ffi::Group::new(0)?;
    let twin_child = twin.child(&twin_group)?;

    let plain_pairs = |loops| plain.pairs(loops);
    let handle_pairs = |loops| {
        for _ in 0..loops {
            drop(child.alloc(GFP_KERNEL)?);
        }
        Ok(())
    };
    let twin_pairs = |loops| twin_child.pairs(loops);
    let mut least = [[u64::MAX; 2]; 3];
    for _ in 0..ROUNDS {
        for cpus in [1, 2] {
            let times = [
                ffi::parallel(&plain_pairs, loops, cpus)?,
                ffi::parallel(&handle_pairs, loops, cpus)?,
                ffi::parallel(&twin_pairs, loops, cpus)?,
            ];
            for (least, time) in least.iter_mut().zip(times) {
                least[cpus as usize - 1] = least[cpus as usize - 1].min(time);
            }
        }
    }
    for (name, [one, two]) in ["plain", "handle", "handle_c"].into_iter().zip(least) {
        results.add(fmt!("{name}.cpus1"), one * 1000 / u64::from(loops))?;
        results.add(fmt!("{name}.cpus2"), two * 1000 / u64::from(loops))?;
    }
    drop(child);
    drop(twin_group);
    drop(twin);
    world.end(&root, &groups)
}
