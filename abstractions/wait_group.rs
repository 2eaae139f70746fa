// SPDX-License-Identifier: GPL-2.0

//! Counts users of something, and waits until there are none.
//!
//! As with a completion, the last user may go in any context, and whoever waits may sleep. Unlike
//! a completion it says nothing by itself about how many there will be.
//!
//! # Examples
//!
//! ```
//! use kernel::prelude::*;
//! use rust_kmemcg::abstractions::wait_group::WaitGroup;
//!
//! fn example() -> Result {
//!     let group = WaitGroup::new()?;
//!     let member = group.join();
//!     drop(member); // By anybody, anywhere.
//!     group.wait();
//!     group.close();
//!     assert!(group.try_join().is_none());
//!     Ok(())
//! }
//! # assert_eq!(example(), Ok(()));
//! ```

use kernel::{
    prelude::*,
    sync::{
        atomic::{Acquire, AtomicFlag, Release},
        new_condvar, new_spinlock_irq, Arc, CondVar, SpinLockIrq,
    },
};

/// A group of users. A clone is the same group.
#[derive(Clone)]
pub struct WaitGroup(Arc<Shared>);

/// # Invariants
///
/// `members` is the number of [`Member`]s. `closed` is set with its lock held.
#[pin_data]
struct Shared {
    closed: AtomicFlag,
    #[pin]
    members: SpinLockIrq<usize>,
    #[pin]
    none: CondVar,
}

impl WaitGroup {
    /// Makes a group without members. Context: may sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new() -> Result<Self> {
        Ok(Self(Arc::pin_init(
            pin_init!(Shared {
                closed: AtomicFlag::new(false),
                members <- new_spinlock_irq!(0, "WaitGroup::members"),
                none <- new_condvar!("WaitGroup::none"),
            }),
            GFP_KERNEL,
        )?))
    }

    /// A new member, whether or not the group is closed. Context: any but NMI.
    pub fn join(&self) -> Member {
        *self.0.members.lock() += 1;
        Member(self.clone())
    }

    /// A new member, unless the group is closed. Context: any but NMI.
    pub fn try_join(&self) -> Option<Member> {
        let mut members = self.0.members.lock();
        if self.is_closed() {
            return None;
        }
        *members += 1;
        drop(members);
        Some(Member(self.clone()))
    }

    /// Refuses, from here on, who [tries to join](Self::try_join). Context: any but NMI.
    pub fn close(&self) {
        let _members = self.0.members.lock();
        self.0.closed.store(true, Release);
    }

    /// Was it closed? Context: any.
    pub fn is_closed(&self) -> bool {
        self.0.closed.load(Acquire)
    }

    /// Waits until there is no member. Context: may sleep.
    pub fn wait(&self) {
        let mut members = self.0.members.lock();
        while *members != 0 {
            self.0.none.wait(&mut members);
        }
    }
}

/// A member of a [`WaitGroup`], until it is dropped. A clone is one more.
///
/// Context of the drop: any but NMI.
pub struct Member(WaitGroup);

impl Clone for Member {
    fn clone(&self) -> Self {
        self.0.join()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let mut members = self.0 .0.members.lock();
        *members -= 1;
        if *members == 0 {
            self.0 .0.none.notify_all();
        }
    }
}
