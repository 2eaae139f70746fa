// SPDX-License-Identifier: GPL-2.0

//! Hooks on tracepoints.

use crate::{
    abstractions::{
        slab::{
            KmemCache,
            Options, //
        },
        tracepoint::Probe,
        workqueue, //
    },
    support::{
        eventually,
        spin_until,
        Counter, //
    }, //
};
use core::ptr;
use kernel::{
    bindings,
    ffi::{c_int, c_uint, c_ulong, c_void},
    prelude::*,
    sync::{
        atomic::{Acquire, Atomic, Release},
        Arc,
    },
    task::Task,
    time::{delay::fsleep, Delta},
};

tests! { "tracepoint":
    unknown_names_are_enoent,
    hook_counts_until_it_is_dropped,
    data_arrives,
    two_hooks_on_one_tracepoint,
    same_hook_twice_is_eexist,
    drop_waits_for_a_running_hook,
}

static CALLS: Counter = Counter::new();

/// # Safety
///
/// Called by the tracepoint that it was registered at only.
unsafe extern "C" fn on_switch(
    data: *mut c_void,
    _preempt: bool,
    _prev: *mut bindings::task_struct,
    _next: *mut bindings::task_struct,
    _state: c_uint,
) {
    // SAFETY: The probes below pass a static counter, or null.
    if let Some(counter) = unsafe { data.cast::<Counter>().as_ref() } {
        counter.add();
    }
}

fn on_sched_switch(counter: &'static Counter) -> Result<Probe> {
    let data = ptr::from_ref(counter).cast_mut().cast();
    // SAFETY: The arguments are those of the tracepoint; the function counts.
    unsafe { Probe::new(c"sched_switch", on_switch as *mut c_void, data) }
}

/// Nothing, an event group, and a name that begins like one.
fn unknown_names_are_enoent() -> Result {
    for name in [
        c"",
        c"sched",
        c"sched_switch_",
        c"kmemcg_test_nothing",
        c"sched:sched_switch",
    ] {
        // SAFETY: There is no such tracepoint.
        let probe = unsafe { Probe::new(name, on_switch as *mut c_void, ptr::null_mut()) };
        check_err!(probe, ENOENT);
    }
    Ok(())
}

/// Not before, not after.
fn hook_counts_until_it_is_dropped() -> Result {
    CALLS.set(0);
    fsleep(Delta::from_millis(2));
    check_eq!(CALLS.get(), 0);
    let probe = on_sched_switch(&CALLS)?;
    check!(eventually(|| CALLS.get() >= 10));
    drop(probe);
    let calls = CALLS.get();
    for _ in 0..10 {
        fsleep(Delta::from_millis(1));
    }
    check_eq!(CALLS.get(), calls);
    Ok(())
}

/// Null, too.
fn data_arrives() -> Result {
    // SAFETY: The arguments are those of the tracepoint; null is looked for.
    drop(unsafe { Probe::new(c"sched_switch", on_switch as *mut c_void, ptr::null_mut()) }?);
    static OTHER: Counter = Counter::new();
    CALLS.set(0);
    OTHER.set(0);
    let probe = on_sched_switch(&OTHER)?;
    check!(eventually(|| OTHER.get() > 0));
    drop(probe);
    check_eq!(CALLS.get(), 0);
    Ok(())
}

/// Each has its data; one goes, the other stays.
fn two_hooks_on_one_tracepoint() -> Result {
    static OTHER: Counter = Counter::new();
    CALLS.set(0);
    OTHER.set(0);
    let (one, two) = (on_sched_switch(&CALLS)?, on_sched_switch(&OTHER)?);
    check!(eventually(|| CALLS.get() > 2 && OTHER.get() > 2));
    drop(one);
    let (calls, others) = (CALLS.get(), OTHER.get());
    check!(eventually(|| OTHER.get() > others + 2));
    check_eq!(CALLS.get(), calls);
    drop(two);
    Ok(())
}

/// The same function with the same data: an error, and no warning of the kernel.
fn same_hook_twice_is_eexist() -> Result {
    CALLS.set(0);
    let probe = on_sched_switch(&CALLS)?;
    check_err!(on_sched_switch(&CALLS), EEXIST);
    let calls = CALLS.get();
    check!(eventually(|| CALLS.get() > calls));
    drop(probe);
    Ok(())
}

/// The task whose allocation is looked at; where the probe is.
static TASK: Atomic<*mut bindings::task_struct> = Atomic::new(ptr::null_mut());
static STATE: Counter = Counter::new();

/// # Safety
///
/// Called by the tracepoint that it was registered at only.
unsafe extern "C" fn on_alloc(
    _data: *mut c_void,
    _call_site: c_ulong,
    _ptr: *const c_void,
    _cache: *mut bindings::kmem_cache,
    _flags: bindings::gfp_t,
    _node: c_int,
) {
    if Task::current_raw() == TASK.load(Acquire) && STATE.get() == 0 {
        STATE.set(1);
        // Longer than any grace period that does not wait for this.
        spin_until(|| STATE.get() == 2, Delta::from_millis(300));
        STATE.set(3);
    }
}

/// Nobody is in the function when the drop has returned, however slow it is.
fn drop_waits_for_a_running_hook() -> Result {
    STATE.set(0);
    TASK.store(ptr::null_mut(), Release);
    // SAFETY: The arguments are those of the tracepoint, and are not used.
    let probe = unsafe {
        Probe::new(
            c"kmem_cache_alloc",
            on_alloc as *mut c_void,
            ptr::null_mut(),
        )
    }?;
    let cache = Arc::new(
        KmemCache::<u64>::new(c"kmemcg_test_trace", Options::new())?,
        GFP_KERNEL,
    )?;
    let allocates = cache.clone();
    let queue = workqueue::Builder::unbound().build(c"kmemcg_test_trace", crate::handle()?)?;
    queue.try_spawn(GFP_KERNEL, move || {
        TASK.store(Task::current_raw(), Release);
        let _ = allocates.alloc(1, GFP_KERNEL);
        TASK.store(ptr::null_mut(), Release);
    })?;
    let entered = eventually(|| STATE.get() != 0);
    drop(probe);
    let state = STATE.get();
    queue.flush();
    check!(entered);
    check_eq!(state, 3);
    Ok(())
}
