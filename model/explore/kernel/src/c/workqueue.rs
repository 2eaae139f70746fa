// SPDX-License-Identifier: GPL-2.0

//! `include/linux/workqueue.h`.
//!
//! An item that is queued runs later, in a worker, and not while it runs already. Nothing is said of the order of
//! items, but that no more than `max_active` run at once.

use crate::{
    check,
    check::{point, Waiters},
    context,
};
use core::ffi::{c_char, c_int, c_uint, c_ulong};
use std::cell::{Cell, RefCell};

#[allow(non_upper_case_globals)]
mod constants {
    use super::*;
    pub const wq_misc_consts_WORK_CPU_UNBOUND: c_uint = 64;
    pub const wq_consts_WQ_MAX_ACTIVE: c_uint = 2048;
    pub const wq_flags_WQ_UNBOUND: c_uint = 2;
    pub const wq_flags_WQ_FREEZABLE: c_uint = 4;
    pub const wq_flags_WQ_MEM_RECLAIM: c_uint = 8;
    pub const wq_flags_WQ_HIGHPRI: c_uint = 16;
    pub const wq_flags_WQ_CPU_INTENSIVE: c_uint = 32;
    pub const wq_flags_WQ_POWER_EFFICIENT: c_uint = 128;
    pub const wq_flags_WQ_PERCPU: c_uint = 256;
    pub const wq_flags___WQ_ORDERED: c_uint = 1 << 17;
    pub const TIMER_IRQSAFE: c_uint = 1 << 21;
}
pub use constants::*;

#[allow(non_camel_case_types)]
pub type work_func_t = Option<unsafe extern "C" fn(*mut work_struct)>;

#[repr(C)]
#[allow(non_camel_case_types)]
pub struct work_struct {
    func: work_func_t,
    /// Which queueing is pending; 0 for none.
    pending: Cell<usize>,
}

#[allow(non_camel_case_types)]
pub struct workqueue_struct {
    max_active: Cell<c_int>,
}

/// One queueing of an item.
#[derive(Clone, Copy)]
struct Item {
    number: usize,
    work: usize,
    queue: usize,
    runs: bool,
}

#[derive(Default)]
struct State {
    next: Cell<usize>,
    /// The items that are queued or run.
    items: RefCell<Vec<Item>>,
    changed: Waiters,
    queues: RefCell<Vec<Box<workqueue_struct>>>,
}

thread_local! {
    static STATE: State = State::default();
}

/// Begins an execution.
pub(super) fn begin() {
    STATE.with(|state| {
        state.next.set(1);
        state.items.borrow_mut().clear();
        state.queues.borrow_mut().clear();
        state.changed.begin();
    });
}

/// Waits until `none` of the items is left.
fn wait_until_none(mut of: impl FnMut(&Item) -> bool) {
    STATE.with(|state| {
        state
            .changed
            .wait_until(|| !state.items.borrow().iter().any(&mut of))
    });
}

fn may_run(item: &Item) -> bool {
    // SAFETY: A queue is kept until the end of the execution.
    let max_active = unsafe { &*(item.queue as *const workqueue_struct) }
        .max_active
        .get();
    STATE.with(|state| {
        let items = state.items.borrow();
        let runs_already = items
            .iter()
            .any(|other| other.runs && other.work == item.work);
        let active = items
            .iter()
            .filter(|other| other.runs && other.queue == item.queue)
            .count();
        !runs_already && active < max_active as usize
    })
}

fn is_pending(item: &Item) -> bool {
    STATE.with(|state| {
        state
            .items
            .borrow()
            .iter()
            .any(|other| other.number == item.number)
    })
}

fn remove(number: usize) {
    STATE.with(|state| {
        state
            .items
            .borrow_mut()
            .retain(|item| item.number != number);
        state.changed.wake();
    });
}

pub unsafe fn queue_work_on(
    _: c_int,
    queue: *mut workqueue_struct,
    work: *mut work_struct,
) -> bool {
    point();
    // SAFETY: The caller guarantees it.
    let pending = unsafe { &(*work).pending };
    if pending.get() != 0 {
        return false;
    }
    let number = STATE.with(|state| state.next.replace(state.next.get() + 1));
    pending.set(number);
    let item = Item {
        number,
        work: work as usize,
        queue: queue as usize,
        runs: false,
    };
    STATE.with(|state| state.items.borrow_mut().push(item));
    check::spawn_kernel(move || {
        STATE.with(|state| {
            state
                .changed
                .wait_until(|| !is_pending(&item) || may_run(&item))
        });
        if !is_pending(&item) {
            // Cancelled.
            return;
        }
        STATE.with(|state| {
            for other in &mut *state.items.borrow_mut() {
                other.runs |= other.number == number;
            }
        });
        let work = item.work as *mut work_struct;
        // SAFETY: Whoever queued the item keeps it until this.
        let func = unsafe {
            (*work).pending.set(0);
            (*work).func.expect("initialised")
        };
        // SAFETY: As above. The function may free the item.
        context::in_worker(item.work, || unsafe {
            point();
            func(work)
        });
        remove(number);
    });
    true
}

