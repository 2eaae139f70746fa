// SPDX-License-Identifier: GPL-2.0
/* The trace events, and their entry points for Rust. */

#include "helpers.h"

#define CREATE_TRACE_POINTS
#include "trace/events/rust_kmemcg.h"

#undef KMEMCG_ROOT_EVENT
#undef KMEMCG_GROUP_EVENT
#undef KMEMCG_CHILD_EVENT

#define KMEMCG_ROOT_EVENT(event)				\
	void rust_kmemcg_trace_##event(u64 root, const char *name) \
	{							\
		trace_##event(root, name);			\
	}
#define KMEMCG_GROUP_EVENT(event)				\
	void rust_kmemcg_trace_##event(u64 group, u64 parent,	\
				       const char *name)	\
	{							\
		trace_##event(group, parent, name);		\
	}
#define KMEMCG_CHILD_EVENT(event)				\
	void rust_kmemcg_trace_##event(u64 root, u64 group, u64 child) \
	{							\
		trace_##event(root, group, child);		\
	}

#include "rust_kmemcg_events.h"
