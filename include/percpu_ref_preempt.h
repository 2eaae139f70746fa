/* SPDX-License-Identifier: GPL-2.0 */
/*
 * percpu_ref_tryget_live() and percpu_ref_put() in fewer instructions.
 *
 * The originals are RCU read-side critical sections, for one reason:
 * percpu_ref_kill() adds up the per-CPU counts in an RCU callback, after every
 * CPU that has seen the count in percpu mode has finished its increment or
 * decrement. The grace period of that callback also waits for a region with
 * preemption disabled, on every kernel. With CONFIG_PREEMPT_RCU a reader calls
 * two functions, while disabling and enabling preemption takes two instructions
 * and a branch.
 *
 * A count in atomic mode is left to the originals.
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
 * Fast path. A count in percpu mode is live. False does not mean that it is
 * dead: it is in atomic mode, fall back to kmemcg_ref_tryget_live(). The caller
 * has disabled preemption or is in an RCU read-side critical section.
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

/* Equivalent to percpu_ref_tryget_live(). */
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

/*
 * Equivalent to percpu_ref_put(), the release function included: it is called in
 * an RCU read-side critical section.
 */
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
