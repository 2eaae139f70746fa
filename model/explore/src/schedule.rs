// SPDX-License-Identifier: GPL-2.0

//! The schedule of an execution: what the checker chose, to be written down and chosen again.

use shuttle::scheduler::{Schedule, Scheduler, Task, TaskId};
use std::{cell::RefCell, fmt::Write, io, path::Path};

#[derive(Clone, Copy)]
enum Choice {
    Thread(usize),
    Number(u64),
}

thread_local! {
    static CHOICES: RefCell<Vec<Choice>> = const { RefCell::new(Vec::new()) };
}

fn push(choice: Choice) {
    CHOICES.with(|choices| choices.borrow_mut().push(choice));
}

/// Writes down what another scheduler chooses.
pub struct Recorded<S>(pub S);

impl<S: Scheduler> Scheduler for Recorded<S> {
    fn new_execution(&mut self) -> Option<Schedule> {
        CHOICES.with(|choices| choices.borrow_mut().clear());
        self.0.new_execution()
    }

    fn next_task(
        &mut self,
        runnable: &[&Task],
        current: Option<TaskId>,
        is_yielding: bool,
    ) -> Option<TaskId> {
        let next = self.0.next_task(runnable, current, is_yielding);
        if let Some(next) = next {
            push(Choice::Thread(next.into()));
        }
        next
    }

    fn next_u64(&mut self) -> u64 {
        let number = self.0.next_u64();
        push(Choice::Number(number));
        number
    }
}

/// Writes the schedule of the last execution: a line for each choice.
pub fn save(file: &Path) -> io::Result<()> {
    let mut text = String::new();
    CHOICES.with(|choices| {
        for choice in &*choices.borrow() {
            // Writing to a string does not fail.
            let _ = match choice {
                Choice::Thread(id) => writeln!(text, "thread {id}"),
                Choice::Number(number) => writeln!(text, "number {number}"),
            };
        }
    });
    std::fs::write(file, text)
}

/// One execution, by its schedule.
pub struct Replay {
    choices: std::vec::IntoIter<Choice>,
    is_new: bool,
}

impl Replay {
    /// None where the file is not a schedule.
    pub fn load(file: &Path) -> Option<Self> {
        let parse = |line: &str| match line.split_once(' ')? {
            ("thread", id) => Some(Choice::Thread(id.parse().ok()?)),
            ("number", number) => Some(Choice::Number(number.parse().ok()?)),
            _ => None,
        };
        let text = std::fs::read_to_string(file).ok()?;
        let choices: Option<Vec<_>> = text.lines().map(parse).collect();
        Some(Self {
            choices: choices?.into_iter(),
            is_new: true,
        })
    }
}

impl Scheduler for Replay {
    fn new_execution(&mut self) -> Option<Schedule> {
        std::mem::take(&mut self.is_new).then(|| Schedule::new(0))
    }

    fn next_task(&mut self, runnable: &[&Task], _: Option<TaskId>, _: bool) -> Option<TaskId> {
        let Some(Choice::Thread(id)) = self.choices.next() else {
            panic!("this is the schedule of another source");
        };
        let next = runnable
            .iter()
            .map(|task| task.id())
            .find(|&runs| usize::from(runs) == id);
        Some(next.expect("this is the schedule of another source"))
    }

    fn next_u64(&mut self) -> u64 {
        match self.choices.next() {
            Some(Choice::Number(number)) => number,
            _ => panic!("this is the schedule of another source"),
        }
    }
}
