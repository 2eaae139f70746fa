// SPDX-License-Identifier: GPL-2.0

//! The destroyer's side of the gate: the dying flag is set and cleared, and what it has held up resumed.

use super::{Entered, Inside, Phase};
use crate::{
    abstractions::trace,
    protocol::{
        child::{Child, Stage},
        root::Root,
    },
};
use kernel::{prelude::*, sync::Arc};

impl Entered<'_> {
    /// Sets the dying flag.
    ///
    /// # Errors
    ///
    /// `EBUSY`: it is set. `ENOENT`: the root was destroyed.
    pub(in crate::protocol) fn set_dying(&mut self) -> Result {
        match self.inside.phase {
            Phase::Live | Phase::Closing => {
                self.inside.before = self.inside.phase;
                self.inside.phase = Phase::Dying;
                Ok(())
            }
            Phase::Dying => Err(EBUSY),
            Phase::Destroyed => Err(ENOENT),
        }
    }

    /// Begins an asynchronous destroy.
    ///
    /// # Errors
    ///
    /// `EBUSY`: somebody is destroying it. `ENOENT`: the root was destroyed.
    pub(in crate::protocol) fn set_closing(&mut self) -> Result {
        match self.inside.phase {
            Phase::Live => {
                self.inside.phase = Phase::Closing;
                Ok(())
            }
            Phase::Closing | Phase::Dying => Err(EBUSY),
            Phase::Destroyed => Err(ENOENT),
        }
    }

    /// A child was destroyed; the last one ends an asynchronous destroy.
    pub(in crate::protocol) fn destroyed(&mut self, root: &Root) {
        self.inside.undestroyed -= 1;
        self.gate.changed.notify_all();
        if self.inside.phase == Phase::Closing && self.inside.undestroyed == 0 {
            self.set_destroyed();
            trace::root_destroy(root.number(), root.name());
        }
    }

    /// Clears the dying flag, as the destroy has failed, and admits what was suppressed: in one
    /// step, so that no other destroy comes between.
    pub(in crate::protocol) fn clear_dying(&mut self, root: &Root) {
        self.inside.phase = self.inside.before;
        trace::root_busy(root.number(), root.name());
        let mut after = None;
        while let Some(child) = self.next(after) {
            after = Some(child.number());
            self.resume(child);
        }
    }

    /// The root is gone. Not even the flag can be cleared any more.
    pub(in crate::protocol) fn set_destroyed(&mut self) {
        self.inside.phase = Phase::Destroyed;
    }

    fn resume(&mut self, child: Arc<Child>) {
        let Ok(admission) = self.admit() else {
            return;
        };
        match child.stage(admission.inside) {
            Stage::Suppressed => admission.shut_down(child),
            Stage::Parked => {
                if let Some(retired) = child.life(admission.inside).retired.take() {
                    admission.deactivate(retired);
                }
            }
            Stage::Active | Stage::Deactivating | Stage::Killed | Stage::Released => (),
        }
    }

    /// Is this a child that a destroy, which failed, has to bring back? With an object its reference
    /// is resurrected by the caller. Without one it was released; unless its group went offline
    /// meanwhile it becomes active again, and the caller starts its reference anew.
    pub(in crate::protocol) fn acquit(&mut self, child: &Child) -> bool {
        let closes = self.inside.before == Phase::Closing;
        let stage = child.stage(&self.inside);
        let life = child.life(&mut self.inside);
        let condemned = core::mem::take(&mut life.condemned);
        let parted = life.retired.is_some();
        let acquitted = match (condemned, stage) {
            (false, _) => false,
            // It goes on dying, as the asynchronous destroy wanted it.
            (true, Stage::Suppressed) if closes => false,
            (true, _) if closes => {
                child.enter(Stage::Killed, &mut self.inside);
                false
            }
            (true, Stage::Suppressed) if parted => false,
            (true, Stage::Suppressed) => {
                child.enter(Stage::Active, &mut self.inside);
                self.inside.unreleased += 1;
                true
            }
            (true, _) => true,
        };
        if acquitted {
            // Here, not by the caller: its group may go offline as soon as the gate is left.
            child.trace(trace::child_resurrect);
        }
        acquitted
    }

    /// Can the root be found by its name?
    pub(in crate::protocol) fn is_named(&self) -> bool {
        match self.inside.phase {
            Phase::Live => true,
            Phase::Dying => self.inside.before == Phase::Live,
            Phase::Closing | Phase::Destroyed => false,
        }
    }

    /// Waits until `child` is released, or, with none, all children. Only where its count is known
    /// to be zero: the callback that says so is on its way. Context: may sleep.
    pub(in crate::protocol) fn wait_released(&mut self, child: Option<&Child>) {
        let gate = self.gate;
        let pending = |inside: &Inside| match child {
            Some(child) => child.stage(inside) != Stage::Suppressed,
            None => inside.unreleased != 0,
        };
        while pending(&self.inside) {
            gate.changed.wait(&mut self.inside);
        }
    }

    /// Waits until every child was destroyed: somebody who closes the root may have the last hold on
    /// one, for a moment. Only when all are shut down. Context: may sleep.
    pub(in crate::protocol) fn wait_destroyed(&mut self) {
        let gate = self.gate;
        while self.inside.undestroyed != 0 {
            gate.changed.wait(&mut self.inside);
        }
    }
}
