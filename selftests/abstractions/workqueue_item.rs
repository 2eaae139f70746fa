// SPDX-License-Identifier: GPL-2.0

//! The items that the tests of `workqueue` queue.

use crate::{
    abstractions::workqueue::{
        HasPlainWork,
        OwnedQueue, //
    },
    support::Counter, //
};
use core::ops::Deref;
use kernel::{
    prelude::*,
    sync::{
        Arc,
        Completion, //
    },
    workqueue::{
        impl_has_work,
        new_work,
        Work,
        WorkItem, //
    }, //
};

pub(crate) static RUNS: Counter = Counter::new();

/// A gate for an item to wait at.
#[pin_data]
pub(crate) struct Gate {
    #[pin]
    pub(crate) entered: Completion,
    #[pin]
    pub(crate) open: Completion,
}

/// Opens a gate when it is dropped: a test that fails must not hang in the drop of its queue.
pub(crate) struct Blocked(pub(crate) Arc<Gate>);

impl Deref for Blocked {
    type Target = Gate;

    fn deref(&self) -> &Gate {
        &self.0
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        self.0.open.complete_all();
    }
}

/// Queues an item that waits, and waits until it does.
pub(crate) fn block(queue: &OwnedQueue) -> Result<Blocked> {
    let gate = Arc::pin_init(
        pin_init!(Gate { entered <- Completion::new(), open <- Completion::new() }),
        GFP_KERNEL,
    )?;
    let wait = gate.clone();
    queue.try_spawn(GFP_KERNEL, move || {
        wait.entered.complete_all();
        wait.open.wait_for_completion();
        RUNS.add();
    })?;
    gate.entered.wait_for_completion();
    Ok(Blocked(gate))
}

/// An item of its own.
#[pin_data]
pub(crate) struct Item {
    #[pin]
    pub(crate) work: Work<Item>,
    #[pin]
    pub(crate) entered: Completion,
    #[pin]
    pub(crate) open: Completion,
    waits: bool,
}

impl_has_work! { impl HasWork<Self> for Item { self.work } }

impl HasPlainWork for Item {
    fn plain_work(&self) -> &Work<Self> {
        &self.work
    }
}

impl WorkItem for Item {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        this.entered.complete_all();
        if this.waits {
            this.open.wait_for_completion();
        }
        RUNS.add();
    }
}

pub(crate) fn item(waits: bool) -> Result<Arc<Item>> {
    Arc::pin_init(
        pin_init!(Item {
            work <- new_work!("kmemcg_test::Item"),
            entered <- Completion::new(),
            open <- Completion::new(),
            waits,
        }),
        GFP_KERNEL,
    )
}
