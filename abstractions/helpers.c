// SPDX-License-Identifier: GPL-2.0
/* Inline functions and macros of the kernel, made callable from Rust. */

#include <linux/idr.h>
#include <linux/irqflags.h>
#include <linux/jiffies.h>
#include <linux/math64.h>
#include <linux/nodemask.h>
#include <linux/preempt.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/stop_machine.h>
#include <linux/tracepoint.h>
#include <linux/workqueue.h>

#include "helpers.h"
#include "percpu_ref_preempt.h"

__rust_helper void rust_kmemcg_percpu_ref_get(struct percpu_ref *ref)
{
	percpu_ref_get(ref);
}

__rust_helper bool rust_kmemcg_percpu_ref_tryget(struct percpu_ref *ref)
{
	return percpu_ref_tryget(ref);
}

__rust_helper bool rust_kmemcg_percpu_ref_tryget_live(struct percpu_ref *ref)
{
	return kmemcg_ref_tryget_live(ref);
}

__rust_helper bool rust_kmemcg_percpu_ref_tryget_percpu(struct percpu_ref *ref)
{
	return kmemcg_ref_tryget_percpu(ref);
}

__rust_helper void rust_kmemcg_percpu_ref_put(struct percpu_ref *ref)
{
	kmemcg_ref_put(ref);
}

/* Macros: with allocation profiling, the allocations are counted here. */
__rust_helper void *rust_kmemcg_kmem_cache_alloc(struct kmem_cache *cache,
						 gfp_t flags)
{
	return kmem_cache_alloc(cache, flags);
}

/*
 * A node that is not online may have no page allocator to ask. It is no more
 * than a preference, unless with __GFP_THISNODE.
 */
__rust_helper void *rust_kmemcg_kmem_cache_alloc_node(struct kmem_cache *cache,
						      gfp_t flags, int node)
{
	if (node != NUMA_NO_NODE && !node_online(node)) {
		if (flags & __GFP_THISNODE)
			return NULL;
		node = NUMA_NO_NODE;
	}
	return kmem_cache_alloc_node(cache, flags, node);
}

__rust_helper bool rust_kmemcg_kmem_cache_alloc_bulk(struct kmem_cache *cache,
						     gfp_t flags, size_t size,
						     void **objects)
{
	return kmem_cache_alloc_bulk(cache, flags, size, objects);
}

struct workqueue_struct *rust_kmemcg_alloc_workqueue(const char *name,
						     unsigned int flags,
						     int max_active)
{
	return alloc_workqueue("%s", flags, max_active, name);
}

__rust_helper unsigned long rust_kmemcg_jiffies(void)
{
	return jiffies;
}

u64 rust_kmemcg_jiffies_to_usecs(unsigned long ticks)
{
	return div_u64(jiffies64_to_nsecs(ticks), NSEC_PER_USEC);
}

__rust_helper void rust_kmemcg_preempt_disable(void)
{
	preempt_disable();
}

__rust_helper void rust_kmemcg_preempt_enable(void)
{
	preempt_enable();
}

__rust_helper bool rust_kmemcg_percpu_ref_is_dying(struct percpu_ref *ref)
{
	return percpu_ref_is_dying(ref);
}

/* Is it atomic, and has the switch to atomic ended? */
__rust_helper bool rust_kmemcg_percpu_ref_is_exact(struct percpu_ref *ref)
{
	return READ_ONCE(ref->percpu_count_ptr) & __PERCPU_REF_ATOMIC &&
	       !READ_ONCE(ref->data->confirm_switch);
}

/*
 * The references that are held, as far as that can be said without stopping
 * anybody. @to_percpu: the caller knows that nobody starts a switch to atomic,
 * and somebody may be switching the count to per-CPU.
 *
 * While counts are per-CPU, the atomic one carries a bias in its top bit
 * (PERCPU_COUNT_BIAS in lib/percpu-refcount.c). It also does
 * - while a switch to atomic waits for its grace period; references that were
 *   taken per CPU are put from it, so it may be less than the bias: far from
 *   zero tells it from a count. The percpu_ref core holds a reference itself
 *   then, and confirm_switch tells;
 * - for a moment of the switch to per-CPU, while the per-CPU counts are still
 *   those of the time before the last switch to atomic.
 */
long rust_kmemcg_percpu_ref_count(struct percpu_ref *ref, bool to_percpu)
{
	unsigned long __percpu *percpu_count;
	bool switching, stale;
	unsigned long ptr;
	long count, unbiased;
	int cpu;

	do {
		ptr = READ_ONCE(ref->percpu_count_ptr);
		switching = READ_ONCE(ref->data->confirm_switch);
		smp_rmb(); /* The counts are those of this state, */
		count = atomic_long_read(&ref->data->count);
		unbiased = (unsigned long)count - (1UL << (BITS_PER_LONG - 1));
		if (unbiased > LONG_MIN / 2 && unbiased < LONG_MAX / 2) {
			count = unbiased;
			stale = to_percpu && ptr & __PERCPU_REF_ATOMIC && !switching;
			percpu_count = (unsigned long __percpu *)
				(ptr & ~__PERCPU_REF_ATOMIC_DEAD);
			if (!stale)
				for_each_possible_cpu(cpu)
					count += READ_ONCE(*per_cpu_ptr(percpu_count, cpu));
		}
		smp_rmb(); /* ... which is the same still. */
	} while (READ_ONCE(ref->percpu_count_ptr) != ptr ||
		 !READ_ONCE(ref->data->confirm_switch) == switching);

	count -= switching;
	/* One CPU is read after the other: a put may be seen without its get. */
	return max(count, 0L);
}

__rust_helper unsigned int rust_kmemcg_context(void)
{
	return kmemcg_context();
}

__rust_helper bool rust_kmemcg_in_interrupt(void)
{
	return in_interrupt();
}

__rust_helper bool rust_kmemcg_irqs_disabled(void)
{
	return irqs_disabled();
}

/* For the task that stop_machine() makes every processor switch to. */
static inline int nothing(void *unused)
{
	return 0;
}

/*
 * On a kernel that preempts nobody this is synchronize_rcu(), for which, with
 * CONFIG_PREEMPT_COUNT, a tick in the midst of such a task is enough.
 */
__rust_helper void rust_kmemcg_synchronize_rcu_tasks(void)
{
	synchronize_rcu_tasks();
	if (!IS_ENABLED(CONFIG_PREEMPTION) && IS_ENABLED(CONFIG_PREEMPT_COUNT))
		stop_machine(nothing, NULL, NULL);
}

/* Exported only with CONFIG_RCU_LAZY. */
__rust_helper void rust_kmemcg_call_rcu_hurry(struct rcu_head *head,
					      rcu_callback_t func)
{
	call_rcu_hurry(head, func);
}

__rust_helper bool rust_kmemcg_in_module(const void *address, const struct module *module)
{
#ifndef MODULE
	if (!module)
		return true;
#endif
	return module && within_module((unsigned long)address, module);
}

__rust_helper int
rust_kmemcg_tracepoint_probe_register_may_exist(struct tracepoint *tp,
						void *probe, void *data)
{
	return tracepoint_probe_register_may_exist(tp, probe, data);
}

__rust_helper void rust_kmemcg_tracepoint_synchronize_unregister(void)
{
	tracepoint_synchronize_unregister();
}

void rust_kmemcg_ida_init(struct ida *ida)
{
	ida_init(ida);
}
