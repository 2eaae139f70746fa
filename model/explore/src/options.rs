// SPDX-License-Identifier: GPL-2.0

//! The command line.

use kmemcg_explore::scenarios::{Scenario, ALL};
use std::{
    path::{Path, PathBuf},
    process::exit,
    str::FromStr,
};

pub struct Options {
    /// The bound of the search, and how many executions it may have.
    pub preemptions: usize,
    pub executions: usize,
    /// How many random executions follow, and from which seed on.
    pub random: usize,
    pub seed: u64,
    /// For how long, for each scenario.
    pub seconds: u64,
    /// Where schedules are written.
    pub output: PathBuf,
    pub replay: Option<PathBuf>,
    names: Vec<String>,
}

impl Options {
    pub fn parse(mut arguments: impl Iterator<Item = String>) -> Self {
        let mut options = Self {
            preemptions: 1,
            executions: 8_000,
            random: 2_000,
            seed: 1,
            seconds: 0,
            output: ".".into(),
            replay: None,
            names: vec![],
        };
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().unwrap_or_else(|| usage(&argument));
            match &*argument {
                "--preemptions" => options.preemptions = number(&value()),
                "--executions" => options.executions = number(&value()),
                "--random" => options.random = number(&value()),
                "--seed" => options.seed = number(&value()),
                "--seconds" => options.seconds = number(&value()),
                "--output" => options.output = value().into(),
                "--replay" => options.replay = Some(value().into()),
                "--list" => {
                    for scenario in ALL {
                        println!("{:24}{}", scenario.name, scenario.what);
                    }
                    exit(0);
                }
                name if ALL.iter().any(|scenario| scenario.name == name) => {
                    options.names.push(argument)
                }
                _ => usage(&argument),
            }
        }
        options
    }

    pub fn includes(&self, scenario: &Scenario) -> bool {
        self.names.is_empty() || self.names.iter().any(|name| name == scenario.name)
    }

    /// What a schedule is of, by its name; and whether the checker made choices in it.
    pub fn scenario_of(&self, schedule: &Path) -> (&'static Scenario, bool) {
        let name = schedule.file_stem().unwrap_or_default();
        let choices = schedule.extension().is_some_and(|kind| kind == "random");
        let scenario = ALL.iter().find(|scenario| name == scenario.name);
        (
            scenario.unwrap_or_else(|| usage(&schedule.display().to_string())),
            choices,
        )
    }
}

fn number<N: FromStr>(text: &str) -> N {
    text.parse().unwrap_or_else(|_| usage(text))
}

pub fn usage(what: &str) -> ! {
    eprintln!("explore: what is {what}?");
    exit(2)
}
