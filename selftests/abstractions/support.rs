// SPDX-License-Identifier: GPL-2.0

//! What the tests share.

use crate::abstractions::{
    context::Context,
    sync::rcu::slot,
    workqueue::{
        Builder,
        OwnedQueue, //
    }, //
};
use core::ptr;
use kernel::{
    cpu::{nr_cpu_ids, CpuId},
    fmt::Debug,
    prelude::*,
    processor::cpu_relax,
    sync::{
        atomic::{Acquire, Atomic, Full, Relaxed, Release},
        Arc,
    },
    time::{delay::fsleep, Delta, Instant, Monotonic},
};

/// The contexts that a test can run code in: on PREEMPT_RT not a hard interrupt.
pub(crate) const CONTEXTS: &[Context] = if cfg!(CONFIG_PREEMPT_RT) {
    &[Context::Task, Context::SoftIrq]
} else {
    &[Context::Task, Context::SoftIrq, Context::HardIrq]
};

/// The one of them that is least like a task.
pub(crate) const IRQ: Context = CONTEXTS[CONTEXTS.len() - 1];

/// A test: it fails by returning an error.
pub(crate) struct Test {
    pub(crate) name: &'static str,
    pub(crate) run: fn() -> Result,
}

/// Lists the tests of a topic.
macro_rules! tests {
    ($topic:literal: $($test:ident),* $(,)?) => {
        pub(crate) static TESTS: &[crate::support::Test] = &[$(crate::support::Test {
            name: concat!($topic, ".", stringify!($test)),
            run: $test,
        }),*];
    };
}

/// The test ends here, unless the condition holds.
macro_rules! check {
    ($what:expr) => {
        if !$what {
            return Err(crate::support::failed(file!(), line!(), stringify!($what)));
        }
    };
}

/// The test ends here, unless both are equal.
macro_rules! check_eq {
    ($what:expr, $expected:expr) => {{
        let (what, expected) = (&$what, &$expected);
        if *what != *expected {
            return Err(crate::support::differs(
                file!(),
                line!(),
                stringify!($what),
                what,
                expected,
            ));
        }
    }};
}

/// The test ends here, unless that is this error.
macro_rules! check_err {
    ($what:expr, $error:expr) => {
        match $what {
            Err(error) => check_eq!(::kernel::error::Error::from(error), $error),
            Ok(_) => {
                return Err(crate::support::failed(
                    file!(),
                    line!(),
                    concat!(stringify!($what), " is no error"),
                ))
            }
        }
    };
}

static RUNNING: Atomic<*const Test> = Atomic::new(ptr::null());

/// Runs a test. One at a time.
pub(crate) fn run(test: &'static Test) -> Result {
    RUNNING.store(test, Release);
    let result = (test.run)();
    if let Err(error) = result {
        if error != EINVAL && error != EOPNOTSUPP {
            pr_err!("{}: it ended with {:?}\n", name(), error);
        }
    }
    result
}

fn name() -> &'static str {
    // SAFETY: Null or a static test.
    unsafe { RUNNING.load(Acquire).as_ref() }.map_or("?", |test| test.name)
}