unsafe fn cancel(work: *mut work_struct) -> bool {
    point();
    // SAFETY: The caller guarantees it.
    let number = unsafe { (*work).pending.replace(0) };
    if number != 0 {
        remove(number);
    }
    number != 0
}

pub unsafe fn cancel_work(work: *mut work_struct) -> bool {
    // SAFETY: The caller guarantees it.
    unsafe { cancel(work) }
}

pub unsafe fn cancel_work_sync(work: *mut work_struct) -> bool {
    context::might_sleep();
    // SAFETY: The caller guarantees it.
    let was_pending = unsafe { cancel(work) };
    wait_until_none(|item| item.work == work as usize && item.runs);
    was_pending
}

pub unsafe fn __flush_workqueue(queue: *mut workqueue_struct) {
    context::might_sleep();
    let before = STATE.with(|state| state.next.get());
    wait_until_none(|item| item.queue == queue as usize && item.number < before);
}

pub unsafe fn drain_workqueue(queue: *mut workqueue_struct) {
    context::might_sleep();
    wait_until_none(|item| item.queue == queue as usize);
}

pub unsafe fn destroy_workqueue(queue: *mut workqueue_struct) {
    // SAFETY: The caller guarantees it.
    unsafe { drain_workqueue(queue) };
}

pub unsafe fn workqueue_set_max_active(queue: *mut workqueue_struct, max_active: c_int) {
    context::might_sleep();
    // SAFETY: The caller guarantees it.
    unsafe { &*queue }.max_active.set(max_active);
    STATE.with(|state| state.changed.wake());
}

pub unsafe fn current_work() -> *mut work_struct {
    context::current_work() as _
}

pub unsafe fn init_work_with_key(
    work: *mut work_struct,
    func: work_func_t,
    _: bool,
    _: *const c_char,
    _: *mut super::bindings::lock_class_key,
) {
    // SAFETY: The caller guarantees it.
    unsafe {
        work.write(work_struct {
            func,
            pending: Cell::new(0),
        })
    };
}

macro_rules! system_queues {
    ($($name:ident)*) => { $(
        #[allow(non_upper_case_globals)]
        pub static mut $name: *mut workqueue_struct = core::ptr::null_mut();
    )* };
}
system_queues! {
    system_wq system_highpri_wq system_long_wq system_unbound_wq system_freezable_wq system_power_efficient_wq
    system_freezable_power_efficient_wq system_bh_wq system_bh_highpri_wq
}

// Timers: no scenario has one.

#[repr(C)]
#[allow(non_camel_case_types)]
pub struct timer_list;

#[repr(C)]
#[allow(non_camel_case_types)]
pub struct delayed_work {
    pub work: work_struct,
    pub timer: timer_list,
}

pub unsafe extern "C" fn delayed_work_timer_fn(_: *mut timer_list) {}

pub unsafe fn timer_init_key(
    _: *mut timer_list,
    _: Option<unsafe extern "C" fn(*mut timer_list)>,
    _: c_uint,
    _: *const c_char,
    _: *mut super::bindings::lock_class_key,
) {
}

macro_rules! no_timers {
    ($($name:ident($($argument:ty),*);)*) => { $(
        pub unsafe fn $name($(_: $argument),*) -> bool {
            unimplemented!("no scenario has a timer")
        }
    )* };
}
no_timers! {
    queue_delayed_work_on(c_int, *mut workqueue_struct, *mut delayed_work, c_ulong);
    cancel_delayed_work(*mut delayed_work);
    cancel_delayed_work_sync(*mut delayed_work);
    disable_delayed_work(*mut delayed_work);
    disable_delayed_work_sync(*mut delayed_work);
}

pub mod helpers {
    use super::*;

    pub unsafe fn rust_kmemcg_alloc_workqueue(
        _: *const c_char,
        _: c_uint,
        max_active: c_int,
    ) -> *mut workqueue_struct {
        context::might_sleep();
        if check::fails() {
            return core::ptr::null_mut();
        }
        STATE.with(|state| {
            let mut queues = state.queues.borrow_mut();
            queues.push(Box::new(workqueue_struct {
                max_active: Cell::new(max_active),
            }));
            &raw mut **queues.last_mut().expect("just pushed")
        })
    }
}
