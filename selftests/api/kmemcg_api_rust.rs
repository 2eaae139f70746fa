// SPDX-License-Identifier: GPL-2.0

//! Tests of `include/rust_kmemcg.rs`, run by selftests/api.sh. They run while the module is loaded. If one fails, the
//! module does not load, and a line in the kernel's log names the expectation.
//!
//! While the module is loaded it has a root "rust" whose objects are accounted.

#[path = "../../include/rust_kmemcg.rs"]
mod kmemcg;

use kernel::{
    prelude::*,
    sync::{
        atomic::{Atomic, Relaxed},
        Arc,
    },
    time::{delay::fsleep, Delta},
};
use kmemcg::{Group, Object, Root};

module! {
    type: Tests,
    name: "kmemcg_api_rust",
    authors: ["The rust_kmemcg developers"],
    description: "Tests of rust_kmemcg's surface for Rust",
    license: "GPL",
}

/// Makes the test fail unless the condition holds.
macro_rules! expect {
    ($($condition:tt)*) => {
        if !($($condition)*) {
            pr_err!("line {}: not {}\n", line!(), stringify!($($condition)*));
            return Err(EINVAL);
        }
    };
}

/// The same, for a condition that a worker makes true.
macro_rules! expect_soon {
    ($($condition:tt)*) => {
        let mut patience = 2000;
        while !($($condition)*) && patience > 0 {
            fsleep(Delta::from_millis(20));
            patience -= 1;
        }
        expect!($($condition)*);
    };
}

/// Counts how many values were dropped.
struct Value(u64, Arc<Atomic<u32>>);

impl Drop for Value {
    fn drop(&mut self) {
        self.1.fetch_add(1, Relaxed);
    }
}

fn ends() -> Result<Arc<Atomic<u32>>> {
    Ok(Arc::new(Atomic::new(0), GFP_KERNEL)?)
}

fn groups() -> Result {
    let parent = Group::new(c"rust_parent", None)?;
    let child = Group::new(c"rust_child", Some(&parent))?;
    expect!(Group::new(c"rust_child", None).err() == Some(EEXIST));
    expect!(Group::new(c"no name", None).err() == Some(EINVAL));
    expect!(Group::get(c"nobody").err() == Some(ENOENT));
    Group::get(c"rust_child")?.offline()?;
    expect!(child.offline() == Err(ENOENT));
    expect!(Group::get(c"rust_child").err() == Some(ENOENT));
    parent.offline()?;
    expect!(Group::new(c"rust_orphan", Some(&parent)).err() == Some(ENOENT));
    Ok(())
}

fn destroy() -> Result {
    expect!(Root::<()>::new(c"rust_destroy").err() == Some(EINVAL));
    let ends = ends()?;
    let root = Root::<Value>::new(c"rust_destroy")?;
    expect!(Root::<u8>::new(c"rust_destroy").err() == Some(EEXIST));
    let mut object = root.alloc(None, Value(1, ends.clone()), GFP_KERNEL)?;
    let Err((root, error)) = root.destroy() else {
        pr_err!("destroyed with an object\n");
        return Err(EINVAL);
    };
    expect!(error == EBUSY);
    // The root and the object still work.
    object.0 += root.alloc_current(Value(41, ends.clone()), GFP_KERNEL)?.0;
    expect!(object.0 == 42 && ends.load(Relaxed) == 1);
    drop(object);
    expect!(ends.load(Relaxed) == 2);
    root.destroy().map_err(|(_, error)| error)?;
    // Its name is free.
    Root::<u8>::new(c"rust_destroy")?
        .destroy()
        .map_err(|(_, error)| error)
}

/// An object outlives its group and its root.
fn outlives() -> Result {
    let ends = ends()?;
    let group = Group::new(c"rust_outlived", None)?;
    let root = Root::<Value>::new(c"rust_outlived")?;
    let mut object: Object<Value>;
    object = root.alloc(Some(&group), Value(0, ends.clone()), GFP_KERNEL)?;
    expect_soon!(root.stats().creations == 1);
    for number in 1..=100 {
        object = root.alloc(Some(&group), Value(number, ends.clone()), GFP_KERNEL)?;
    }
    // The last objects came from the group's cache, not from the root's own.
    expect!(root.stats().allocations_root < 100);
    expect!(root.stats().objects == 1);
    group.offline()?;
    drop(group);
    drop(root);
    expect!(object.0 == 100 && ends.load(Relaxed) == 100);
    drop(object);
    expect!(ends.load(Relaxed) == 101);
    Ok(())
}

struct Tests {
    _root: Root<u64>,
}

impl kernel::Module for Tests {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        groups()?;
        destroy()?;
        outlives()?;
        Ok(Self {
            _root: Root::new_account(c"rust")?,
        })
    }
}