fn base(file: &'static str) -> &'static str {
    file.rsplit('/').next().unwrap_or(file)
}

pub(crate) fn failed(file: &'static str, line: u32, what: &str) -> Error {
    pr_err!("{}: {}:{}: {}\n", name(), base(file), line, what);
    EINVAL
}

pub(crate) fn differs(
    file: &'static str,
    line: u32,
    what: &str,
    is: &dyn Debug,
    expected: &dyn Debug,
) -> Error {
    pr_err!(
        "{}: {}:{}: {} is {:?}, not {:?}\n",
        name(),
        base(file),
        line,
        what,
        is,
        expected
    );
    EINVAL
}

/// A number that contexts and CPUs share; mostly a static one, that a test begins by setting.
pub(crate) struct Counter(Atomic<usize>);

impl Counter {
    pub(crate) const fn new() -> Self {
        Self(Atomic::new(0))
    }

    pub(crate) fn set(&self, value: usize) {
        self.0.store(value, Release);
    }

    /// Adds one, and returns what it was.
    pub(crate) fn add(&self) -> usize {
        self.0.fetch_add(1, Full)
    }

    pub(crate) fn get(&self) -> usize {
        self.0.load(Acquire)
    }
}

/// Counts its drops.
pub(crate) struct Bell(pub(crate) &'static Counter);

impl Drop for Bell {
    fn drop(&mut self) {
        self.0.add();
    }
}

const PATIENCE: Delta = Delta::from_secs(30);

/// Sleeps until the condition holds; false when that takes too long.
pub(crate) fn eventually(condition: impl Fn() -> bool) -> bool {
    let begin = Instant::<Monotonic>::now();
    while !condition() {
        if begin.elapsed() > PATIENCE {
            return false;
        }
        fsleep(Delta::from_micros(200));
    }
    true
}

/// Does the condition stay false for a few ticks? Correct code always passes.
pub(crate) fn stays_false(condition: impl Fn() -> bool) -> bool {
    let begin = Instant::<Monotonic>::now();
    while begin.elapsed() < Delta::from_millis(20) {
        if condition() {
            return false;
        }
        fsleep(Delta::from_micros(500));
    }
    !condition()
}

/// Spins until the condition holds, in any context; false when that takes too long.
pub(crate) fn spin_until(condition: impl Fn() -> bool, limit: Delta) -> bool {
    let begin = Instant::<Monotonic>::now();
    while !condition() {
        if begin.elapsed() > limit {
            return false;
        }
        cpu_relax();
    }
    true
}

/// Lets others run, as a loop of its own would not on a kernel that preempts nobody.
pub(crate) fn give_way() {
    // Longer than what is waited for busily.
    fsleep(Delta::from_micros(20));
}

/// A reader of RCU, in a worker: no grace period ends before it is dropped (or for two seconds).
pub(crate) struct HeldGracePeriod {
    state: Arc<Counter>,
    queue: OwnedQueue,
}

impl HeldGracePeriod {
    pub(crate) fn new() -> Result<Self> {
        Self::by(|wait| slot::read(|_| wait()))
    }

    /// By another kind of reader, which calls `wait` as one.
    pub(crate) fn by(as_reader: fn(wait: &dyn Fn())) -> Result<Self> {
        let queue = Builder::unbound().build(c"kmemcg_test_hold", crate::handle()?)?;
        let state = Arc::new(Counter::new(), GFP_KERNEL)?;
        let reader = state.clone();
        queue.try_spawn(GFP_KERNEL, move || {
            as_reader(&|| {
                reader.set(1);
                spin_until(|| reader.get() == 2, Delta::from_secs(2));
            });
            reader.set(3);
        })?;
        if !eventually(|| state.get() == 1) {
            return Err(ETIMEDOUT);
        }
        Ok(Self { state, queue })
    }

    /// Is it still held?
    pub(crate) fn is_held(&self) -> bool {
        self.state.get() == 1
    }

    /// Lets it end.
    pub(crate) fn release(&self) {
        self.state.set(2);
        self.queue.flush();
    }
}

impl Drop for HeldGracePeriod {
    fn drop(&mut self) {
        if self.is_held() {
            self.state.set(2);
        }
    }
}

/// Calls `f` in `n` workers that begin together, on as many CPUs as there are, and waits for them.
/// Returns on how many CPUs they were.
pub(crate) fn in_parallel<F>(n: usize, f: F) -> Result<u32>
where
    F: Fn(usize) + Send + Sync + 'static,
{
    let queue = Builder::unbound().build(c"kmemcg_test_many", crate::handle()?)?;
    let shared = Arc::new((Counter::new(), Atomic::<u64>::new(0), f), GFP_KERNEL)?;
    for i in 0..n {
        let shared = shared.clone();
        queue.try_spawn(GFP_KERNEL, move || {
            let (arrived, cpus, f) = &*shared;
            arrived.add();
            // Where two workers meet on one CPU, waiting lets the scheduler part them; where nobody is preempted,
            // the others do not even come while one spins.
            let apart = || {
                let here = 1u64 << (CpuId::current().as_u32() % 64);
                loop {
                    let old = cpus.load(Relaxed);
                    if cpus.cmpxchg(old, old | here, Full).is_ok() {
                        break;
                    }
                }
                arrived.get() >= n && (cpus.load(Acquire).count_ones() >= 2 || nr_cpu_ids() < 2)
            };
            let begin = Instant::<Monotonic>::now();
            while !spin_until(apart, Delta::from_millis(1))
                && begin.elapsed() < Delta::from_millis(1000)
            {
                give_way();
            }
            f(i);
        })?;
    }
    queue.flush();
    Ok(shared.1.load(Acquire).count_ones())
}

/// On how many CPUs `in_parallel()` of two and more must have been.
pub(crate) fn cpus_expected() -> u32 {
    nr_cpu_ids().min(2)
}
