// SPDX-License-Identifier: GPL-2.0

//! The trace events: a function for each, which gets a closure that returns the arguments.
//!
//! `include/rust_kmemcg_events.h` says when each of them is emitted. All may be called in any
//! context, with locks held.

use crate::abstractions::tracepoint::trace_events;
use kernel::str::CStr;

trace_events! {
    (root: u64, name: &'a CStr)
    root_create;
    root_close;
    root_dying;
    root_drained;
    root_busy;
    root_destroy;
}

trace_events! {
    (group: u64, parent: u64, name: &'a CStr)
    group_create;
    group_offline;
    group_free;
}

trace_events! {
    (root: u64, group: u64, child: u64)
    child_request;
    child_abort;
    child_create;
    child_offline;
    child_defer_offline;
    child_reparent;
    child_rcu;
    child_kill;
    child_mark_killed;
    child_resurrect;
    child_release;
    child_defer_release;
    child_shutdown;
    child_free;
}
