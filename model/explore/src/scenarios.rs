// SPDX-License-Identifier: GPL-2.0

//! What is explored. Each is small: two or three things at once.

use crate::{
    protocol::{Kmemcg, NewGroup, Phase, Root},
    world::{alloc, free_in_interrupt, World},
};
use kernel::{
    alloc::flags::GFP_KERNEL,
    check,
    error::{code::*, Result},
    sync::Arc,
};

pub struct Scenario {
    pub name: &'static str,
    pub what: &'static str,
    /// One of so many allocations fails.
    pub failing: usize,
    pub run: fn(&World) -> Result,
}

macro_rules! scenarios {
    ($($(#[doc = $what:literal])+ fn $name:ident($world:ident $(, failing: $failing:literal)?) $body:block)*) => {
        pub const ALL: &[Scenario] = &[$(Scenario {
            name: stringify!($name),
            what: concat!($($what),+),
            failing: 0 $(+ $failing)?,
            run: $name,
        }),*];

        $($(#[doc = $what])+ fn $name($world: &World) -> Result $body)*
    };
}

/// The end of every scenario whose objects are freed: the destroy succeeds, or the root is gone already.
fn destroy_idle(world: &World, root: &Arc<Root>) -> Result {
    match world.kmemcg.destroy_root(root) {
        Err(ENOENT) => Ok(()),
        other => other,
    }
}

/// A destroy while an object may live.
fn destroy(kmemcg: &Kmemcg, root: &Arc<Root>) -> bool {
    match kmemcg.destroy_root_uncounted(root) {
        Ok(()) => true,
        Err(error) => {
            assert!(error == EBUSY || error == ENOENT, "{error:?}");
            false
        }
    }
}

/// No child is left, and nothing else was lost: the root has its own cache only.
fn assert_only_own(root: &Root) {
    assert_eq!(root.phase(), Phase::Live);
    assert_eq!(root.caches(), 1, "I6: a cache without objects is left");
}

scenarios! {
    /// The whole life of a child, one step after the other.
    fn life(world, failing: 60) {
        let (root, group) = (world.root()?, world.group("a")?);
        let object = world.object_of_child(&root, &group)?;
        world.kmemcg.offline_group(&group)?;
        assert!(world.kmemcg.group("a").is_err(), "an offline group is found by its name");
        let requests = root.stats().requests.get();
        drop(alloc(&root, &group)?);
        assert_eq!(root.stats().requests.get(), requests, "an offline group asks for a child");
        world.settle();
        assert_eq!(root.caches(), 2);
        assert_eq!(kernel::c::shrunk(), 1, "I12: the deactivation does not shrink the cache");
        free_in_interrupt(object);
        world.settle();
        assert_only_own(&root);
        destroy_idle(world, &root)
    }

    /// A creation, and its group goes offline.
    fn create_offline(world, failing: 60) {
        let (root, group) = (world.root()?, world.group("a")?);
        let (it, its) = (root.clone(), group.clone());
        check::raise(move || drop(alloc(&it, &its)));
        drop(alloc(&root, &group)?);
        let it = group.clone();
        world.spawn(move |kmemcg| assert!(kmemcg.offline_group(&it).is_ok()));
        world.settle();
        assert_only_own(&root);
        destroy_idle(world, &root)
    }

    /// A creation, and its root is destroyed.
    fn create_destroy(world, failing: 60) {
        let (root, group) = (world.root()?, world.group("a")?);
        drop(alloc(&root, &group)?);
        let it = root.clone();
        // It fails where the object below lives meanwhile.
        world.spawn(move |kmemcg| drop(destroy(kmemcg, &it)));
        let it = root.clone();
        world.spawn(move |_| drop(alloc(&it, &group)));
        world.settle();
        destroy_idle(world, &root)
    }

    /// A creation, and its root is closed.
    fn create_close(world, failing: 60) {
        let (root, group) = (world.root()?, world.group("a")?);
        drop(alloc(&root, &group)?);
        let it = root.clone();
        world.spawn(move |kmemcg| assert!(kmemcg.close_root(&it).is_ok()));
        world.settle();
        assert_eq!(root.phase(), Phase::Destroyed, "the closed root does not end");
        Ok(())
    }

    /// A group goes offline, and the last object is freed in an interrupt.
    fn offline_free(world) {
        let (root, group) = (world.root()?, world.group("a")?);
        free_in_interrupt(world.object_of_child(&root, &group)?);
        world.spawn(move |kmemcg| assert!(kmemcg.offline_group(&group).is_ok()));
        world.settle();
        assert_only_own(&root);
        destroy_idle(world, &root)
    }

    /// A group goes offline while its root is destroyed, which fails as an object lives.
    fn offline_destroy_busy(world) {
        let (root, group) = (world.root()?, world.group("a")?);
        let object = world.object_of_child(&root, &group)?;
        let it = root.clone();
        world.spawn(move |kmemcg| assert!(!destroy(kmemcg, &it)));
        world.spawn(move |kmemcg| assert!(kmemcg.offline_group(&group).is_ok()));
        world.settle();
        assert_eq!(root.caches(), 2);
        free_in_interrupt(object);
        world.settle();
        assert_only_own(&root);
        destroy_idle(world, &root)
    }

    /// A group goes offline, its last object is freed in an interrupt, and the root is destroyed, all at once.
    fn offline_free_destroy(world) {
        let (root, group) = (world.root()?, world.group("a")?);
        free_in_interrupt(world.object_of_child(&root, &group)?);
        let it = root.clone();
        world.spawn(move |kmemcg| drop(destroy(kmemcg, &it)));
        world.spawn(move |kmemcg| assert!(kmemcg.offline_group(&group).is_ok()));
        world.settle();
        if root.phase() != Phase::Destroyed {
            assert_only_own(&root);
        }
        destroy_idle(world, &root)
    }

    /// The last object of a child that was killed is freed while the root is destroyed.
    fn release_destroy(world) {
        let (root, group) = (world.root()?, world.group("a")?);
        let object = world.object_of_child(&root, &group)?;
        world.kmemcg.offline_group(&group)?;
        world.settle();
        free_in_interrupt(object);
        let it = root.clone();
        world.spawn(move |kmemcg| drop(destroy(kmemcg, &it)));
        world.settle();
        if root.phase() != Phase::Destroyed {
            assert_only_own(&root);
        }
        destroy_idle(world, &root)
    }

    /// A busy destroy takes no service away for good, and the child serves again.
    fn destroy_alloc(world) {
        let (root, group) = (world.root()?, world.group("a")?);
        let object = world.object_of_child(&root, &group)?;
        let it = root.clone();
        world.spawn(move |kmemcg| assert!(!destroy(kmemcg, &it)));
        let (it, its) = (root.clone(), group.clone());
        world.spawn(move |_| drop(alloc(&it, &its)));
        world.settle();
        let again = alloc(&root, &group)?;
        assert_eq!(again.child(), object.child(), "I6: the child does not serve again");
        drop((object, again));
        world.settle();
        destroy_idle(world, &root)
    }

    /// A close and a destroy at once, without an object: that is no reason to be busy.
    fn close_destroy(world) {
        let (root, group) = (world.root()?, world.group("a")?);
        drop(world.object_of_child(&root, &group)?);
        let it = root.clone();
        world.spawn(move |kmemcg| {
            // The destroy may have come first.
            let _ = kmemcg.close_root(&it);
        });
        let result = world.kmemcg.destroy_root_uncounted(&root);
        assert!(result.is_ok() || result == Err(ENOENT), "I6: {result:?} without an object");
        world.settle();
        assert_eq!(root.phase(), Phase::Destroyed);
        Ok(())
    }

    /// A closed root goes by itself, after its last object, whenever its group goes offline.
    fn close_offline_free(world) {
        let (root, group) = (world.root()?, world.group("a")?);
        free_in_interrupt(world.object_of_child(&root, &group)?);
        let it = root.clone();
        world.spawn(move |kmemcg| assert!(kmemcg.close_root(&it).is_ok()));
        world.spawn(move |kmemcg| assert!(kmemcg.offline_group(&group).is_ok()));
        world.settle();
        assert_eq!(root.phase(), Phase::Destroyed, "the closed root does not end");
        Ok(())
    }

    /// A closed root stays one where a destroy of it fails, and goes after its last object.
    fn close_destroy_busy(world) {
        let (root, group) = (world.root()?, world.group("a")?);
        let object = world.object_of_child(&root, &group)?;
        let it = root.clone();
        world.spawn(move |kmemcg| assert!(!destroy(kmemcg, &it)));
        let it = root.clone();
        world.spawn(move |kmemcg| drop(kmemcg.close_root(&it)));
        world.settle();
        let is_closing = root.phase() == Phase::Closing;
        free_in_interrupt(object);
        world.settle();
        let ends = if is_closing { Phase::Destroyed } else { Phase::Live };
        assert_eq!(root.phase(), ends, "I6: closing, live, or neither");
        assert_eq!(world.kmemcg.root("root").is_err(), is_closing);
        destroy_idle(world, &root)
    }

    /// A destroy that looks at the counts first does no harm while an object lives.
    fn destroy_counted(world) {
        let (root, group) = (world.root()?, world.group("a")?);
        let object = world.object_of_child(&root, &group)?;
        let it = root.clone();
        world.spawn(move |kmemcg| assert_eq!(kmemcg.destroy_root(&it), Err(EBUSY)));
        let again = alloc(&root, &group)?;
        assert_eq!(again.child(), object.child(), "I11: a destroy that fails has taken service away");
        drop(again);
        world.settle();
        drop(object);
        destroy_idle(world, &root)
    }

    /// A destroy that looks at the counts first takes nothing for an object that is none.
    fn destroy_without_objects(world) {
        let (root, group) = (world.root()?, world.group("a")?);
        drop(world.object_of_child(&root, &group)?);
        let second = world.group("b")?;
        drop(alloc(&root, &second)?);
        world.spawn(move |kmemcg| assert!(kmemcg.offline_group(&group).is_ok()));
        assert_eq!(world.kmemcg.destroy_root(&root), Ok(()), "busy without an object");
        Ok(())
    }

    /// Groups that have a cookie go offline together, while one of them gets a child.
    fn cookies(world) {
        let root = world.root()?;
        let add = |cookie| world.kmemcg.add_group(NewGroup::new(b"c", cookie, GFP_KERNEL)?, None);
        let (one, two) = (add(1)?, add(2)?);
        drop(world.object_of_child(&root, &one)?);
        drop(alloc(&root, &two)?);
        world.kmemcg.offline_with_cookie();
        world.settle();
        assert_eq!(world.kmemcg.offline_group(&one), Err(ENOENT));
        assert_only_own(&root);
        destroy_idle(world, &root)
    }

    /// Two destroyers, and an object that is freed meanwhile.
    fn two_destroyers(world) {
        let (root, group) = (world.root()?, world.group("a")?);
        free_in_interrupt(world.object_of_child(&root, &group)?);
        for _ in 0..2 {
            let it = root.clone();
            world.spawn(move |kmemcg| drop(destroy(kmemcg, &it)));
        }
        world.settle();
        destroy_idle(world, &root)
    }

    /// A close, a destroy, and an object that is freed meanwhile.
    fn close_destroy_free(world) {
        let (root, group) = (world.root()?, world.group("a")?);
        free_in_interrupt(world.object_of_child(&root, &group)?);
        let it = root.clone();
        world.spawn(move |kmemcg| drop(destroy(kmemcg, &it)));
        let it = root.clone();
        world.spawn(move |kmemcg| drop(kmemcg.close_root(&it)));
        world.settle();
        destroy_idle(world, &root)
    }

    /// Children are inherited, and a group and its parent go offline at once.
    fn inherit(world) {
        let (root, upper) = (world.root()?, world.group("upper")?);
        let group = world.kmemcg.create_group("lower", Some(&upper))?;
        let object = world.object_of_child(&root, &group)?;
        let (one, two) = (group.clone(), upper.clone());
        world.spawn(move |kmemcg| assert!(kmemcg.offline_group(&one).is_ok()));
        world.spawn(move |kmemcg| assert!(kmemcg.offline_group(&two).is_ok()));
        world.settle();
        free_in_interrupt(object);
        world.settle();
        assert_only_own(&root);
        destroy_idle(world, &root)
    }

    /// Two roots share the queues: one is destroyed while the other one's child is deactivated.
    fn two_roots(world) {
        let (root, group) = (world.root()?, world.group("a")?);
        let layout = root.layout();
        let other = world.kmemcg.create_root("other", layout, root.options())?;
        let object = world.object_of_child(&root, &group)?;
        world.spawn(move |kmemcg| assert!(kmemcg.offline_group(&group).is_ok()));
        world.spawn(move |kmemcg| assert!(destroy(kmemcg, &other)));
        free_in_interrupt(object);
        world.settle();
        assert_only_own(&root);
        destroy_idle(world, &root)
    }

    /// The index of a group is used again, while a creation for the one before is queued.
    fn index_again(world, failing: 60) {
        let (root, first) = (world.root()?, world.group("a")?);
        drop(alloc(&root, &first)?);
        world.kmemcg.offline_group(&first)?;
        drop(first);
        let second = world.group("b")?;
        drop(alloc(&root, &second)?);
        world.settle();
        // Whoever failed before, the next allocation asks again.
        drop(world.object_of_child(&root, &second)?);
        world.kmemcg.offline_group(&second)?;
        drop(second);
        world.settle();
        assert_only_own(&root);
        destroy_idle(world, &root)
    }

    /// The module is unloaded while everything is pending.
    fn unload(world) {
        let (root, group) = (world.root()?, world.group("a")?);
        free_in_interrupt(world.object_of_child(&root, &group)?);
        let second = world.group("b")?;
        drop(alloc(&root, &second)?);
        world.kmemcg.offline_group(&group)?;
        check::handle_all();
        Ok(())
    }
}
