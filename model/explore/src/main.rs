// SPDX-License-Identifier: GPL-2.0

//! Runs the scenarios; scripts/explore says how it is used.
//!
//! kmemcg-explore [--preemptions N] [--executions N] [--random N] [--seed N] [--seconds N] [--output DIR]
//!                [--replay FILE] [--list] [SCENARIO]...

mod chart;
mod options;

use kmemcg_explore::{
    bounded::Bounded,
    scenarios::{self, Scenario},
    schedule::{self, Recorded, Replay},
    world,
};
use options::{usage, Options};
use shuttle::{
    scheduler::{PctScheduler, RandomScheduler, Scheduler},
    Config, FailurePersistence, Runner,
};
use std::{
    fs,
    panic::set_hook,
    path::PathBuf,
    process::{exit, Command},
    time::{Duration, Instant},
};

/// How many places in an execution PCT changes the order of threads at.
const PCT_DEPTH: usize = 3;

fn config() -> Config {
    let mut config = Config::new();
    config.stack_size = 1 << 18;
    config.failure_persistence = FailurePersistence::None;
    config.silence_warnings = true;
    config
}

/// Runs the executions of a scheduler. One that fails ends the program, with its schedule in `file`.
fn run(
    scenario: &'static Scenario,
    choices: bool,
    scheduler: impl Scheduler + 'static,
    file: PathBuf,
) {
    // What has failed is not unwound: its destructors would fail again.
    set_hook(Box::new(move |panic| {
        schedule::save(&file).expect("to write the schedule");
        println!("# {panic}");
        let this = std::env::current_exe().expect("a program");
        let status = Command::new(this).arg("--replay").arg(&file).status();
        exit(status.ok().and_then(|status| status.code()).unwrap_or(1));
    }));
    Runner::new(Recorded(scheduler), config())
        .run(move || world::run(choices, scenario.failing, scenario.run));
}

/// Runs an execution that has failed again, and shows it.
fn replay(scenario: &'static Scenario, choices: bool, file: PathBuf) {
    let Some(replay) = Replay::load(&file) else {
        usage(&file.display().to_string());
    };
    kernel::check::record_places();
    set_hook(Box::new(move |panic| {
        chart::print();
        println!("# {panic}");
        println!("# its schedule: {}", file.display());
        println!("not ok {}:{}", scenario.name, scenario.what);
        exit(1);
    }));
    Runner::new(replay, config()).run(move || world::run(choices, scenario.failing, scenario.run));
    chart::print();
}

fn explore(options: &Options, scenario: &'static Scenario) {
    let begin = Instant::now();
    // Its end says what replays it.
    let schedule = |kind| options.output.join(format!("{}.{kind}", scenario.name));
    let (bounded, progress) = Bounded::new(options.preemptions, options.executions);
    if options.executions > 0 {
        run(scenario, false, bounded, schedule("bounded"));
    }
    let (mut random, mut seed) = (0, options.seed);
    loop {
        let half = options.random / 2;
        run(
            scenario,
            true,
            PctScheduler::new_from_seed(seed, PCT_DEPTH, half),
            schedule("random"),
        );
        run(
            scenario,
            true,
            RandomScheduler::new_from_seed(seed, half),
            schedule("random"),
        );
        random += options.random;
        seed += 1;
        if begin.elapsed() >= Duration::from_secs(options.seconds) {
            break;
        }
    }
    let searched = match progress.executions.get() {
        0 => String::new(),
        number => format!(
            "{} {number} executions with at most {} preemptions, ",
            if progress.is_complete.get() {
                "all"
            } else {
                "the first"
            },
            options.preemptions,
        ),
    };
    println!(
        "ok {}: {searched}{random} random ones, {} ms",
        scenario.name,
        begin.elapsed().as_millis(),
    );
}

fn main() {
    let options = Options::parse(std::env::args().skip(1));
    if let Some(file) = &options.replay {
        let (scenario, choices) = options.scenario_of(file);
        return replay(scenario, choices, file.clone());
    }
    fs::create_dir_all(&options.output).expect("a folder for the schedules");
    for scenario in scenarios::ALL
        .iter()
        .filter(|scenario| options.includes(scenario))
    {
        explore(&options, scenario);
    }
}
