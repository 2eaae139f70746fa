// SPDX-License-Identifier: GPL-2.0

//! Destruction of a root: live → dying → drained → gone, or handed back.
//!
//! Each step is a type that only the one before gives out.
//!
//! While the destroyer does not know yet whether an object lives, the root serves nothing: all counts are
//! killed. So that a destroy that fails takes no service away, it looks at the counts before it begins,
//! where they are only snapshots. An object that is allocated after that is found in the end all the same.

use super::{
    child::{Child, Root},
    stage::{Phase, RootEvent, Stage},
    steps, //
};
use crate::abstractions::sync::percpu_ref::PercpuRef;
use kernel::prelude::*;

/// Destroys `root`, or leaves it as it was. Context: may sleep.
///
/// # Errors
///
/// `EBUSY`: objects live, or somebody else is destroying it. `ENOENT`: it was destroyed before.
pub(super) fn destroy(root: &Root) -> Result {
    if has_objects(root) {
        root.stats.busy_at_once.count();
        return Err(EBUSY);
    }
    destroy_uncounted(root)
}

/// The same without the look at the counts. Context: may sleep.
pub(super) fn destroy_uncounted(root: &Root) -> Result {
    let drained = Dying::begin(root)?.drain();
    match drained.destroy() {
        Ok(()) => Ok(()),
        Err(drained) => {
            drained.hand_back();
            Err(EBUSY)
        }
    }
}

/// Did an object of a live root live at some moment of this call? Kills nothing. Context: may sleep.
///
/// True only if one did, or another destroyer is at work. A count is per-CPU, and is read one CPU after the other
/// while others allocate and free. If no object had lived in all that time, no CPU's part would have changed, and their sum
/// would be zero. A free that happened before the call is seen, and that of an object whose allocation was
/// seen can be missed only where it happens during the call. False says nothing: an object that moves from
/// CPU to CPU can be missed.
///
/// References that are no objects do not count:
/// - that of the worker that makes a child, which is noted with the gate held before it is taken and
///   after it is put;
/// - those of `percpu_ref_kill()`: only a count that is live before and after it was read is summed up. One
///   that was killed is compared with zero when the kill has returned and its callback has, too.
///
/// Another destroyer may kill a count in between and take references on it. `EBUSY` is due to it then.
fn has_objects(root: &Root) -> bool {
    // A closing root serves nothing, so a destroy that fails takes nothing away.
    if root.gate.enter().phase() != Phase::Live {
        return false;
    }
    let next = |from| {
        let gate = root.gate.enter();
        let (number, child) = gate.next(from)?;
        let others = usize::from(child.is_in_making(&gate));
        Some((number, child, others))
    };
    let (mut from, mut waited) = (0, false);
    while let Some((number, child, others)) = next(from) {
        from = number + 1;
        let refs = &child.refs;
        if refs.is_live() {
            if refs.count() > others && refs.is_live() {
                return true;
            }
        } else if !waited && others == 0 && has_exact_objects(refs) {
            // The callback that has made the count exact may still hold a reference.
            root.gate.kill_barrier();
            waited = true;
            if has_exact_objects(refs) {
                return true;
            }
        }
    }
    false
}

fn has_exact_objects(refs: &PercpuRef<Child>) -> bool {
    refs.is_killed() && refs.is_exact() && refs.count() > 0
}

/// Begins to destroy `root`, and waits for nothing: it serves nothing new, and goes by itself after its
/// last object. Context: may sleep, as it may drop the last reference on a child that is shut down.
///
/// # Errors
///
/// `EBUSY`: somebody is destroying it. `ENOENT`: it was destroyed before.
pub(super) fn close(root: &Root) -> Result {
    let mut gate = root.gate.enter();
    match gate.phase() {
        Phase::Live => root.step(RootEvent::root_close, Phase::Closing, &mut gate),
        Phase::Destroyed => return Err(ENOENT),
        _ => return Err(EBUSY),
    }
    drop(gate);
    root.stats.destroys.count();
    root.for_each(|child| steps::kill_if_closing(child));
    Ok(())
}

