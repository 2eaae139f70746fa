// SPDX-License-Identifier: GPL-2.0

//! Levers: they put the live kernel into any interleaving, without touching the protocol.
//!
//! - the file `grace_period`: a reader that holds a grace period open, so that callbacks wait;
//! - the file `workqueue`: a work item that blocks, so that works wait;
//! - the third, the context that an object is freed in, is in the file `objects`.

use super::Control;
use crate::{
    abstractions::{
        debugfs::File,
        unload,
        workqueue::{Options, OwnedQueue},
    },
    protocol::WorkqueueBlock,
};
use kernel::{
    prelude::*,
    seq_file::SeqFile,
    seq_print,
    sync::{
        atomic::{Acquire, AtomicFlag, Release},
        rcu, Arc, Completion,
    },
    time::{Delta, Instant, Monotonic},
};

/// The longest that a grace period is held open: the kernel complains of a stall after 21 s.
const MAX_HOLD: Delta = Delta::from_secs(10);

/// `hold`, `release`.
pub(super) const GRACE_PERIOD: File<Control> = File {
    name: c"grace_period",
    show: Some(|control, seq| show(seq, control.levers.lock().is_held(), "held")),
    store: Some(|control, command| control.levers.lock().grace_period(command)),
};

/// `stall`, `resume`.
pub(super) const WORKQUEUE: File<Control> = File {
    name: c"workqueue",
    show: Some(|control, seq| show(seq, control.levers.lock().stalled.is_some(), "stalled")),
    store: Some(|control, command| {
        let mut levers = control.levers.lock();
        match (command, levers.stalled.is_some()) {
            ("stall", false) => levers.stalled = Some(control.kmemcg.block_workqueue()?),
            ("resume", true) => levers.stalled = None,
            ("stall" | "resume", _) => return Err(EBUSY),
            _ => return Err(EINVAL),
        }
        Ok(())
    }),
};

fn show(seq: &SeqFile, pulled: bool, word: &str) {
    seq_print!(seq, "{}\n", if pulled { word } else { "free" });
}

/// The levers that can be held.
pub(super) struct Levers {
    held: Option<Hold>,
    stalled: Option<WorkqueueBlock>,
    queue: OwnedQueue,
}

impl Levers {
    pub(super) fn new(module: &unload::Handle) -> Result<Self> {
        Ok(Self {
            held: None,
            stalled: None,
            queue: OwnedQueue::new(c"rust_kmemcg_levers", Options::unbound(), module)?,
        })
    }

    fn is_held(&self) -> bool {
        self.held
            .as_ref()
            .is_some_and(|hold| !hold.over.load(Acquire))
    }

    fn grace_period(&mut self, command: &str) -> Result {
        match (command, self.is_held()) {
            ("hold", false) => self.held = Some(Hold::new(&self.queue)?),
            ("release", true) => self.held = None,
            ("hold" | "release", _) => return Err(EBUSY),
            _ => return Err(EINVAL),
        }
        Ok(())
    }
}

/// A reader in an RCU read-side critical section, until it is dropped or [`MAX_HOLD`] is over.
///
/// It spins: a reader must not sleep.
struct Hold {
    release: Arc<AtomicFlag>,
    over: Arc<AtomicFlag>,
}

impl Hold {
    fn new(queue: &OwnedQueue) -> Result<Self> {
        let release = Arc::new(AtomicFlag::new(false), GFP_KERNEL)?;
        let inside = Arc::pin_init(Completion::new(), GFP_KERNEL)?;
        let over = Arc::new(AtomicFlag::new(false), GFP_KERNEL)?;
        let (until, entered, left) = (release.clone(), inside.clone(), over.clone());
        queue.try_spawn(GFP_KERNEL, move || {
            let guard = rcu::read_lock();
            entered.complete_all();
            let start = Instant::<Monotonic>::now();
            while !until.load(Acquire) && start.elapsed() < MAX_HOLD {
                core::hint::spin_loop();
            }
            drop(guard);
            left.store(true, Release);
        })?;
        inside.wait_for_completion();
        Ok(Self { release, over })
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.release.store(true, Release);
    }
}
