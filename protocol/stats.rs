// SPDX-License-Identifier: GPL-2.0

//! What a root counts: its transitions, and how long the stages of its children last.
//!
//! Where a group has a child the allocation path counts nothing: how many objects live is read from
//! the reference counts.

use super::stage::Stage;
use crate::abstractions::{context::Context, ticks::Ticks};
use kernel::sync::atomic::{Atomic, Relaxed};

/// A number that only grows.
pub struct Counter(Atomic<u64>);

impl Counter {
    const fn new() -> Self {
        Self(Atomic::new(0))
    }

    /// Adds one. Context: any.
    pub fn count(&self) {
        self.0.add(1, Relaxed);
    }

    /// Adds `number`. Context: any.
    pub fn add(&self, number: u64) {
        self.0.add(number, Relaxed);
    }

    /// The number.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    /// Stores `value` where it is the largest so far. The caller holds the gate.
    fn raise(&self, value: u64) {
        if value > self.get() {
            self.0.store(value, Relaxed);
        }
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// The counters of a root.
        pub struct Stats {
            $($(#[$doc])* pub $name: Counter,)*
            releases: [Counter; 4],
            /// In ticks.
            longest: [Counter; Stage::ALL.len()],
        }

        impl Stats {
            pub(super) const fn new() -> Self {
                Self {
                    $($name: Counter::new(),)*
                    releases: [const { Counter::new() }; 4],
                    longest: [const { Counter::new() }; Stage::ALL.len()],
                }
            }

            /// Calls `f` with the name and the value of each counter.
            pub fn for_each(&self, mut f: impl FnMut(&str, u64)) {
                $(f(stringify!($name), self.$name.get());)*
                for (counter, name) in self.releases.iter().zip(RELEASES) {
                    f(name, counter.get());
                }
            }

            /// Calls `f` with each stage and the longest time that a child was in it, in microseconds.
            pub fn for_each_longest(&self, mut f: impl FnMut(Stage, u64)) {
                for (counter, stage) in self.longest.iter().zip(Stage::ALL) {
                    f(stage, Ticks::from_raw(counter.get()).as_micros());
                }
            }
        }
    };
}

counters! {
    /// Objects that came from the root's own cache.
    allocations_root,
    /// Objects that came from a child, where the caller counts them: the allocation path does not.
    allocations_child,
    /// Creations that were queued.
    requests,
    /// Children that were published.
    creations,
    /// Creations that failed.
    aborts,
    /// Deactivations that were admitted.
    deactivations,
    /// Deactivations that were deferred, since the root was dying.
    deferred_offlines,
    /// Releases that were deferred, since the root was dying.
    deferred_releases,
    /// Children that became live again after a destroy had failed.
    resurrections,
    /// Caches that were destroyed.
    shutdowns,
    /// Destroys that were begun.
    destroys,
    /// Destroys that failed, as objects lived.
    busy,
    /// Destroys that failed before they began, as the counts were above zero.
    busy_at_once,
}

const RELEASES: [&str; 4] = [
    "releases_task",
    "releases_softirq",
    "releases_hardirq",
    "releases_nmi",
];

impl Stats {
    /// Counts a release in the context that it happens in.
    pub(super) fn release(&self) {
        if let Some(counter) = self.releases.get(Context::level()) {
            counter.count();
        }
    }

    /// A child leaves `stage`, in which it was for `lasted`. The caller holds the gate.
    pub(super) fn left(&self, stage: Stage, lasted: Ticks) {
        if let Some(longest) = self.longest.get(stage as usize) {
            longest.raise(lasted.as_raw());
        }
    }
}
