/* SPDX-License-Identifier: GPL-2.0 */
/*
 * C that Rust cannot call by itself: inline functions of the kernel, and the
 * entry points of our trace events. bindgen reads this header (see Kbuild);
 * abstractions/ holds the definitions, protocol/trace.c those of the events, and
 * abstractions/ is the only folder that uses them.
 */
#ifndef _RUST_KMEMCG_HELPERS_H
#define _RUST_KMEMCG_HELPERS_H

#include <linux/module.h>
#include <linux/percpu-refcount.h>
#include <linux/preempt.h>
#include <linux/types.h>

/* A helper that can be inlined into Rust; as in rust/helpers/helpers.c. */
#ifndef __rust_helper
#define __rust_helper __always_inline
#endif

void rust_kmemcg_percpu_ref_get(struct percpu_ref *ref);
bool rust_kmemcg_percpu_ref_tryget(struct percpu_ref *ref);
bool rust_kmemcg_percpu_ref_tryget_live(struct percpu_ref *ref);
/*
 * False does not mean that the count is dead: fall back to tryget_live(). The
 * caller is an RCU reader.
 */
bool rust_kmemcg_percpu_ref_tryget_percpu(struct percpu_ref *ref);
void rust_kmemcg_percpu_ref_put(struct percpu_ref *ref);
bool rust_kmemcg_percpu_ref_is_dying(struct percpu_ref *ref);
bool rust_kmemcg_percpu_ref_is_exact(struct percpu_ref *ref);
long rust_kmemcg_percpu_ref_count(struct percpu_ref *ref, bool to_percpu);

struct kmem_cache;
void *rust_kmemcg_kmem_cache_alloc(struct kmem_cache *cache, gfp_t flags);
void *rust_kmemcg_kmem_cache_alloc_node(struct kmem_cache *cache, gfp_t flags,
					int node);
bool rust_kmemcg_kmem_cache_alloc_bulk(struct kmem_cache *cache, gfp_t flags,
				       size_t size, void **objects);

struct workqueue_struct;
struct workqueue_struct *rust_kmemcg_alloc_workqueue(const char *name,
						     unsigned int flags,
						     int max_active);

unsigned long rust_kmemcg_jiffies(void);
u64 rust_kmemcg_jiffies_to_usecs(unsigned long ticks);

void rust_kmemcg_preempt_disable(void);
void rust_kmemcg_preempt_enable(void);

void rust_kmemcg_call_rcu_hurry(struct rcu_head *head, rcu_callback_t func);

/*
 * Is the address in the memory of @module? NULL is the kernel itself: yes,
 * unless the caller is a module.
 */
bool rust_kmemcg_in_module(const void *address, const struct module *module);

void rust_kmemcg_synchronize_rcu_tasks(void);

struct ida;
void rust_kmemcg_ida_init(struct ida *ida);

struct tracepoint;
int rust_kmemcg_tracepoint_probe_register_may_exist(struct tracepoint *tp,
						    void *probe, void *data);
void rust_kmemcg_tracepoint_synchronize_unregister(void);

#ifdef CONFIG_CGROUPS
struct cgroup;
u64 rust_kmemcg_cgroup_id(struct cgroup *cgrp);
struct cgroup *rust_kmemcg_cgroup_parent(struct cgroup *cgrp);
bool rust_kmemcg_cgroup_is_online(struct cgroup *cgrp);
bool rust_kmemcg_cgroup_on_dfl(struct cgroup *cgrp);
int rust_kmemcg_cgroup_path(struct cgroup *cgrp, char *buffer, size_t size);
void rust_kmemcg_cgroup_get(struct cgroup *cgrp);
void rust_kmemcg_cgroup_put(struct cgroup *cgrp);
u64 rust_kmemcg_current_cgroup_id(void);
struct cgroup *rust_kmemcg_cgroup_next(struct cgroup *prev);
#ifdef CONFIG_MEMCG
struct mem_cgroup;
struct mem_cgroup *rust_kmemcg_cgroup_memcg(struct cgroup *cgrp);
void rust_kmemcg_memcg_put(struct mem_cgroup *memcg);
struct mem_cgroup *rust_kmemcg_set_active_memcg(struct mem_cgroup *memcg);
bool rust_kmemcg_memcg_is_active(struct mem_cgroup *memcg);
#endif
#endif

/*
 * 0: task, 1: softirq, 2: hard irq, 3: NMI. interrupt_context_level() sees no
 * softirq on PREEMPT_RT, which counts them elsewhere.
 */
static inline unsigned int kmemcg_context(void)
{
	if (in_nmi())
		return 3;
	if (in_hardirq())
		return 2;
	return in_serving_softirq() ? 1 : 0;
}

unsigned int rust_kmemcg_context(void);
bool rust_kmemcg_in_interrupt(void);
bool rust_kmemcg_irqs_disabled(void);

/*
 * For each trace event its tracepoint, which says whether the event is enabled, and
 * its entry point.
 */
#define KMEMCG_ROOT_EVENT(event)			\
	extern struct tracepoint __tracepoint_##event;		\
	void rust_kmemcg_trace_##event(u64 root, const char *name)
#define KMEMCG_GROUP_EVENT(event)			\
	extern struct tracepoint __tracepoint_##event;		\
	void rust_kmemcg_trace_##event(u64 group, u64 parent, const char *name)
#define KMEMCG_CHILD_EVENT(event)			\
	extern struct tracepoint __tracepoint_##event;		\
	void rust_kmemcg_trace_##event(u64 root, u64 group, u64 child)

#include "rust_kmemcg_events.h"

#undef KMEMCG_ROOT_EVENT
#undef KMEMCG_GROUP_EVENT
#undef KMEMCG_CHILD_EVENT

#endif
