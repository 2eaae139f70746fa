// SPDX-License-Identifier: GPL-2.0

//! The publication of a child and the flags of the test knobs, in every execution of a weak memory
//! model. `rcu_slot` is the file of the module, unchanged; the crate `kernel` beside this replaces
//! the real one.

#[path = "../../../abstractions/sync/rcu/slot.rs"]
#[allow(clippy::missing_safety_doc)]
pub mod rcu_slot;

#[cfg(test)]
mod tests {
    use super::rcu_slot::{self, RcuSlot};
    use kernel::sync::{
        atomic::{Acquire, AtomicFlag, Release},
        Arc,
    };
    use kernel::GFP_KERNEL;
    use loom::{cell::UnsafeCell, thread};

    /// The published value: written before its publication, and again after the last reader.
    struct Child(UnsafeCell<u32>);

    // SAFETY: It is a number, which may be sent to any thread.
    unsafe impl Send for Child {}
    // SAFETY: loom's cell fails the test if two threads access it at once.
    unsafe impl Sync for Child {}

    impl Child {
        /// Makes it, then initialises it, as the module does before the publication.
        fn new() -> Arc<Self> {
            let child = Arc::new(Self(UnsafeCell::new(0)), GFP_KERNEL).unwrap();
            // SAFETY: As for `Sync`: loom fails the test if another thread accesses it.
            child.0.with_mut(|value| unsafe { *value = 7 });
            child
        }

        fn read(&self) -> u32 {
            // SAFETY: As for `Sync`: loom fails the test if another thread accesses it.
            self.0.with(|value| unsafe { *value })
        }
    }

    impl Drop for Child {
        fn drop(&mut self) {
            // The destroyed cache: a reader that is left races with this.
            // SAFETY: As for `Sync`: loom fails the test if another thread accesses it.
            self.0.with_mut(|value| unsafe { *value = 0 });
        }
    }

    /// A slot that every thread sees to be empty.
    fn slot() -> loom::sync::Arc<RcuSlot<Child>> {
        let slot = RcuSlot::new();
        assert!(slot.take().is_none());
        loom::sync::Arc::new(slot)
    }

    fn look(slot: &RcuSlot<Child>) {
        rcu_slot::read(|reader| {
            if let Some(child) = slot.load(reader) {
                assert_eq!(child.read(), 7);
            }
        });
    }

    /// B2: a reader that sees the child sees it initialised.
    #[test]
    fn published() {
        loom::model(|| {
            let slot = slot();
            let other_end = slot.clone();
            let reader = thread::spawn(move || look(&other_end));
            assert!(slot.publish(Child::new()).is_ok());
            reader.join().unwrap();
        });
    }

    /// Two makers publish: one succeeds, and the other one gets its child back.
    #[test]
    fn published_once() {
        loom::model(|| {
            let slot = slot();
            let other_end = slot.clone();
            let other = thread::spawn(move || other_end.publish(Child::new()).is_ok());
            let ours = slot.publish(Child::new()).is_ok();
            assert!(other.join().unwrap() != ours);
            look(&slot);
        });
    }

    /// A child that is taken out is dropped after a grace period, when no reader is left.
    #[test]
    fn taken() {
        loom::model(|| {
            let slot = slot();
            let other_end = slot.clone();
            assert!(slot.publish(Child::new()).is_ok());
            let reader = thread::spawn(move || look(&other_end));
            drop(slot.take());
            reader.join().unwrap();
        });
    }

    /// `take()` and `take_if()` run at once: one of them gets the child.
    #[test]
    fn taken_once() {
        loom::model(|| {
            let slot = slot();
            let child = Child::new();
            assert!(slot.publish(child.clone()).is_ok());
            let other_end = slot.clone();
            let other = thread::spawn(move || other_end.take_if(&child).is_some());
            let ours = slot.take().is_some();
            assert!(other.join().unwrap() != ours);
        });
    }

    /// The test knob `grace_period`: the writes of its worker are visible to a thread that sees that the
    /// worker has ended, and the writes before the release are visible to the worker.
    #[test]
    fn held() {
        loom::model(|| {
            let release = loom::sync::Arc::new(AtomicFlag::new(false));
            let over = loom::sync::Arc::new(AtomicFlag::new(false));
            let data = loom::sync::Arc::new(Child(UnsafeCell::new(0)));
            let (until, left, other_end) = (release.clone(), over.clone(), data.clone());
            let worker = thread::spawn(move || {
                while !until.load(Acquire) {
                    thread::yield_now();
                }
                assert_eq!(other_end.read(), 1);
                // SAFETY: As for `Sync`: loom fails the test if another thread accesses it.
                other_end.0.with_mut(|value| unsafe { *value = 2 });
                left.store(true, Release);
            });
            // SAFETY: As for `Sync`: loom fails the test if another thread accesses it.
            data.0.with_mut(|value| unsafe { *value = 1 });
            release.store(true, Release);
            if over.load(Acquire) {
                assert_eq!(data.read(), 2);
            }
            worker.join().unwrap();
        });
    }
}
