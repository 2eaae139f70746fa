// SPDX-License-Identifier: GPL-2.0

//! Measures allocate and free on one CPU and on two at once.

use crate::{ffi, fixture::Fixture, Results};
use kernel::prelude::*;

/// Number of measurements of each kind of cache, in turns. The minimum is the result.
const ROUNDS: u32 = 150;

/// Measures `loops` pairs on one CPU, and on each of two.
pub(crate) fn parallel(fixture: &Fixture, loops: u32, results: &mut Results) -> Result {
    let plain = fixture.create_plain(96, false)?;
    let root = fixture.create_root(96)?;
    let groups = fixture.create_groups(1)?;
    let group = groups.first().ok_or(EINVAL)?;
    fixture.create_children(&root, &groups)?;
    let child = root.child(group).ok_or(EINVAL)?;
    let twin = ffi::TwinRoot::new(96)?;
    let twin_group = ffi::TwinGroup::new(0)?;
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
    fixture.teardown(&root, &groups)
}
