// SPDX-License-Identifier: GPL-2.0
/* The trace events, and their entry points for Rust. */

#include "helpers.h"

#define CREATE_TRACE_POINTS
#include "trace/events/rust_kmemcg.h"

#define ROOT(event)						\
	void rust_kmemcg_trace_##event(u64 root, const char *name) \
	{							\
		trace_##event(root, name);			\
	}
#define GROUP(event)						\
	void rust_kmemcg_trace_##event(u64 group, u64 parent,	\
				       const char *name)	\
	{							\
		trace_##event(group, parent, name);		\
	}
#define CHILD(event)						\
	void rust_kmemcg_trace_##event(u64 root, u64 group, u64 child) \
	{							\
		trace_##event(root, group, child);		\
	}

RUST_KMEMCG_ROOT_EVENTS(ROOT)
RUST_KMEMCG_GROUP_EVENTS(GROUP)
RUST_KMEMCG_CHILD_EVENTS(CHILD)