/// The flag is set: nothing is admitted any more.
#[must_use = "the flag stays set, and no release of the root happens any more"]
struct Dying<'a>(&'a Root);

impl<'a> Dying<'a> {
    fn begin(root: &'a Root) -> Result<Self> {
        let mut gate = root.gate.enter();
        let phase = gate.phase();
        let gone = phase == Phase::Destroyed;
        let dying = phase.to_dying().ok_or(if gone { ENOENT } else { EBUSY })?;
        root.step(RootEvent::root_dying, dying, &mut gate);
        drop(gate);
        root.stats.destroys.count();
        Ok(Self(root))
    }

    /// Waits for what was admitted before.
    fn drain(self) -> Drained<'a> {
        let root = self.0;
        root.gate.drain();
        let mut gate = root.gate.enter();
        let drained = gate.phase().to_drained();
        root.step(RootEvent::root_drained, drained, &mut gate);
        Drained(root)
    }
}

/// Nothing that was admitted is pending for the root or its children, and nothing will be: the destroyer
/// is alone with them, but for frees, for groups that go offline, and for a close that is about to kill.
#[must_use = "the flag stays set, and no release of the root happens any more"]
struct Drained<'a>(&'a Root);

impl Drained<'_> {
    /// Shuts everything down, unless an object lives.
    fn destroy(self) -> Result<(), Self> {
        let root = self.0;
        root.for_each(|child| steps::kill_for_destroy(child));
        // A close may have been overtaken between its step and the kill.
        root.gate.enter().wait(|inside| inside.kills() == 0);
        root.gate.kill_barrier();

        let mut busy = false;
        root.for_each(|child| busy |= PercpuRef::tryget(&**child).is_some());
        if busy {
            root.stats.busy.count();
            return Err(self);
        }

        // Nobody can take a reference again. The release of each may still be on its way out of an
        // interrupt.
        root.gate.enter().wait(|inside| inside.unreleased() == 0);
        // All leave the lookup first, so that one grace period is enough for them.
        root.for_each(|child| steps::empty_slot(child));
        // The root's own cache, number 0, comes first; it leads to nothing else.
        let first = || root.gate.enter().next(0);
        while let Some((_, child)) = first() {
            steps::shut_down(child);
        }

        let mut gate = root.gate.enter();
        // A close may have the last reference on a child for a moment.
        gate.wait(|inside| inside.undestroyed() == 0);
        steps::end_root(root, gate);
        Ok(())
    }

    /// Makes the root what it was before, and resumes what was deferred meanwhile.
    fn hand_back(self) {
        let root = self.0;
        // While the flag is set nobody else kills or deactivates.
        root.for_each(|child| {
            let reference = PercpuRef::tryget(&**child);
            if reference.is_none() {
                // It was released, or the callback that finds the count zero is on its way.
                root.gate.enter().wait(|inside| {
                    let stage = child.stage(inside);
                    matches!(stage, Stage::ReleaseDeferred | Stage::ReleaseDeferredMarked)
                });
            }
            if !steps::hand_back_child(child) {
                return;
            }
            root.stats.resurrections.count();
            match reference {
                Some(reference) => {
                    kernel::warn_on!(PercpuRef::resurrect(&reference).is_err());
                }
                None => {
                    // Its count is idle, as it was released, and nobody else starts it.
                    let hold = root.gate.hold();
                    kernel::warn_on!(PercpuRef::start(child, hold).is_err());
                }
            }
        });
        let mut gate = root.gate.enter();
        let before = gate.phase().to_handed_back();
        root.step(RootEvent::root_busy, before, &mut gate);
        drop(gate);
        // A section of the gate for each child. Another destroy may come between: what is not resumed by
        // then is deferred for that one as well, which destroys it or resumes it.
        root.for_each(steps::resume);
    }
}
