// SPDX-License-Identifier: GPL-2.0

//! Counts users of something, and waits until there are none.
//!
//! The last user may leave in any context (on PREEMPT_RT, where spinlocks sleep, any but a hard
//! interrupt); waiting sleeps.
//!
//! # Examples
//!
//! ```
//! use kernel::prelude::*;
//! use rust_kmemcg::abstractions::sync::wait_group::WaitGroup;
//!
//! fn example() -> Result {
//!     let group = WaitGroup::new()?;
//!     let member = group.join();
//!     drop(member); // In any context.
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
    task::might_sleep,
};

/// A group of users. A clone is the same group.
#[derive(Clone)]
pub struct WaitGroup(Arc<Shared>);

/// # Invariants
///
/// `members` is the number of [`Member`]s, and of calls of [`WaitGroup::try_join`] that are about
/// to take back what they added. It has 64 bits on every architecture, so that it does not wrap,
/// however many members are forgotten (`mem::forget`). It becomes zero with `last` locked only.
#[pin_data]
struct Shared {
    closed: AtomicFlag,
    members: Atomic<u64>,
    /// The last member takes this lock before it leaves; waiters hold it while they check
    /// `members`. So no wakeup is lost, and nothing but the unlock is left to the last member when
    /// a waiter sees zero.
    #[pin]
    last: SpinLockIrq<()>,
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
                last <- new_spinlock_irq!((), "WaitGroup::last"),
                none <- new_condvar!("WaitGroup::none"),
            }),
            GFP_KERNEL,
        )?))
    }

    /// Adds a member, whether or not the group is closed. Context: any.
    #[inline]
    pub fn join(&self) -> Member {
        // INVARIANT: This is the member.
        self.0.members.add(1, Relaxed);
        Member(self.clone())
    }

    /// Adds a member, unless the group is closed. Context: any but NMI.
    pub fn try_join(&self) -> Option<Member> {
        // This and `close()` each write before they read what the other one writes: at least one of
        // them sees the other.
        self.0.members.fetch_add(1, Full);
        // INVARIANT: This is the member. If the group is closed, its drop takes it back.
        let member = Member(self.clone());
        (!self.is_closed()).then_some(member)
    }

    /// Makes [`try_join`](Self::try_join) fail from here on. Context: any.
    #[inline]
    pub fn close(&self) {
        self.0.closed.xchg(true, Full);
    }

    /// Returns whether the group was closed. Context: any.
    #[inline]
    pub fn is_closed(&self) -> bool {
        self.0.closed.load(Acquire)
    }

    /// Waits until there is no member: for ever, if one was forgotten. Context: may sleep.
    pub fn wait(&self) {
        might_sleep();
        let mut last = self.0.last.lock();
        while self.0.members.load(Acquire) != 0 {
            self.0.none.wait(&mut last);
        }
    }
}

/// A member of a [`WaitGroup`], until it is dropped. A clone is one more.
///
/// One that is forgotten (`mem::forget`) stays a member. Context of the drop: any but NMI.
///
/// # Invariants
///
/// Counted in the `members` of the group.
#[must_use = "dropping it leaves the group"]
pub struct Member(WaitGroup);

impl Clone for Member {
    fn clone(&self) -> Self {
        self.0.join()
    }
}

impl Drop for Member {
    /// As `refcount_dec_and_lock()`.
    fn drop(&mut self) {
        let shared = &self.0 .0;
        let mut members = shared.members.load(Relaxed);
        while members > 1 {
            match shared.members.cmpxchg(members, members - 1, Full) {
                Ok(_) => return,
                Err(now) => members = now,
            }
        }
        let _last = shared.last.lock();
        if shared.members.fetch_sub(1, Full) == 1 {
            shared.none.notify_all();
        }
    }
}

#[cfg(all(CONFIG_KUNIT, not(MODULE)))]
#[kunit_tests(rust_wait_group)]
mod tests {
    use super::*;

    fn members(group: &WaitGroup) -> u64 {
        group.0.members.load(Relaxed)
    }

    #[test]
    fn clones_are_members() -> Result {
        let group = WaitGroup::new()?;
        let member = group.join();
        let clone = member.clone();
        assert_eq!(members(&group), 2);
        drop(member);
        assert_eq!(members(&group), 1);
        drop(clone);
        assert_eq!(members(&group), 0);
        Ok(())
    }

    #[test]
    fn a_closed_group_takes_back_what_it_counted() -> Result {
        let group = WaitGroup::new()?;
        let member = group.join();
        group.close();
        assert!(group.try_join().is_none());
        assert_eq!(members(&group), 1);
        // Those that are members already may still bring others.
        let late = member.clone();
        drop(member);
        assert_eq!(members(&group), 1);
        drop(late);
        group.wait();
        Ok(())
    }
}
