// SPDX-License-Identifier: GPL-2.0

//! The trace events of this module, callable from safe code.
//!
//! `include/rust_kmemcg_events.h` says when each of them is emitted. All may be called in any
//! context, with locks held.
//!
//! # Examples
//!
//! ```
//! use rust_kmemcg::abstractions::trace;
//!
//! fn example() {
//!     trace::root_create(1, c"sessions");
//!     trace::child_release(1, 2, 3); // Of root 1, owned by group 2, number 3.
//! }
//! ```

use super::helpers;
use kernel::str::CStr;
use kernel::str::CStrExt as _;

macro_rules! root_events {
    ($($event:ident = $raw:ident;)*) => {$(
        #[doc = concat!("The event `", stringify!($event), "`.")]
        #[inline]
        pub fn $event(root: u64, name: &CStr) {
            // SAFETY: `name` is a C string that outlives the call; the event copies it.
            unsafe { helpers::$raw(root, name.as_char_ptr()) }
        }
    )*};
}

macro_rules! group_events {
    ($($event:ident = $raw:ident;)*) => {$(
        #[doc = concat!("The event `", stringify!($event), "`.")]
        #[inline]
        pub fn $event(group: u64, parent: u64, name: &CStr) {
            // SAFETY: `name` is a C string that outlives the call; the event copies it.
            unsafe { helpers::$raw(group, parent, name.as_char_ptr()) }
        }
    )*};
}

macro_rules! child_events {
    ($($event:ident = $raw:ident;)*) => {$(
        #[doc = concat!("The event `", stringify!($event), "`.")]
        #[inline]
        pub fn $event(root: u64, group: u64, child: u64) {
            // SAFETY: Passes integers only.
            unsafe { helpers::$raw(root, group, child) }
        }
    )*};
}

root_events! {
    root_create = rust_kmemcg_trace_root_create;
    root_close = rust_kmemcg_trace_root_close;
    root_dying = rust_kmemcg_trace_root_dying;
    root_drained = rust_kmemcg_trace_root_drained;
    root_busy = rust_kmemcg_trace_root_busy;
    root_destroy = rust_kmemcg_trace_root_destroy;
}

group_events! {
    group_create = rust_kmemcg_trace_group_create;
    group_offline = rust_kmemcg_trace_group_offline;
    group_free = rust_kmemcg_trace_group_free;
}

child_events! {
    child_request = rust_kmemcg_trace_child_request;
    child_abort = rust_kmemcg_trace_child_abort;
    child_create = rust_kmemcg_trace_child_create;
    child_offline = rust_kmemcg_trace_child_offline;
    child_defer_offline = rust_kmemcg_trace_child_defer_offline;
    child_reparent = rust_kmemcg_trace_child_reparent;
    child_rcu = rust_kmemcg_trace_child_rcu;
    child_kill = rust_kmemcg_trace_child_kill;
    child_mark_killed = rust_kmemcg_trace_child_mark_killed;
    child_resurrect = rust_kmemcg_trace_child_resurrect;
    child_release = rust_kmemcg_trace_child_release;
    child_defer_release = rust_kmemcg_trace_child_defer_release;
    child_shutdown = rust_kmemcg_trace_child_shutdown;
    child_free = rust_kmemcg_trace_child_free;
}
