/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The trace events of rust_kmemcg, and what has happened when each is emitted.
 * Included several times, each time with other definitions of the three macros:
 * for the events (trace/events/rust_kmemcg.h) and for their entry points
 * (helpers.h, protocol/trace.c).
 *
 * Safe Rust calls the entry points (trace_events! in abstractions/tracepoint.rs):
 * rust_kmemcg_trace_EVENT() may be called in any context, with locks held. It
 * does nothing but emit the event, whose arguments are numbers and names. A name
 * is a C string, which it copies. No other helper has this prefix.
 */

/* A root cache can be allocated from. */
KMEMCG_ROOT_EVENT(root_create);
/* An asynchronous destroy began: the root serves nothing new, and goes after its last object. */
KMEMCG_ROOT_EVENT(root_close);
/* The dying flag was set: nothing is admitted for this root from here. */
KMEMCG_ROOT_EVENT(root_dying);
/* What was admitted before has ended: all callbacks, works, and grace periods of kills. */
KMEMCG_ROOT_EVENT(root_drained);
/* Objects live: the destroy failed, and the dying flag is clear again. */
KMEMCG_ROOT_EVENT(root_busy);
/* The root and all its children are gone. */
KMEMCG_ROOT_EVENT(root_destroy);

/* A group can own children. */
KMEMCG_GROUP_EVENT(group_create);
/* The group goes offline; its children belong to the parent afterwards. */
KMEMCG_GROUP_EVENT(group_offline);
/* The memory of the group is freed. */
KMEMCG_GROUP_EVENT(group_free);

/* The creation of a child was admitted and queued; it has no number yet (child is 0). */
KMEMCG_CHILD_EVENT(child_request);
/* The worker made no child: the group is offline, the root is dying, or there is no memory. */
KMEMCG_CHILD_EVENT(child_abort);
/* The child is published: allocations find it. */
KMEMCG_CHILD_EVENT(child_create);
/* The child is out of the lookup and its deactivation was admitted. */
KMEMCG_CHILD_EVENT(child_offline);
/* The child is out of the lookup; the root is dying: its deactivation is deferred. */
KMEMCG_CHILD_EVENT(child_defer_offline);
/* Its own group goes offline: "group" is the next owner. For a later owner there is no event. */
KMEMCG_CHILD_EVENT(child_reparent);
/* The grace period is over: the callback queues the deactivation work. */
KMEMCG_CHILD_EVENT(child_rcu);
/* The count is killed for good: by the deactivation, a close, or a maker that gives it up. */
KMEMCG_CHILD_EVENT(child_kill);
/* The destroyer of the root calls percpu_ref_kill(); if the destroy fails, that is undone. */
KMEMCG_CHILD_EVENT(child_mark_killed);
/* The destroy failed: the child is what it was before, and its count is made live again. */
KMEMCG_CHILD_EVENT(child_resurrect);
/* The last reference was put; the shutdown was admitted, its callback is queued. */
KMEMCG_CHILD_EVENT(child_release);
/* The last reference was put; the root is dying: the shutdown is deferred. */
KMEMCG_CHILD_EVENT(child_defer_release);
/* The child is unlinked; kmem_cache_destroy() comes next. */
KMEMCG_CHILD_EVENT(child_shutdown);
/* kmem_cache_destroy() and percpu_ref_exit() have returned. */
KMEMCG_CHILD_EVENT(child_free);
