/* SPDX-License-Identifier: GPL-2.0 */
/*
 * References of a struct percpu_ref in fewer instructions.
 *
 * percpu_ref_tryget_live() and percpu_ref_put() are RCU read-side critical
 * sections, for one reason: percpu_ref_kill() adds the per-CPU counts up in an
 * RCU callback, when everybody who has seen the count per-CPU is done with it.
 * A region with preemption disabled is waited for by that callback's grace
 * period as well, on every kernel; and where RCU readers can be preempted, and
 * are two calls of functions, it is two instructions.
 *
 * A count that is not per-CPU, any more or yet, is left to the original.
 */
#ifndef _RUST_KMEMCG_PERCPU_REF_PREEMPT_H
#define _RUST_KMEMCG_PERCPU_REF_PREEMPT_H

#include <linux/percpu-refcount.h>
#include <linux/preempt.h>

static noinline __maybe_unused bool
kmemcg_ref_tryget_live_slow(struct percpu_ref *ref)
{
	return percpu_ref_tryget_live(ref);
}

static noinline __maybe_unused void
kmemcg_ref_put_slow(struct percpu_ref *ref)
{
	percpu_ref_put(ref);
}

/*
 * A reference of a count that is per-CPU, and so live; false says nothing. The
 * caller has disabled preemption, or is a reader otherwise.
 */
static __always_inline bool
kmemcg_ref_tryget_percpu(struct percpu_ref *ref)
{
	unsigned long __percpu *count;

	if (unlikely(!__ref_is_percpu(ref, &count)))
		return false;
	this_cpu_inc(*count);
	return true;
}

static __always_inline bool
kmemcg_ref_tryget_live(struct percpu_ref *ref)
{
	unsigned long __percpu *count;

	preempt_disable();
	if (likely(__ref_is_percpu(ref, &count))) {
		this_cpu_inc(*count);
		preempt_enable();
		return true;
	}
	preempt_enable();
	return kmemcg_ref_tryget_live_slow(ref);
}

/* The release function, if it is called, runs in an RCU read-side critical section. */
static __always_inline void
kmemcg_ref_put(struct percpu_ref *ref)
{
	unsigned long __percpu *count;

	preempt_disable();
	if (likely(__ref_is_percpu(ref, &count))) {
		this_cpu_dec(*count);
		preempt_enable();
		return;
	}
	preempt_enable();
	kmemcg_ref_put_slow(ref);
}

#endif
