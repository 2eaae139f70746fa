// SPDX-License-Identifier: GPL-2.0

//! The phase of a count.
//!
//! ```text
//! IDLE ------> TO_PERCPU -----> LIVE <--> TO_ATOMIC, TO_PERCPU
//!   ^  start()                   |           switch_to_atomic(), switch_to_percpu()
//!   |                            | kill()
//!   | the last put               v
//!   +------------ KILLED <--- KILLING
//!                   |
//!                   +--> TO_PERCPU --> LIVE
//!                        resurrect()
//! ```
//!
//! A phase that ends in `LIVE` belongs to the thread that began it, which calls C functions that
//! may sleep. A kill, which must not, only adds `KILL` to such a phase, and `CONFIRM` if it is to
//! be confirmed; the thread that ends the phase kills the count then.

use kernel::{
    prelude::*,
    sync::atomic::{Acquire, Atomic, Full, Relaxed},
};

/// A phase, what was added to it, and the number of phases before, so that a thread that was
/// overtaken by a whole life of the count does not end the wrong one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct State(u64);

/// The count is zero and dead.
pub(super) const IDLE: State = State(0);
/// It is live, and nobody changes it.
pub(super) const LIVE: State = State(1);
/// It is live; a thread makes it atomic.
pub(super) const TO_ATOMIC: State = State(2);
/// A thread makes it live or per-CPU.
pub(super) const TO_PERCPU: State = State(3);
/// A kill has not returned, or is not confirmed yet.
pub(super) const KILLING: State = State(4);
/// It is dead, and above zero or about to be released.
pub(super) const KILLED: State = State(5);

/// Added to a change: kill the count in the end.
pub(super) const KILL: State = State(8);
/// Added with `KILL`: the kill is to be confirmed.
pub(super) const CONFIRM: State = State(16);

const ONE: u64 = 32;

impl State {
    pub(super) const NONE: Self = State(0);
    pub(super) const PHASE: Self = State(7);
    pub(super) const NUMBER: Self = State(!(ONE - 1));

    pub(super) const fn only(self, part: Self) -> Self {
        Self(self.0 & part.0)
    }

    pub(super) const fn without(self, part: Self) -> Self {
        Self(self.0 & !part.0)
    }

    pub(super) const fn with(self, part: Self) -> Self {
        Self(self.0 | part.0)
    }

    /// Would a kill do something?
    pub(super) fn is_live(self) -> bool {
        matches!(self.without(Self::NUMBER), LIVE | TO_ATOMIC | TO_PERCPU)
    }

    /// Why a count that was seen like this cannot be switched.
    pub(super) fn not_live(self) -> Error {
        if self.is_live() {
            EBUSY
        } else {
            ENODEV
        }
    }
}

/// Where the state of a count is kept.
pub(super) struct Phase(Atomic<u64>);

impl Phase {
    /// Idle.
    pub(super) fn new() -> Self {
        Self(Atomic::new(IDLE.0))
    }

    pub(super) fn get(&self) -> State {
        State(self.0.load(Acquire))
    }

    /// Goes from phase `from`, with what was added to it, to `to`, and returns the new state; or
    /// what was seen instead.
    pub(super) fn begin(&self, from: State, to: State) -> Result<State, State> {
        let old = State(self.0.load(Relaxed));
        if old.without(State::NUMBER) != from {
            return Err(old);
        }
        let new = State(old.only(State::NUMBER).0.wrapping_add(ONE)).with(to);
        self.exchange(old, new).map(|()| new)
    }

    /// Goes from this very state to the phase `to`; fails with what was seen instead, if that is
    /// another one or something was added.
    pub(super) fn end(&self, from: State, to: State) -> Result<(), State> {
        self.exchange(from, from.only(State::NUMBER).with(to))
    }

    /// Adds to this very state; returns whether it did.
    pub(super) fn add(&self, to: State, what: State) -> bool {
        self.exchange(to, to.with(what)).is_ok()
    }

    fn exchange(&self, old: State, new: State) -> Result<(), State> {
        match self.0.cmpxchg(old.0, new.0, Full) {
            Ok(_) => Ok(()),
            Err(seen) => Err(State(seen)),
        }
    }
}

#[cfg(all(CONFIG_KUNIT, not(MODULE)))]
#[kunit_tests(rust_percpu_ref_phase)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_begins_from_one_other() {
        let phase = Phase::new();
        assert!(phase.begin(LIVE, KILLING).is_err());
        let change = phase.begin(IDLE, TO_PERCPU);
        assert!(change.is_ok());
        assert!(phase
            .begin(IDLE, TO_PERCPU)
            .is_err_and(|seen| Ok(seen) == change));
    }

    #[test]
    fn a_whole_life_later_it_is_another_phase() -> Result<(), State> {
        let phase = Phase::new();
        let overtaken = phase.begin(IDLE, TO_PERCPU)?;
        phase.end(overtaken, LIVE)?;
        phase.end(phase.begin(LIVE, KILLING)?, KILLED)?;
        phase.end(phase.get(), IDLE)?;
        let again = phase.begin(IDLE, TO_PERCPU)?;
        assert!(again != overtaken);
        assert!(again.without(State::NUMBER) == overtaken.without(State::NUMBER));
        assert!(phase.end(overtaken, LIVE).is_err());
        assert!(!phase.add(overtaken, KILL));
        phase.end(again, LIVE)
    }

    #[test]
    fn a_deferred_kill_keeps_a_change_from_ending() -> Result<(), State> {
        let phase = Phase::new();
        let change = phase.begin(IDLE, TO_PERCPU)?;
        assert!(phase.add(change, KILL.with(CONFIRM)));
        let seen = phase.end(change, LIVE).err();
        assert!(seen.is_some_and(|seen| seen.only(CONFIRM) == CONFIRM));
        assert!(!phase.get().is_live());
        phase.begin(TO_PERCPU.with(KILL).with(CONFIRM), KILLING)?;
        Ok(())
    }

    #[test]
    fn says_why_a_count_is_not_switched() {
        assert!([LIVE, TO_ATOMIC, TO_PERCPU]
            .iter()
            .all(|seen| seen.not_live() == EBUSY));
        assert!([IDLE, KILLING, KILLED]
            .iter()
            .all(|seen| seen.not_live() == ENODEV));
    }
}
