// SPDX-License-Identifier: GPL-2.0

//! In which context a thread is, and what that forbids.

use crate::c::rcu;
use std::cell::Cell;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Task,
    SoftIrq,
    HardIrq,
}

/// What a CPU would know of the thread that it runs.
struct State {
    id: Cell<usize>,
    level: Cell<Level>,
    irqs_off: Cell<usize>,
    preempt_off: Cell<usize>,
    readers: Cell<usize>,
    work: Cell<usize>,
}

thread_local! {
    static NEXT: Cell<usize> = const { Cell::new(0) };
}

shuttle::thread_local! {
    static STATE: State = State {
        id: Cell::new(NEXT.with(|next| next.replace(next.get() + 1))),
        level: Cell::new(Level::Task),
        irqs_off: Cell::new(0),
        preempt_off: Cell::new(0),
        readers: Cell::new(0),
        work: Cell::new(0),
    };
}

/// Begins an execution.
pub fn begin() {
    NEXT.with(|next| next.set(0));
}

pub fn current_id() -> usize {
    STATE.with(|state| state.id.get())
}

pub fn name() -> &'static str {
    STATE.with(|state| match state.level.get() {
        Level::HardIrq => "hardirq",
        Level::SoftIrq => "softirq",
        Level::Task if state.work.get() != 0 => "worker",
        Level::Task => "task",
    })
}

impl State {
    /// An RCU reader: by `rcu_read_lock()`, or as it cannot be preempted.
    fn is_reader(&self) -> bool {
        self.readers.get() + self.preempt_off.get() + self.irqs_off.get() > 0
            || self.level.get() != Level::Task
    }
}

/// Changes the state, and tells RCU whether the thread is a reader from here.
fn change(f: impl FnOnce(&State)) {
    STATE.with(|state| {
        let before = state.is_reader();
        f(state);
        match (before, state.is_reader()) {
            (false, true) => rcu::begin_reader(state.id.get()),
            (true, false) => rcu::end_reader(state.id.get()),
            _ => (),
        }
    });
}

fn add(count: &Cell<usize>) {
    count.set(count.get() + 1);
}

fn sub(count: &Cell<usize>) {
    count.set(count.get().checked_sub(1).expect("unbalanced"));
}

pub(crate) fn disable_irqs() {
    change(|state| add(&state.irqs_off));
}

pub(crate) fn enable_irqs() {
    change(|state| sub(&state.irqs_off));
}

pub(crate) fn preempt_disable() {
    change(|state| add(&state.preempt_off));
}

pub(crate) fn preempt_enable() {
    change(|state| sub(&state.preempt_off));
}

pub(crate) fn rcu_read_lock() {
    change(|state| add(&state.readers));
}

pub(crate) fn rcu_read_unlock() {
    change(|state| sub(&state.readers));
}

fn at_level(level: Level, f: impl FnOnce()) {
    let mut before = Level::Task;
    change(|state| before = state.level.replace(level));
    f();
    change(|state| state.level.set(before));
}

/// Runs `f` in a softirq.
pub fn in_softirq(f: impl FnOnce()) {
    at_level(Level::SoftIrq, f);
}

/// Runs `f` in a hard interrupt, with interrupts disabled.
pub fn in_hardirq(f: impl FnOnce()) {
    disable_irqs();
    at_level(Level::HardIrq, f);
    enable_irqs();
}

pub(crate) fn in_worker(work: usize, f: impl FnOnce()) {
    STATE.with(|state| state.work.set(work));
    f();
    STATE.with(|state| state.work.set(0));
}

pub(crate) fn current_work() -> usize {
    STATE.with(|state| state.work.get())
}

/// Task, softirq, hard interrupt: 0, 1, 2.
pub(crate) fn level() -> usize {
    STATE.with(|state| state.level.get() as usize)
}

pub fn interrupts_enabled() -> bool {
    STATE.with(|state| state.irqs_off.get() == 0)
}

/// A function that may sleep was called.
#[track_caller]
pub fn might_sleep() {
    assert!(
        !STATE.with(State::is_reader),
        "sleeping function called in a {} that may not sleep",
        name()
    );
    crate::check::point();
}
