// SPDX-License-Identifier: GPL-2.0

//! Roots, groups and children to measure with.

use crate::{
    abstractions::{kmem_cache::Options, unload},
    cgroup::Cgroups,
    ffi::Plain,
    protocol::{Group, Kmemcg, Root},
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

/// How often a cost is measured; the least counts.
const ROUNDS: u32 = 40;

#[pin_data]
pub(crate) struct World {
    pub(crate) cgroups: Arc<Cgroups>,
    pub(crate) kmemcg: Arc<Kmemcg>,
    names: Atomic<u64>,
}

impl World {
    pub(crate) fn new(module: &unload::Handle) -> impl PinInit<Self, Error> + '_ {
        let kmemcg = Arc::pin_init(Kmemcg::new(module), GFP_KERNEL);
        try_pin_init!(Self {
            kmemcg: kmemcg?,
            cgroups: Arc::pin_init(Cgroups::new(kmemcg, module), GFP_KERNEL)?,
            names: Atomic::new(1),
        })
    }

    /// A number that was not used before.
    pub(crate) fn number(&self) -> u64 {
        self.names.fetch_add(1, Relaxed)
    }

    fn name(&self) -> Result<CString> {
        CString::try_from_fmt(fmt!("b{}", self.number()))
    }

    /// A root for objects of `size` bytes.
    pub(crate) fn root(&self, size: u32) -> Result<Arc<Root>> {
        let layout = Layout::from_size_align(size as usize, 8).map_err(|_| EINVAL)?;
        let name = self.name()?;
        self.kmemcg
            .create_root(name.to_str().map_err(|_| EINVAL)?, layout, Options::new())
    }

    pub(crate) fn group(&self) -> Result<Arc<Group>> {
        let name = self.name()?;
        self.kmemcg
            .create_group(name.to_str().map_err(|_| EINVAL)?, None)
    }

    pub(crate) fn groups(&self, count: u32) -> Result<KVVec<Arc<Group>>> {
        let mut groups = KVVec::with_capacity(count as usize, GFP_KERNEL)?;
        for _ in 0..count {
            groups.push(self.group()?, GFP_KERNEL)?;
        }
        Ok(groups)
    }

    /// Lets a worker make the child of each group, and waits for them.
    pub(crate) fn children(&self, root: &Arc<Root>, groups: &[Arc<Group>]) -> Result {
        let before = root.stats().creations.get();
        for group in groups {
            drop(root.alloc(Some(group), GFP_KERNEL)?);
        }
        wait(|| root.stats().creations.get() - before >= groups.len() as u64)?;
        for group in groups {
            let object = root.alloc(Some(group), GFP_KERNEL)?;
            if object.child() == 0 {
                return Err(EAGAIN);
            }
        }
        Ok(())
    }

    /// Takes the groups offline, destroys the root, and says that its caches are gone.
    pub(crate) fn end(&self, root: &Arc<Root>, groups: &[Arc<Group>]) -> Result {
        for group in groups {
            self.kmemcg.offline_group(group)?;
        }
        wait(|| root.caches() == 1)?;
        self.kmemcg.destroy_root(root)
    }

    pub(crate) fn plain(&self, size: u32, account: bool) -> Result<Plain> {
        Plain::new(self.number() as u32, size, account)
    }
}

/// Waits until `done`; `ETIMEDOUT` after ten minutes.
pub(crate) fn wait(mut done: impl FnMut() -> bool) -> Result {
    for _ in 0..600_000 {
        if done() {
            return Ok(());
        }
        fsleep(Delta::from_millis(1));
    }
    Err(ETIMEDOUT)
}

/// The time that `f` takes, in nanoseconds.
pub(crate) fn time(f: impl FnOnce() -> Result) -> Result<u64> {
    let begin = Instant::<Monotonic>::now();
    f()?;
    Ok(begin.elapsed().as_nanos() as u64)
}

/// The least time that one of `loops` takes, in thousandths of a nanosecond.
pub(crate) fn least(loops: u32, mut f: impl FnMut(u32) -> Result) -> Result<u64> {
    // Fills what is allocated from; and what the making of all that has left to be done in the background
    // is done then.
    f(loops)?;
    fsleep(Delta::from_millis(200));
    let mut least = u64::MAX;
    for _ in 0..ROUNDS {
        least = least.min(time(|| f(loops))?);
    }
    Ok(least * 1000 / u64::from(loops))
}

/// What is there while somebody measures how much memory it takes.
pub(crate) struct Kept {
    _caches: KVVec<Plain>,
    children: Option<Children>,
}

struct Children {
    root: Arc<Root>,
    groups: KVVec<Arc<Group>>,
}

impl Kept {
    pub(crate) fn new(world: &World, kind: &str, number: u32) -> Result<Self> {
        let mut caches = KVVec::new();
        let mut children = None;
        match kind {
            "nothing" => (),
            "groups" | "children" => {
                let root = world.root(96)?;
                let groups = world.groups(number)?;
                if kind == "children" {
                    world.children(&root, &groups)?;
                }
                children = Some(Children { root, groups });
            }
            "caches" => {
                caches.reserve(number as usize, GFP_KERNEL)?;
                for _ in 0..number {
                    let cache = world.plain(96, false)?;
                    cache.touch()?;
                    caches.push(cache, GFP_KERNEL)?;
                }
            }
            _ => return Err(EINVAL),
        }
        Ok(Self {
            _caches: caches,
            children,
        })
    }

    /// Gives it up, and waits until it is gone.
    pub(crate) fn end(self, world: &World) -> Result {
        match &self.children {
            Some(children) => world.end(&children.root, &children.groups),
            None => Ok(()),
        }
    }
}
