// SPDX-License-Identifier: GPL-2.0

//! What the scenarios are written with.

use crate::{
    abstractions::{slab::Options, unload},
    protocol::{ChildObject, Group, Kmemcg, Phase, Root},
};
use core::alloc::Layout;
use kernel::{
    alloc::{flags::GFP_ATOMIC, InPlaceInit},
    check,
    error::{code::*, Error, Result},
    sync::{self, Arc},
};
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};

/// One kernel with the module in it.
pub struct World {
    pub kmemcg: Arc<Kmemcg>,
    joins: RefCell<Vec<std::boxed::Box<dyn FnOnce()>>>,
}

/// An object that is freed by whoever takes it.
pub type Object = ChildObject;

impl World {
    pub fn root(&self) -> Result<Arc<Root>> {
        let layout = Layout::from_size_align(64, 8).map_err(|_| EINVAL)?;
        self.kmemcg.create_root("root", layout, Options::new())
    }

    pub fn group(&self, name: &str) -> Result<Arc<Group>> {
        self.kmemcg.create_group(name, None)
    }

    /// A thread that runs beside the others.
    pub fn spawn(&self, f: impl FnOnce(&Arc<Kmemcg>) + Send + 'static) {
        let kmemcg = self.kmemcg.clone();
        let join = check::spawn(move || f(&kmemcg));
        self.joins.borrow_mut().push(std::boxed::Box::new(join));
    }

    /// Waits for the threads, for the interrupts, and for the kernel to be idle.
    pub fn settle(&self) {
        for join in self.joins.take() {
            join();
        }
        check::handle_all();
        check::settle();
        self.check_owners();
    }

    /// An object of the child of the group; makes the child.
    pub fn object_of_child(&self, root: &Arc<Root>, group: &Arc<Group>) -> Result<Object> {
        // One creation may fail, for want of memory. The next allocation asks again.
        for _ in 0..2 {
            drop(alloc(root, group)?);
            check::settle();
            let object = alloc(root, group)?;
            if object.child() > 0 {
                return Ok(object);
            }
            check::settle();
        }
        panic!("I6: the group never gets a child");
    }

    /// I4: each child is owned by a group that is online, or by the top, and each group knows how many it owns.
    fn check_owners(&self) {
        const TOP: u64 = 0;
        let mut owners = BTreeMap::new();
        self.kmemcg.for_each_group(|group, _, count| {
            owners.insert(group.number(), count);
        });
        let mut owned = BTreeMap::new();
        self.kmemcg.for_each_root(|root| {
            assert_ne!(
                root.phase(),
                Phase::Destroyed,
                "a root that is gone is listed"
            );
            root.for_each_child(|child| {
                if child.number() > 0 {
                    *owned.entry(child.owner()).or_default() += 1;
                }
            });
        });
        owned.remove(&TOP);
        owners.retain(|_, count| *count > 0);
        assert_eq!(
            owners, owned,
            "I4: what groups own, and what owners children have"
        );
    }
}

pub fn alloc(root: &Arc<Root>, group: &Arc<Group>) -> Result<Object> {
    root.alloc(Some(group), GFP_ATOMIC)
}

/// Frees an object in a hard interrupt, at some moment.
pub fn free_in_interrupt(object: Object) {
    check::raise(move || drop(object));
}

/// I1: from the end of the drain on nothing is begun for a child, nor goes on that was begun before, unless the root is
/// handed back. After the end of the root nothing happens to it.
fn check_drains() {
    const NOT_DRAINED: &[&str] = &[
        "child_request",
        "child_abort",
        "child_create",
        "child_offline",
        "child_rcu",
        "child_release",
    ];
    let mut drained = BTreeSet::new();
    let mut gone = BTreeSet::new();
    for step in check::steps().iter().filter(|step| !step.is_place) {
        let mut words = step.text.split(' ');
        let (Some(event), Some(root)) = (words.next(), words.next()) else {
            continue;
        };
        if !root.starts_with("root=") {
            continue;
        }
        // A close waits for no work: one may give up when the root is gone.
        assert!(
            !gone.contains(root) || event == "child_abort",
            "I1: {event} after the end of the root"
        );
        assert!(
            !(drained.contains(root) && NOT_DRAINED.contains(&event)),
            "I1: {event} after the drain"
        );
        match event {
            "root_drained" => drained.insert(root.to_owned()),
            "root_busy" => drained.remove(root),
            "root_destroy" => gone.insert(root.to_owned()),
            _ => false,
        };
    }
}

/// Runs a scenario once, and checks what must hold at the end of each. `choices` and `failing` are those
/// of [`kernel::begin`].
pub fn run(choices: bool, failing: usize, scenario: fn(&World) -> Result) {
    kernel::begin(choices, failing);
    // PCT wants a second thread in each execution, even if the first allocation of it fails.
    let second = choices.then(|| check::spawn(|| ()));
    let result = unload::scope(|module| {
        let world = World {
            kmemcg: Arc::pin_init(Kmemcg::new(module), kernel::alloc::flags::GFP_KERNEL)?,
            joins: RefCell::default(),
        };
        let result = scenario(&world);
        world.settle();
        // The module is unloaded.
        drop(world);
        result
    });
    if let Some(join) = second {
        join();
    }
    check::settle();
    check_drains();
    let is_accepted = |error: &Error| choices && failing > 0 && *error == ENOMEM;
    assert!(
        result.is_ok() || result.as_ref().is_err_and(is_accepted),
        "the scenario ends with {result:?}"
    );
    assert_eq!(kernel::c::caches(), 0, "I9: caches are left");
    assert_eq!(sync::live(), 0, "I9: reference counts are left");
}
