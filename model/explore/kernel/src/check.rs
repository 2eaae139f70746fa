// SPDX-License-Identifier: GPL-2.0

//! The checker: shuttle. Nothing else in this crate knows which one it is.
//!
//! It runs one thread at a time, and only changes the thread in [`point`] and where one waits: so what is between
//! two such places is atomic, and plain cells serve as shared memory. Every access that other threads
//! can see the order of is preceded by a point.

use crate::context;
use shuttle::{
    future::block_on,
    rand::Rng,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};
use std::{
    alloc::{dealloc, Layout},
    cell::{Cell, RefCell},
    collections::VecDeque,
    future::poll_fn,
    task::{Poll, Waker},
};

static POINT: AtomicBool = AtomicBool::new(false);

/// What one execution shares, apart from what the objects of the kernel are.
#[derive(Default)]
struct World {
    choices: Cell<bool>,
    /// Kernel threads that run: for RCU callbacks and work items.
    threads: Cell<usize>,
    /// Allocations that are left until one fails.
    until_failure: Cell<Option<usize>>,
    steps: RefCell<Vec<Step>>,
    /// Record where each thread is, too.
    places: Cell<bool>,
    interrupts: RefCell<VecDeque<Box<dyn FnOnce()>>>,
    /// Memory that was freed. It is kept until the end, so that its use is an assertion, and no chaos.
    freed: RefCell<Vec<(*mut u8, Layout)>>,
}

thread_local! {
    // Shuttle runs all threads of an execution on one thread of the machine.
    static WORLD: World = World::default();
}

/// Begins an execution.
///
/// With `choices`, the checker also chooses at which point an interrupt happens, and which one of the first
/// `failing` allocations fails. Without, an interrupt has a thread of its own, and none fails.
pub fn begin(choices: bool, failing: usize) {
    let at = (choices && failing > 0).then(|| shuttle::rand::thread_rng().gen_range(0..failing));
    ENDED.with(Waiters::begin);
    WORLD.with(|world| {
        world.choices.set(choices);
        world.threads.set(0);
        world.until_failure.set(at);
        world.steps.borrow_mut().clear();
        world.interrupts.borrow_mut().clear();
        for (memory, layout) in world.freed.borrow_mut().drain(..) {
            // SAFETY: Allocated with that layout, and not used again: the execution is over.
            unsafe { dealloc(memory, layout) };
        }
    });
}

/// Here the checker may let another thread run, or an interrupt happen.
pub fn point() {
    if WORLD.with(|world| world.places.get()) {
        if let Some(place) = place() {
            record(place, true);
        }
    }
    POINT.load(Ordering::SeqCst);
    interrupt();
}

/// True now and then, in one of so many cases; the checker decides.
pub fn choose(one_in: u32) -> bool {
    shuttle::rand::thread_rng().gen_range(0..one_in) == 0
}

/// A line of the record of an execution.
#[derive(Clone)]
pub struct Step {
    pub thread: usize,
    pub context: &'static str,
    pub text: String,
    /// Not something that happens, but where the thread is.
    pub is_place: bool,
}

fn record(text: String, is_place: bool) {
    let step = Step {
        thread: context::current_id(),
        context: context::name(),
        text,
        is_place,
    };
    WORLD.with(|world| world.steps.borrow_mut().push(step));
}

/// Writes a line to the record of this execution.
pub fn note(text: &str) {
    record(text.into(), false);
}

/// The record of this execution.
pub fn steps() -> Vec<Step> {
    WORLD.with(|world| world.steps.borrow().clone())
}

/// From here on, record where each thread is. That takes time.
pub fn record_places() {
    WORLD.with(|world| world.places.set(true));
}

/// The innermost line of the protocol, or else of an abstraction, that is being executed.
fn place() -> Option<String> {
    let trace = std::backtrace::Backtrace::force_capture().to_string();
    let lines = |folder| {
        trace
            .lines()
            .find_map(move |line| line.trim().split_once(folder))
    };
    let (_, place) = lines("/protocol/").or_else(|| lines("/abstractions/"))?;
    Some(place.rsplit_once(':')?.0.into())
}

/// Does this allocation fail?
pub fn fails() -> bool {
    WORLD.with(|world| {
        let left = world.until_failure.get();
        world
            .until_failure
            .set(left.and_then(|left| left.checked_sub(1)));
        left == Some(0)
    })
}

/// Keeps memory that nobody may use again.
pub fn free_later(memory: *mut u8, layout: Layout) {
    if layout.size() > 0 {
        WORLD.with(|world| world.freed.borrow_mut().push((memory, layout)));
    }
}

/// Something that threads wait for.
#[derive(Default)]
pub struct Waiters(RefCell<Vec<Waker>>);

// SAFETY: The checker runs one thread at a time.
unsafe impl Send for Waiters {}
// SAFETY: As above.
unsafe impl Sync for Waiters {}

impl Waiters {
    pub const fn new() -> Self {
        Self(RefCell::new(Vec::new()))
    }

    /// Waits until the condition holds, which is asked again after each [`wake`](Self::wake).
    pub fn wait_until(&self, mut condition: impl FnMut() -> bool) {
        // Not `thread::park()`, which returns now and then for no reason.
        block_on(poll_fn(|context| {
            if condition() {
                return Poll::Ready(());
            }
            self.0.borrow_mut().push(context.waker().clone());
            Poll::Pending
        }));
    }

    /// Begins an execution, for those that live longer.
    pub(crate) fn begin(&self) {
        self.0.borrow_mut().clear();
    }

    pub fn wake(&self) {
        for waker in self.0.take() {
            waker.wake();
        }
    }
}

/// A thread of the test.
pub fn spawn(f: impl FnOnce() + Send + 'static) -> impl FnOnce() {
    let thread = thread::spawn(f);
    move || thread.join().unwrap()
}

thread_local! {
    static ENDED: Waiters = const { Waiters::new() };
}

/// A thread of the kernel, which nobody joins.
pub(crate) fn spawn_kernel(f: impl FnOnce() + 'static) {
    struct Sent<F>(F);
    // SAFETY: The checker runs one thread at a time.
    unsafe impl<F> Send for Sent<F> {}
    impl<F: FnOnce()> Sent<F> {
        fn call(self) {
            (self.0)()
        }
    }
    WORLD.with(|world| world.threads.set(world.threads.get() + 1));
    let sent = Sent(f);
    thread::spawn(move || {
        sent.call();
        WORLD.with(|world| world.threads.set(world.threads.get() - 1));
        ENDED.with(Waiters::wake);
    });
}

/// Waits until nothing is pending in the kernel: no callback, no work.
pub fn settle() {
    ENDED.with(|ended| ended.wait_until(|| WORLD.with(|world| world.threads.get() == 0)));
}

/// Something that happens in a hard interrupt, of any CPU on which they are enabled, at any point.
pub fn raise(f: impl FnOnce() + 'static) {
    if !WORLD.with(|world| world.choices.get()) {
        return spawn_kernel(|| context::in_hardirq(f));
    }
    WORLD.with(|world| world.interrupts.borrow_mut().push_back(Box::new(f)));
}

fn interrupt() {
    if !context::interrupts_enabled() {
        return;
    }
    let is_raised = WORLD.with(|world| !world.interrupts.borrow().is_empty());
    if is_raised && choose(8) {
        handle();
    }
}

/// Handles what was raised, at the latest now.
pub fn handle_all() {
    while handle() {}
}

fn handle() -> bool {
    let Some(f) = WORLD.with(|world| world.interrupts.borrow_mut().pop_front()) else {
        return false;
    };
    context::in_hardirq(f);
    true
}
