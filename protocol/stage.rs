// SPDX-License-Identifier: GPL-2.0

//! The states of a child, a root and a group, and every step between them.
//!
//! The tables below are the only statement of the state machine. Each step of the code names its
//! row, and a kernel with Rust's debug assertions warns where there is no such row: of another state, or
//! in another context, or with interrupts enabled where a lock has to be held. (That the lock is the
//! right one is up to the types: a step of a child takes what the gate protects. The ends of a life, which
//! have no state to come from or to go to, are checked for their context only; `trace-check` and the model
//! check them, too.) `transitions.awk` reads the tables for everything else: `selftests/trace-check`,
//! the report, the model, and the test of the table in `docs/trace-events.md`.

use super::trace;
use crate::abstractions::context::{self, Context};
use kernel::{fmt, prelude::*, str::CStr};

macro_rules! states {
    (
        $(#[$doc:meta])*
        $visible:vis enum $name:ident {
            $($(#[$about:meta])* $state:ident = $word:literal,)*
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        $visible enum $name {
            $($(#[$about])* $state,)*
        }

        impl $name {
            /// Every state, in the order of their numbers.
            #[allow(dead_code)] // Used of stages only.
            $visible const ALL: [Self; [$($word),*].len()] = [$(Self::$state),*];
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $(Self::$state => $word,)*
                })
            }
        }
    };
}

states! {
    /// How far a child has come.
    ///
    /// *Deferred*: the root was dying, so the next step was not admitted; a destroy that fails
    /// admits it. *Marked*: the destroyer of the root has killed the count of objects; a destroy
    /// that fails brings the child back to where it was.
    ///
    /// A child whose group goes offline: `Active`, `Deactivating`, `Quiescent`, `Killed`,
    /// `Released`, `Shutdown`. The same in a root that is dying meanwhile and handed back:
    /// `Active`, `OfflineDeferred`, `OfflineDeferredMarked`, `OfflineDeferred`, `Deactivating` and
    /// so on. A child without objects in a root that is destroyed: `Active`, `ActiveMarked`,
    /// `ReleaseDeferredMarked`, `Shutdown`.
    pub enum Stage {
        /// Listed by its root, but the lookup does not lead to it yet.
        New = "new",
        /// Serves allocations.
        Active = "active",
        /// The lookup leads to it, but it serves no allocation: marked.
        ActiveMarked = "active_marked",
        /// Its group is offline; the deactivation is deferred.
        OfflineDeferred = "offline_deferred",
        /// Its group is offline; the deactivation is deferred; marked.
        OfflineDeferredMarked = "offline_deferred_marked",
        /// Its group is offline; a grace period is running.
        Deactivating = "deactivating",
        /// That grace period is over: no reader of the lookup is left. The deactivation work is queued.
        Quiescent = "quiescent",
        /// Its count is killed for good; objects live, or the count is not exact yet.
        Killed = "killed",
        /// No object is left; the shutdown is deferred.
        ReleaseDeferred = "release_deferred",
        /// No object is left; the shutdown is deferred; marked.
        ReleaseDeferredMarked = "release_deferred_marked",
        /// No object is left; a callback runs, then the shutdown work.
        Released = "released",
        /// Unlinked from its root: the cache is being destroyed.
        Shutdown = "shutdown",
    }
}

states! {
    /// How far the destruction of a root has come.
    ///
    /// A destroy that fails goes back to the phase it began in: `Dying` and `Drained` to `Live`,
    /// `ClosingDying` and `ClosingDrained` to `Closing`.
    pub enum Phase {
        /// It serves allocations.
        Live = "live",
        /// An asynchronous destroy has begun: the root serves nothing new, and goes when the last
        /// object is freed.
        Closing = "closing",
        /// Somebody destroys it: the dying flag is set.
        Dying = "dying",
        /// The same, for a root that was closing.
        ClosingDying = "closing_dying",
        /// Nothing that was admitted before is pending any more.
        Drained = "drained",
        /// The same, for a root that was closing.
        ClosingDrained = "closing_drained",
        /// It was destroyed.
        Destroyed = "destroyed",
    }
}

impl Phase {
    /// Is the dying flag set?
    #[inline(always)]
    pub(super) const fn is_dying(self) -> bool {
        !matches!(self, Self::Live | Self::Closing)
    }

    /// Does an asynchronous destroy go on where this one fails?
    pub(super) const fn is_closing(self) -> bool {
        matches!(
            self,
            Self::Closing | Self::ClosingDying | Self::ClosingDrained
        )
    }

    /// The phase after the dying flag is set; none where it is set, or the root is gone.
    pub(super) const fn to_dying(self) -> Option<Self> {
        match self {
            Self::Live => Some(Self::Dying),
            Self::Closing => Some(Self::ClosingDying),
            _ => None,
        }
    }

    /// The phase after the drain.
    pub(super) const fn to_drained(self) -> Self {
        if self.is_closing() {
            Self::ClosingDrained
        } else {
            Self::Drained
        }
    }

    /// The phase that a destroy which fails goes back to.
    pub(super) const fn to_handed_back(self) -> Self {
        if self.is_closing() {
            Self::Closing
        } else {
            Self::Live
        }
    }

    /// Can the root be found by its name?
    pub(super) const fn has_name(self) -> bool {
        matches!(self, Self::Live | Self::Dying | Self::Drained)
    }
}

states! {
    /// Whether a group is online.
    pub(super) enum Online {
        /// It may own children.
        Yes = "online",
        /// Its parent owns what it owned.
        No = "offline",
    }
}

/// Where a step may run. A worker is a task, too.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(non_camel_case_types)] // As in a trace.
enum Where {
    any,
    task,
    worker,
    softirq,
}

impl Where {
    fn is_here(self) -> bool {
        match self {
            Self::any => true,
            Self::task | Self::worker => Context::current() == Context::Task,
            // RCU runs callbacks in a thread instead, on PREEMPT_RT and where it is told to
            // ("rcutree.use_softirq", "rcu_nocbs").
            Self::softirq => matches!(Context::current(), Context::Task | Context::SoftIrq),
        }
    }
}

/// What is held at a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(non_camel_case_types)] // As the text has them.
enum Held {
    nothing,
    /// The lock of the tree of groups.
    tree,
    /// The gate of the root.
    gate,
}

/// One end of a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End<S> {
    /// `-`: the life has not begun.
    Before,
    /// `.`: it has ended.
    After,
    /// `*`: in whatever state; the step changes nothing.
    Any,
    At(S),
}

macro_rules! end {
    ($states:ident -) => {
        End::Before
    };
    ($states:ident .) => {
        End::After
    };
    ($states:ident *) => {
        End::Any
    };
    ($states:ident $state:ident) => {
        End::At($states::$state)
    };
}

struct Row<S: 'static> {
    from: &'static [End<S>],
    to: End<S>,
    contexts: &'static [Where],
}

/// Warns where `rows` do not have a step, or it runs where it must not.
#[cold]
fn check<S: Copy + PartialEq + fmt::Display>(
    event: &str,
    rows: &[Row<S>],
    held: &[Held],
    step: Option<(S, S)>,
) {
    let fits = |row: &Row<S>| {
        row.contexts.iter().any(|context| context.is_here())
            && step
                .is_none_or(|(from, to)| row.from.contains(&End::At(from)) && row.to == End::At(to))
    };
    // Both are spinlocks that disable interrupts, except on PREEMPT_RT.
    let is_held =
        held == [Held::nothing] || cfg!(CONFIG_PREEMPT_RT) || !context::interrupts_enabled();
    if is_held && rows.iter().any(fits) {
        return;
    }
    match step {
        Some((from, to)) => pr_err!("no step {}: {} => {}\n", event, from, to),
        None => pr_err!("no step {} here\n", event),
    }
    kernel::warn_on!(true);
}

macro_rules! transitions {
    (
        $(#[$doc:meta])*
        enum $name:ident of $states:ident, traced as ($($field:ident: $type:ty),*);
        $(
            $event:ident under $($held:ident)+ {
                $($($from:tt)|+ => $to:tt, $($context:ident)|+;)*
            }
        )*
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq)]
        #[allow(non_camel_case_types)] // Named as the trace events are.
        pub(super) enum $name {
            $($event,)*
        }

        impl $name {
            /// Writes the trace event of a step; with debug assertions, after a look at the table.
            /// `step` is the state before and after, where the caller keeps one; `fields` is called only
            /// while the event is enabled.
            #[inline(always)]
            #[allow(clippy::extra_unused_lifetimes)] // Not each event borrows a field.
            pub(super) fn trace<'a>(
                self,
                step: Option<($states, $states)>,
                fields: impl FnOnce() -> ($($type,)*),
            ) {
                if cfg!(debug_assertions) {
                    self.check(step);
                }
                match self {
                    $(Self::$event => trace::$event(fields),)*
                }
            }

            fn check(self, step: Option<($states, $states)>) {
                match self {
                    $(Self::$event => check(
                        stringify!($event),
                        &[$(Row {
                            from: &[$(end!($states $from)),+],
                            to: end!($states $to),
                            contexts: &[$(Where::$context),+],
                        }),*],
                        &[$(Held::$held),+],
                        step,
                    ),)*
                }
            }
        }
    };
}

