// SPDX-License-Identifier: GPL-2.0

//! The fixture of the benchmark: creates roots, groups and children, and measures time.

use crate::{
    abstractions::{
        slab::Options,
        unload, //
    },
    cgroup::Cgroups,
    ffi::PlainCache,
    protocol::{
        Group,
        Kmemcg,
        Root, //
    }, //
};
use core::alloc::Layout;
use kernel::{
    prelude::*,
    str::CString,
    sync::{
        atomic::{Atomic, Relaxed},
        Arc,
    },
    time::{delay::fsleep, Delta, Instant, Monotonic},
};

/// Number of measurements of a cost. The minimum is the result.
const ROUNDS: u32 = 40;

/// The roots, groups and cgroups of the benchmark, and the names that it gives them.
#[pin_data]
pub(crate) struct Fixture {
    pub(crate) cgroups: Arc<Cgroups>,
    pub(crate) kmemcg: Arc<Kmemcg>,
    next: Atomic<u64>,
}

impl Fixture {
    pub(crate) fn new(module: &unload::Handle) -> impl PinInit<Self, Error> + '_ {
        let kmemcg = Arc::pin_init(Kmemcg::new(module), GFP_KERNEL);
        try_pin_init!(Self {
            kmemcg: kmemcg?,
            cgroups: Arc::pin_init(Cgroups::new(kmemcg, module), GFP_KERNEL)?,
            next: Atomic::new(1),
        })
    }

    /// Returns a number that it has not returned before.
    pub(crate) fn unique_number(&self) -> u64 {
        self.next.fetch_add(1, Relaxed)
    }

    fn name(&self) -> Result<CString> {
        CString::try_from_fmt(fmt!("b{}", self.unique_number()))
    }

    /// Creates a root for objects of `size` bytes.
    pub(crate) fn create_root(&self, size: u32) -> Result<Arc<Root>> {
        let layout = Layout::from_size_align(size as usize, 8).map_err(|_| EINVAL)?;
        let name = self.name()?;
        self.kmemcg
            .create_root(name.to_str().map_err(|_| EINVAL)?, layout, Options::new())
    }

    pub(crate) fn create_group(&self) -> Result<Arc<Group>> {
        self.create_group_below(None)
    }

    pub(crate) fn create_group_below(&self, parent: Option<&Group>) -> Result<Arc<Group>> {
        let name = self.name()?;
        self.kmemcg
            .create_group(name.to_str().map_err(|_| EINVAL)?, parent)
    }

    pub(crate) fn create_groups(&self, count: u32) -> Result<KVVec<Arc<Group>>> {
        let mut groups = KVVec::with_capacity(count as usize, GFP_KERNEL)?;
        for _ in 0..count {
            groups.push(self.create_group()?, GFP_KERNEL)?;
        }
        Ok(groups)
    }

    /// Has a worker create the child of each group, and waits for it.
    pub(crate) fn create_children(&self, root: &Arc<Root>, groups: &[Arc<Group>]) -> Result {
        let before = root.stats().creations.get();
        for group in groups {
            drop(root.alloc(Some(group), GFP_KERNEL)?);
        }
        wait_until(|| root.stats().creations.get() - before >= groups.len() as u64)?;
        for group in groups {
            let object = root.alloc(Some(group), GFP_KERNEL)?;
            if object.child() == 0 {
                return Err(EAGAIN);
            }
        }
        Ok(())
    }

    /// Takes the groups offline, waits until their children are destroyed, and destroys the root.
    pub(crate) fn teardown(&self, root: &Arc<Root>, groups: &[Arc<Group>]) -> Result {
        for group in groups {
            self.kmemcg.offline_group(group)?;
        }
        wait_until(|| root.caches() == 1)?;
        self.kmemcg.destroy_root(root)
    }

    pub(crate) fn create_plain(&self, size: u32, account: bool) -> Result<PlainCache> {
        PlainCache::new(self.unique_number() as u32, size, account)
    }
}

/// Sleeps until `done` returns true; `ETIMEDOUT` after ten minutes.
pub(crate) fn wait_until(mut done: impl FnMut() -> bool) -> Result {
    for _ in 0..600_000 {
        if done() {
            return Ok(());
        }
        fsleep(Delta::from_millis(1));
    }
    Err(ETIMEDOUT)
}

/// Returns the time that `f` takes, in nanoseconds.
pub(crate) fn time(f: impl FnOnce() -> Result) -> Result<u64> {
    let begin = Instant::<Monotonic>::now();
    f()?;
    Ok(begin.elapsed().as_nanos() as u64)
}

/// Returns the minimum time that one of `loops` in `f` takes, in thousandths of a nanosecond.
pub(crate) fn min_time_per_loop(loops: u32, mut f: impl FnMut(u32) -> Result) -> Result<u64> {
    // Fill the sheaves and slabs, and let work that the creation of the caches has queued finish.
    f(loops)?;
    fsleep(Delta::from_millis(200));
    let mut least = u64::MAX;
    for _ in 0..ROUNDS {
        least = least.min(time(|| f(loops))?);
    }
    Ok(least * 1000 / u64::from(loops))
}

/// What the measurement `keep` keeps, so that its memory can be measured.
pub(crate) struct Kept {
    _caches: KVVec<PlainCache>,
    groups: Option<RootWithGroups>,
}

struct RootWithGroups {
    root: Arc<Root>,
    groups: KVVec<Arc<Group>>,
}

impl Kept {
    pub(crate) fn new(fixture: &Fixture, kind: &str, number: u32) -> Result<Self> {
        let mut caches = KVVec::new();
        let mut kept_groups = None;
        match kind {
            "nothing" => (),
            "groups" | "children" => {
                let root = fixture.create_root(96)?;
                let groups = fixture.create_groups(number)?;
                if kind == "children" {
                    fixture.create_children(&root, &groups)?;
                }
                kept_groups = Some(RootWithGroups { root, groups });
            }
            "caches" => {
                caches.reserve(number as usize, GFP_KERNEL)?;
                for _ in 0..number {
                    let cache = fixture.create_plain(96, false)?;
                    cache.touch()?;
                    caches.push(cache, GFP_KERNEL)?;
                }
            }
            _ => return Err(EINVAL),
        }
        Ok(Self {
            _caches: caches,
            groups: kept_groups,
        })
    }

    /// Destroys it, and waits until it is destroyed.
    pub(crate) fn teardown(self, fixture: &Fixture) -> Result {
        match &self.groups {
            Some(kept) => fixture.teardown(&kept.root, &kept.groups),
            None => Ok(()),
        }
    }
}
