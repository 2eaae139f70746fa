// SPDX-License-Identifier: GPL-2.0

//! Every execution with at most so many preemptions.
//!
//! A thread that waits gives way to any other, and each is tried. One that could go on is
//! preempted no more often than the bound says. Most faults need one or two preemptions at the right place.

use shuttle::scheduler::{Schedule, Scheduler, Task, TaskId};
use std::{cell::Cell, rc::Rc};

/// What a search has found out about itself.
#[derive(Clone, Default)]
pub struct Progress {
    pub executions: Rc<Cell<usize>>,
    /// All executions were tried.
    pub is_complete: Rc<Cell<bool>>,
}

pub struct Bounded {
    preemptions: usize,
    executions: usize,
    progress: Progress,
    /// For each choice, which option is taken, and how many there are.
    choices: Vec<(usize, usize)>,
    at: usize,
    left: usize,
}

impl Bounded {
    /// At most `executions` of them.
    pub fn new(preemptions: usize, executions: usize) -> (Self, Progress) {
        let progress = Progress::default();
        let this = Self {
            preemptions,
            executions,
            progress: progress.clone(),
            choices: vec![],
            at: 0,
            left: 0,
        };
        (this, progress)
    }

    fn choose(&mut self, options: usize) -> usize {
        if self.at == self.choices.len() {
            self.choices.push((0, options));
        }
        let (taken, of) = self.choices[self.at];
        assert_eq!(
            of, options,
            "an execution is not determined by its schedule"
        );
        self.at += 1;
        taken
    }
}

impl Scheduler for Bounded {
    fn new_execution(&mut self) -> Option<Schedule> {
        let done = &self.progress.executions;
        if done.get() > 0 {
            while self
                .choices
                .last()
                .is_some_and(|(taken, options)| taken + 1 == *options)
            {
                self.choices.pop();
            }
            match self.choices.last_mut() {
                Some((taken, _)) => *taken += 1,
                None => {
                    self.progress.is_complete.set(true);
                    return None;
                }
            }
        }
        if done.get() == self.executions {
            return None;
        }
        done.set(done.get() + 1);
        self.at = 0;
        self.left = self.preemptions;
        Some(Schedule::new(0))
    }

    fn next_task(
        &mut self,
        runnable: &[&Task],
        current: Option<TaskId>,
        _: bool,
    ) -> Option<TaskId> {
        let mut ids: Vec<_> = runnable.iter().map(|task| task.id()).collect();
        let going_on = ids.iter().position(|&id| Some(id) == current);
        if let Some(at) = going_on {
            ids.swap(0, at);
            if self.left == 0 {
                ids.truncate(1);
            }
        }
        let taken = if ids.len() == 1 {
            0
        } else {
            self.choose(ids.len())
        };
        if going_on.is_some() && taken > 0 {
            self.left -= 1;
        }
        Some(ids[taken])
    }

    fn next_u64(&mut self) -> u64 {
        unreachable!("nothing is random in a search to the end")
    }
}
