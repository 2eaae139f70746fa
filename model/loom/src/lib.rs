// SPDX-License-Identifier: GPL-2.0

//! The publication of a child and the flags of the levers, under every execution of a weak memory
//! model. `rcu_slot` is the file of the module, unchanged; the crate `kernel` beside this stands for
//! the real one.

#[path = "../../../abstractions/rcu_slot.rs"]
#[allow(clippy::missing_safety_doc)]
pub mod rcu_slot;

#[cfg(test)]
mod tests {
    use super::rcu_slot::RcuSlot;
    use kernel::sync::{
        atomic::{Acquire, AtomicFlag, Release},
        rcu, Arc,
    };
    use kernel::GFP_KERNEL;
    use loom::{cell::UnsafeCell, thread};

    /// What is published: written before, and again when nobody can look any more.
    struct Child(UnsafeCell<u32>);

    // SAFETY: A number, which any thread may have.
    unsafe impl Send for Child {}
    // SAFETY: loom's cell fails the test where two threads are at it at once.
    unsafe impl Sync for Child {}

    impl Child {
        /// Written in steps: it is made, then initialised, then published.
        fn new() -> Arc<Self> {
            let child = Arc::new(Self(UnsafeCell::new(0)), GFP_KERNEL).unwrap();
            // SAFETY: As for `Sync`: loom tells whether somebody else is at it.
            child.0.with_mut(|value| unsafe { *value = 7 });
            child
        }

        fn read(&self) -> u32 {
            // SAFETY: As for `Sync`: loom tells whether somebody else is at it.
            self.0.with(|value| unsafe { *value })
        }
    }

    impl Drop for Child {
        fn drop(&mut self) {
            // The destroyed cache: whoever still reads races with this.
            // SAFETY: As for `Sync`: loom tells whether somebody else is at it.
            self.0.with_mut(|value| unsafe { *value = 0 });
        }
    }

    /// An empty slot that every thread knows to be empty.
    fn slot() -> loom::sync::Arc<RcuSlot<Child>> {
        let slot = RcuSlot::new();
        assert!(slot.take().is_none());
        loom::sync::Arc::new(slot)
    }

    fn look(slot: &RcuSlot<Child>) {
        let guard = rcu::read_lock();
        if let Some(child) = slot.load(&guard) {
            assert_eq!(child.read(), 7);
        }
    }

    /// B2: who sees the child sees all of it.
    #[test]
    fn published() {
        loom::model(|| {
            let slot = slot();
            let theirs = slot.clone();
            let reader = thread::spawn(move || look(&theirs));
            assert!(slot.publish(Child::new()).is_ok());
            reader.join().unwrap();
        });
    }

    /// Two makers: one of them wins, and the other one gets its child back.
    #[test]
    fn published_once() {
        loom::model(|| {
            let slot = slot();
            let theirs = slot.clone();
            let other = thread::spawn(move || theirs.publish(Child::new()).is_ok());
            let ours = slot.publish(Child::new()).is_ok();
            assert!(other.join().unwrap() != ours);
            look(&slot);
        });
    }

    /// Taken out, and dropped after a grace period: no reader looks at what is gone.
    #[test]
    fn taken() {
        loom::model(|| {
            let slot = slot();
            let theirs = slot.clone();
            assert!(slot.publish(Child::new()).is_ok());
            let reader = thread::spawn(move || look(&theirs));
            drop(slot.take());
            reader.join().unwrap();
        });
    }

    /// `take()` and `take_if()` at once: one of them gets it.
    #[test]
    fn taken_once() {
        loom::model(|| {
            let slot = slot();
            let child = Child::new();
            assert!(slot.publish(child.clone()).is_ok());
            let theirs = slot.clone();
            let other = thread::spawn(move || theirs.take_if(&child).is_some());
            let ours = slot.take().is_some();
            assert!(other.join().unwrap() != ours);
        });
    }

    /// The lever `grace_period` (control/levers.rs): what its worker did is seen by who sees that it
    /// is over, and what came before the release is seen by the worker.
    #[test]
    fn held() {
        loom::model(|| {
            let release = loom::sync::Arc::new(AtomicFlag::new(false));
            let over = loom::sync::Arc::new(AtomicFlag::new(false));
            let data = loom::sync::Arc::new(Child(UnsafeCell::new(0)));
            let (until, left, theirs) = (release.clone(), over.clone(), data.clone());
            let worker = thread::spawn(move || {
                while !until.load(Acquire) {
                    thread::yield_now();
                }
                assert_eq!(theirs.read(), 1);
                // SAFETY: As for `Sync`: loom tells whether somebody else is at it.
                theirs.0.with_mut(|value| unsafe { *value = 2 });
                left.store(true, Release);
            });
            // SAFETY: As for `Sync`: loom tells whether somebody else is at it.
            data.0.with_mut(|value| unsafe { *value = 1 });
            release.store(true, Release);
            if over.load(Acquire) {
                assert_eq!(data.read(), 2);
            }
            worker.join().unwrap();
        });
    }
}
