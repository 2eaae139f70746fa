/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Trace events of rust_kmemcg: one for every step of the protocol.
 *
 * Fields that every event has:
 *
 *   ctx     where the step ran: task, softirq, hardirq or nmi. A worker is a
 *           task too; its name (comm) begins with "kworker".
 *   root    number of the root cache; never used twice
 *   group   number of the group that owns the child; 0 is the top of the tree
 *   child   number of the child cache within the module; 0 is no child
 *
 * Enable them all with
 *   echo 1 > /sys/kernel/tracing/events/rust_kmemcg/enable
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM rust_kmemcg

#if !defined(_TRACE_RUST_KMEMCG_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_RUST_KMEMCG_H

#include "helpers.h"
#include <linux/tracepoint.h>

#define show_kmemcg_ctx(ctx)			\
	__print_symbolic(ctx,			\
		{ 0, "task" },			\
		{ 1, "softirq" },		\
		{ 2, "hardirq" },		\
		{ 3, "nmi" })

DECLARE_EVENT_CLASS(kmemcg_root,
	TP_PROTO(u64 root, const char *name),
	TP_ARGS(root, name),
	TP_STRUCT__entry(
		__field(u64, root)
		__field(u8, ctx)
		__string(name, name)
	),
	TP_fast_assign(
		__entry->root = root;
		__entry->ctx = kmemcg_context();
		__assign_str(name);
	),
	TP_printk("ctx=%s root=%llu name=%s", show_kmemcg_ctx(__entry->ctx),
		  __entry->root, __get_str(name))
);

#define KMEMCG_ROOT_EVENT(event)			\
DEFINE_EVENT(kmemcg_root, event,			\
	TP_PROTO(u64 root, const char *name),		\
	TP_ARGS(root, name))

/* A root cache can be allocated from. */
KMEMCG_ROOT_EVENT(root_create);
/* An asynchronous destroy began: the root serves nothing new, and goes after its last object. */
KMEMCG_ROOT_EVENT(root_close);
/* The dying flag was set: nothing is admitted for this root from here. */
KMEMCG_ROOT_EVENT(root_dying);
/* rcu_barrier(), flush_workqueue() and rcu_barrier() have returned. */
KMEMCG_ROOT_EVENT(root_drained);
/* Objects live: the destroy failed, and the dying flag is clear again. */
KMEMCG_ROOT_EVENT(root_busy);
/* The root and all its children are gone. */
KMEMCG_ROOT_EVENT(root_destroy);

DECLARE_EVENT_CLASS(kmemcg_group,
	TP_PROTO(u64 group, u64 parent, const char *name),
	TP_ARGS(group, parent, name),
	TP_STRUCT__entry(
		__field(u64, group)
		__field(u64, parent)
		__field(u8, ctx)
		__string(name, name)
	),
	TP_fast_assign(
		__entry->group = group;
		__entry->parent = parent;
		__entry->ctx = kmemcg_context();
		__assign_str(name);
	),
	TP_printk("ctx=%s group=%llu parent=%llu name=%s",
		  show_kmemcg_ctx(__entry->ctx), __entry->group,
		  __entry->parent, __get_str(name))
);

#define KMEMCG_GROUP_EVENT(event)				\
DEFINE_EVENT(kmemcg_group, event,				\
	TP_PROTO(u64 group, u64 parent, const char *name),	\
	TP_ARGS(group, parent, name))

/* A group can own children. */
KMEMCG_GROUP_EVENT(group_create);
/* The group went offline; its children belong to the parent from here. */
KMEMCG_GROUP_EVENT(group_offline);
/* The memory of the group is freed. */
KMEMCG_GROUP_EVENT(group_free);

DECLARE_EVENT_CLASS(kmemcg_child,
	TP_PROTO(u64 root, u64 group, u64 child),
	TP_ARGS(root, group, child),
	TP_STRUCT__entry(
		__field(u64, root)
		__field(u64, group)
		__field(u64, child)
		__field(u8, ctx)
	),
	TP_fast_assign(
		__entry->root = root;
		__entry->group = group;
		__entry->child = child;
		__entry->ctx = kmemcg_context();
	),
	TP_printk("ctx=%s root=%llu group=%llu child=%llu",
		  show_kmemcg_ctx(__entry->ctx), __entry->root,
		  __entry->group, __entry->child)
);

#define KMEMCG_CHILD_EVENT(event)			\
DEFINE_EVENT(kmemcg_child, event,			\
	TP_PROTO(u64 root, u64 group, u64 child),	\
	TP_ARGS(root, group, child))

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
/* The group went offline: "group" is the new owner of the child. */
KMEMCG_CHILD_EVENT(child_reparent);
/* The grace period is over: the callback queues the deactivation work. */
KMEMCG_CHILD_EVENT(child_rcu);
/* percpu_ref_kill() comes next, for good: by the deactivation work, or by a close. */
KMEMCG_CHILD_EVENT(child_kill);
/* The destroyer of the root calls percpu_ref_kill(); if the destroy fails, that is undone. */
KMEMCG_CHILD_EVENT(child_mark_killed);
/* The destroy failed: the count is live again. */
KMEMCG_CHILD_EVENT(child_resurrect);
/* The last reference was put; the shutdown was admitted, its callback is queued. */
KMEMCG_CHILD_EVENT(child_release);
/* The last reference was put; the root is dying: the shutdown is deferred. */
KMEMCG_CHILD_EVENT(child_defer_release);
/* The child is unlinked; kmem_cache_destroy() comes next. */
KMEMCG_CHILD_EVENT(child_shutdown);
/* kmem_cache_destroy() and percpu_ref_exit() have returned. */
KMEMCG_CHILD_EVENT(child_free);

#endif /* _TRACE_RUST_KMEMCG_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH trace/events
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE rust_kmemcg
#include <trace/define_trace.h>
