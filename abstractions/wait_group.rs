// SPDX-License-Identifier: GPL-2.0

//! Counts users of something, and waits until there are none.
//!
//! The last user may go in any context (on PREEMPT_RT, where spinlocks sleep, any but a hard
//! interrupt), and whoever waits may sleep.
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
        atomic::{Acquire, Atomic, AtomicFlag, Full, Relaxed},
        new_condvar, new_spinlock_irq, Arc, CondVar, SpinLockIrq,
    },
};

/// A group of users. A clone is the same group.
#[derive(Clone)]
pub struct WaitGroup(Arc<Shared>);

/// # Invariants
///
/// `members` is the number of [`Member`]s, and of those who find out that they may not be one. Its
/// 64 bits do not wrap, however many are forgotten.
#[pin_data]
struct Shared {
    closed: AtomicFlag,
    members: Atomic<u64>,
    /// Who brings `members` to zero takes it before he tells: who waits holds it when he looks.
    #[pin]
    telling: SpinLockIrq<()>,
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
                members: Atomic::new(0),
                telling <- new_spinlock_irq!((), "WaitGroup::telling"),
                none <- new_condvar!("WaitGroup::none"),
            }),
            GFP_KERNEL,
        )?))
    }

    /// A new member, whether or not the group is closed. Context: any.
    #[inline]
    pub fn join(&self) -> Member {
        // INVARIANT: This is the member.
        self.0.members.add(1, Relaxed);
        Member(self.clone())
    }

    /// A new member, unless the group is closed. Context: any but NMI.
    pub fn try_join(&self) -> Option<Member> {
        // Both this and `close()` first write what the other one reads then: one of them sees
        // the other.
        self.0.members.fetch_add(1, Full);
        // INVARIANT: This is the member; where it may not be one, its drop takes it back.
        let member = Member(self.clone());
        (!self.is_closed()).then_some(member)
    }

    /// Refuses, from here on, who [tries to join](Self::try_join). Context: any.
    pub fn close(&self) {
        self.0.closed.xchg(true, Full);
    }

    /// Was it closed? Context: any.
    #[inline]
    pub fn is_closed(&self) -> bool {
        self.0.closed.load(Acquire)
    }

    /// Waits until there is no member. Context: may sleep.
    pub fn wait(&self) {
        let mut telling = self.0.telling.lock();
        while self.0.members.load(Acquire) != 0 {
            self.0.none.wait(&mut telling);
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
    #[inline]
    fn drop(&mut self) {
        let shared = &self.0 .0;
        if shared.members.fetch_sub(1, Full) == 1 {
            let _telling = shared.telling.lock();
            shared.none.notify_all();
        }
    }
}
