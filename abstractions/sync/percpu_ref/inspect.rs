// SPDX-License-Identifier: GPL-2.0

//! What can be seen of a count.

use super::{
    phase::{State, IDLE, KILLED, LIVE, TO_ATOMIC, TO_PERCPU},
    PercpuRef,
};
use crate::abstractions::helpers;
use kernel::{bindings, sync::atomic::Acquire};

impl<T> PercpuRef<T> {
    /// Is the count zero? False while it is per-CPU.
    ///
    /// Wraps `percpu_ref_is_zero()`. Context: any but NMI; on PREEMPT_RT a task.
    pub fn is_zero(&self) -> bool {
        // SAFETY: Initialised, by the type invariants.
        unsafe { bindings::percpu_ref_is_zero(self.inner.get()) }
    }

    /// How many references there are, the one of a live count itself not among them: a snapshot,
    /// exact if nobody takes or puts any, or kills the count. Context: any; adds up all CPUs.
    pub fn count(&self) -> usize {
        // Goes round only if another thread changed the phase meanwhile.
        loop {
            let seen = self.phase.get();
            let to_percpu = seen.only(State::PHASE) == TO_PERCPU;
            // SAFETY: Initialised, by the type invariants. What it reads stays until
            // `percpu_ref_exit()`, since the count can be started anew (`PERCPU_REF_ALLOW_REINIT`).
            let all = unsafe { helpers::rust_kmemcg_percpu_ref_count(self.inner.get(), to_percpu) };
            if self.phase.get() == seen {
                let own = matches!(seen.only(State::PHASE), LIVE | TO_ATOMIC | TO_PERCPU);
                return usize::try_from(all).unwrap_or(0).saturating_sub(own.into());
            }
        }
    }

    /// Was the count killed, and has every CPU seen that? Context: any.
    pub fn is_exact(&self) -> bool {
        // SAFETY: Initialised, by the type invariants.
        self.is_dying() && unsafe { helpers::rust_kmemcg_percpu_ref_is_exact(self.inner.get()) }
    }

    /// Was the count killed (or never started)?
    ///
    /// Wraps `percpu_ref_is_dying()`. Context: any.
    pub fn is_dying(&self) -> bool {
        // SAFETY: Initialised, by the type invariants.
        unsafe { helpers::rust_kmemcg_percpu_ref_is_dying(self.inner.get()) }
    }

    /// Was the count started, and not killed since? If so, a [`kill`](Self::kill) returns true.
    /// Context: any.
    pub fn is_live(&self) -> bool {
        self.phase.get().is_live()
    }

    /// Was the count killed, and has that call put the reference that it took? Not once the release
    /// callback was entered. Context: any.
    pub fn is_killed(&self) -> bool {
        self.phase.get().without(State::NUMBER) == KILLED && self.killers.load(Acquire) == 0
    }

    /// Has the release callback been entered, or was the count never started? Context: any.
    pub fn is_idle(&self) -> bool {
        self.phase.get().without(State::NUMBER) == IDLE
    }
}
