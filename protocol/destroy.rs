// SPDX-License-Identifier: GPL-2.0

//! Destruction of a root: live → dying → drained → gone, or handed back.
//!
//! Each step is a type that only the one before gives out.

use super::{child::Child, gate::Phase, root::Root};
use crate::abstractions::{percpu_ref::PercpuRef, trace};
use kernel::{prelude::*, sync::Arc};

/// Destroys `root`, or leaves it as it was. Context: may sleep.
///
/// # Errors
///
/// `EBUSY`: objects live, or somebody else is destroying it. `ENOENT`: it was destroyed before.
pub(super) fn destroy(root: &Arc<Root>) -> Result {
    let drained = Dying::begin(root)?.drain();
    match drained.destroy() {
        Ok(()) => Ok(()),
        Err(drained) => {
            drained.hand_back();
            Err(EBUSY)
        }
    }
}

/// Begins to destroy `root`, and waits for nothing: nothing new comes, and it goes by itself after its
/// last object. Context: may sleep, as it may be left with the last hold on a child that is gone.
///
/// # Errors
///
/// `EBUSY`: somebody is destroying it. `ENOENT`: it was destroyed before.
pub(super) fn close(root: &Arc<Root>) -> Result {
    let mut gate = root.gate().enter();
    gate.set_closing()?;
    trace::root_close(root.number(), root.name());
    drop(gate);
    root.stats().destroys.count();
    for_each_child(root, |child| condemn_if_closing(child));
    Ok(())
}

/// Kills the reference of a child that is active, in a root that is closing.
pub(super) fn condemn_if_closing(child: &Child) {
    if child.root().gate().enter().condemn(child, Phase::Closing) {
        child.refs().kill();
    }
}

/// Calls `f` for each child, outside of the gate.
fn for_each_child(root: &Root, mut f: impl FnMut(&Arc<Child>)) {
    let next = |after| root.gate().enter().next(after);
    let mut after = None;
    while let Some(child) = next(after) {
        after = Some(child.number());
        f(&child);
    }
}

/// The flag is set: nothing is admitted any more.
struct Dying<'a>(&'a Arc<Root>);

impl<'a> Dying<'a> {
    fn begin(root: &'a Arc<Root>) -> Result<Self> {
        let mut gate = root.gate().enter();
        gate.set_dying()?;
        trace::root_dying(root.number(), root.name());
        drop(gate);
        root.stats().destroys.count();
        Ok(Self(root))
    }

    /// Waits for what was admitted before.
    fn drain(self) -> Drained<'a> {
        self.0.gate().drain();
        trace::root_drained(self.0.number(), self.0.name());
        Drained(self.0)
    }
}

/// Nothing is pending for the root or its children, and nothing will be: the destroyer is alone
/// with them, but for frees.
struct Drained<'a>(&'a Arc<Root>);

impl<'a> Drained<'a> {
    /// Shuts everything down, unless an object lives.
    fn destroy(self) -> Result<(), Self> {
        let root = self.0;
        // Only a killed count can be compared with zero.
        for_each_child(root, |child| {
            if root.gate().enter().condemn(child, Phase::Dying) {
                // Whoever closes the root may be about to kill it, too.
                child.refs().kill();
            }
        });
        root.gate().kill_barrier();

        let mut busy = false;
        for_each_child(root, |child| busy |= PercpuRef::tryget(&**child).is_some());
        if busy {
            root.stats().busy.count();
            return Err(self);
        }

        // Nobody can take a reference again. The release of each may still be on its way out of an
        // interrupt.
        root.gate().enter().wait_released(None);
        // Out of the lookup, all of them, so that one grace period is over for each.
        for_each_child(root, |child| {
            if let Some(retired) = root.slot_of(child).and_then(|slot| slot.take_if(child)) {
                root.gate().enter().part(retired);
            }
        });
        // The root's own cache, number 0, comes first; it leads to nothing else.
        let mut gate = root.gate().enter();
        while let Some(child) = gate.next(None) {
            drop(gate);
            Child::shut_down(child);
            gate = root.gate().enter();
        }
        gate.wait_destroyed();
        gate.set_destroyed();
        drop(gate);
        trace::root_destroy(root.number(), root.name());
        Ok(())
    }

    /// Makes the root what it was before, and lets go on what was suppressed meanwhile.
    fn hand_back(self) {
        let root = self.0;
        // While the flag is set nobody else kills or deactivates.
        for_each_child(root, |child| {
            let reference = PercpuRef::tryget(&**child);
            if reference.is_none() {
                // It was released, or is about to be.
                root.gate().enter().wait_released(Some(child));
            }
            if !root.gate().enter().acquit(child) {
                return;
            }
            root.stats().resurrections.count();
            match reference {
                Some(reference) => {
                    kernel::warn_on!(!PercpuRef::resurrect(&reference));
                }
                None => {
                    // Its count is idle, as it was released, and nobody else starts it.
                    let hold = root.gate().hold();
                    kernel::warn_on!(PercpuRef::start(child, hold).is_err());
                }
            }
        });
        root.gate().enter().clear_dying(root);
    }
}