transitions! {
    /// A step of a child, in the order of a life. The root's own cache is a child, too: number 0,
    /// active from the root's creation.
    enum Event of Stage, traced as (root: u64, group: u64, child: u64);

    child_request under gate {
        * => *, any;
    }
    child_abort under nothing {
        * => *, worker;
    }
    child_create under tree gate {
        New => Active, worker;
        Killed => Killed, worker; // A close has killed it before.
    }
    child_offline under gate {
        Active => Deactivating, any;
        OfflineDeferred => Deactivating, task; // The root is handed back.
    }
    child_defer_offline under gate {
        Active => OfflineDeferred, any;
        ActiveMarked => OfflineDeferredMarked, any;
        ReleaseDeferredMarked => ReleaseDeferred, any;
    }
    child_reparent under tree {
        * => *, any;
    }
    child_rcu under gate {
        Deactivating => Quiescent, softirq;
    }
    child_kill under gate {
        Quiescent => Killed, worker;
        New | Active => Killed, task | worker; // By a close, or as it could not be published.
        ActiveMarked | OfflineDeferredMarked => Killed, task; // The root is closing again.
    }
    child_mark_killed under gate {
        Active => ActiveMarked, task;
        OfflineDeferred => OfflineDeferredMarked, task;
    }
    child_resurrect under gate {
        ActiveMarked | ReleaseDeferredMarked => Active, task;
        OfflineDeferredMarked => OfflineDeferred, task;
    }
    child_release under gate {
        Killed => Released, any;
        ReleaseDeferred | ReleaseDeferredMarked => Released, task; // The root is handed back.
    }
    child_defer_release under gate {
        ActiveMarked => ReleaseDeferredMarked, any;
        OfflineDeferredMarked | Killed => ReleaseDeferred, any;
    }
    child_shutdown under gate {
        Released => Shutdown, worker;
        ReleaseDeferred | ReleaseDeferredMarked => Shutdown, task; // By the root's destroyer.
    }
    child_free under nothing {
        Shutdown => ., task | worker;
    }
}

transitions! {
    /// A step of a root.
    enum RootEvent of Phase, traced as (root: u64, name: &'a CStr);

    root_create under nothing {
        - => Live, task;
    }
    root_close under gate {
        Live => Closing, task;
    }
    root_dying under gate {
        Live => Dying, task;
        Closing => ClosingDying, task;
    }
    root_drained under gate {
        Dying => Drained, task;
        ClosingDying => ClosingDrained, task;
    }
    root_busy under gate {
        Drained => Live, task;
        ClosingDrained => Closing, task;
    }
    root_destroy under gate {
        Drained | ClosingDrained => Destroyed, task;
        Closing => Destroyed, task | worker;
    }
}

transitions! {
    /// A step of a group.
    enum GroupEvent of Online, traced as (group: u64, parent: u64, name: &'a CStr);

    group_create under tree {
        - => Yes, any;
    }
    group_offline under tree {
        Yes => No, any;
    }
    group_free under nothing {
        No => ., any;
    }
}
