/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Trace events of rust_kmemcg: one for every step of the protocol. The events are
 * listed in rust_kmemcg_events.h; here are the classes that they are of.
 *
 * Every event has ctx: where the step ran (task, softirq, hardirq or nmi). A
 * worker is a task, too; its name (comm) begins with "kworker". The others, of
 * which numbers are never used twice, are those of
 *
 *   a root    root, name
 *   a group   group, parent, name
 *   a child   root, group (which owns it; 0 is the top of the tree), child (0 is
 *             the root's own cache; in child_request and child_abort there is
 *             no number yet)
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

#include "rust_kmemcg_events.h"

#endif /* _TRACE_RUST_KMEMCG_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH trace/events
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE rust_kmemcg
#include <trace/define_trace.h>
