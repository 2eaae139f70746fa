// SPDX-License-Identifier: GPL-2.0

//! Test knobs: they delay steps of the protocol on a live kernel, so that a test decides what happens
//! in between.
//!
//! - The file `grace_period` delays RCU callbacks: a reader keeps a grace period from ending.
//! - The file `workqueue` delays work items: it blocks the workqueues of the protocol.
//! - The context in which objects are allocated and freed is an argument of the file `objects`.

use super::Control;
use crate::{
    abstractions::{
        debugfs::File,
        unload,
        workqueue::{Builder, OwnedQueue}, //
    },
    protocol::WorkqueueBlock,
};
use kernel::{
    prelude::*,
    seq_file::SeqFile,
    seq_print,
    sync::{
        atomic::{Acquire, AtomicFlag, Release},
        rcu,
        Arc,
        Completion, //
    },
    time::{Delta, Instant, Monotonic}, //
};

/// The longest time that a grace period is held open. The kernel reports an RCU stall after 21 s.
const MAX_HOLD: Delta = Delta::from_secs(10);

/// `hold`, `release`; shows `held` or `free`.
pub(super) const GRACE_PERIOD: File<Control> = File {
    name: c"grace_period",
    show: Some(|control, seq| show(seq, control.test_knobs.lock().is_held(), "held")),
    store: Some(|control, command| control.test_knobs.lock().grace_period(command)),
};

/// `block`, `unblock`; shows `blocked` or `free`.
pub(super) const WORKQUEUE: File<Control> = File {
    name: c"workqueue",
    show: Some(|control, seq| {
        show(
            seq,
            control.test_knobs.lock().workqueue.is_some(),
            "blocked",
        )
    }),
    store: Some(|control, command| {
        let mut knobs = control.test_knobs.lock();
        match (command, knobs.workqueue.is_some()) {
            ("block", false) => knobs.workqueue = Some(control.kmemcg.block_workqueue()?),
            ("unblock", true) => knobs.workqueue = None,
            ("block" | "unblock", _) => return Err(EBUSY),
            _ => return Err(EINVAL),
        }
        Ok(())
    }),
};

fn show(seq: &SeqFile, set: bool, word: &str) {
    seq_print!(seq, "{}\n", if set { word } else { "free" });
}

/// The state of the test knobs. Dropping it ends the delays.
///
/// The fields are dropped in this order: the reader of the grace period is told to leave before the
/// queue that it runs on is drained.
pub(super) struct TestKnobs {
    grace_period: Option<GracePeriodHold>,
    workqueue: Option<WorkqueueBlock>,
    /// The reader of a [`GracePeriodHold`] runs on a queue of its own: the protocol's may be blocked.
    queue: OwnedQueue,
}

impl TestKnobs {
    /// Delays nothing yet. Context: may sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`. `ENODEV`: the module is being unloaded.
    pub(super) fn new(module: &unload::Handle) -> Result<Self> {
        Ok(Self {
            grace_period: None,
            workqueue: None,
            queue: Builder::unbound().build(c"rust_kmemcg_test_knobs", module)?,
        })
    }

    /// Is a grace period held open? Not any more after [`MAX_HOLD`].
    fn is_held(&self) -> bool {
        self.grace_period
            .as_ref()
            .is_some_and(|hold| !hold.left.load(Acquire))
    }

    fn grace_period(&mut self, command: &str) -> Result {
        match (command, self.is_held()) {
            ("hold", false) => self.grace_period = Some(GracePeriodHold::new(&self.queue)?),
            ("release", true) => self.grace_period = None,
            ("hold" | "release", _) => return Err(EBUSY),
            _ => return Err(EINVAL),
        }
        Ok(())
    }
}

/// Keeps an RCU grace period from ending.
///
/// - [`new`](Self::new) queues a work item that enters an RCU read-side critical section, and waits until
///   it has. The work item spins there, as a reader must not sleep.
/// - Dropping the value tells the reader to leave, and does not wait for it.
/// - After [`MAX_HOLD`] the reader leaves by itself. The value then delays nothing any more.
struct GracePeriodHold {
    /// Tells the reader to leave.
    leave: Arc<AtomicFlag>,
    /// The reader has left.
    left: Arc<AtomicFlag>,
}

impl GracePeriodHold {
    /// Returns when the reader has entered its critical section. Context: may sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    fn new(queue: &OwnedQueue) -> Result<Self> {
        let leave = Arc::new(AtomicFlag::new(false), GFP_KERNEL)?;
        let left = Arc::new(AtomicFlag::new(false), GFP_KERNEL)?;
        let entered = Arc::pin_init(Completion::new(), GFP_KERNEL)?;
        let hold = Self {
            leave: leave.clone(),
            left: left.clone(),
        };
        let reader_entered = entered.clone();
        queue.try_spawn(GFP_KERNEL, move || {
            let guard = rcu::read_lock();
            reader_entered.complete_all();
            let start = Instant::<Monotonic>::now();
            while !leave.load(Acquire) && start.elapsed() < MAX_HOLD {
                core::hint::spin_loop();
            }
            drop(guard);
            left.store(true, Release);
        })?;
        entered.wait_for_completion();
        Ok(hold)
    }
}

impl Drop for GracePeriodHold {
    fn drop(&mut self) {
        self.leave.store(true, Release);
    }
}
