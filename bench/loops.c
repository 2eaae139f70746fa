// SPDX-License-Identifier: GPL-2.0
/* The loops that are measured in C, and bench_parallel(), which runs a loop on several CPUs. */

#include <linux/cpumask.h>
#include <linux/ktime.h>
#include <linux/workqueue.h>

#include "loops.h"

struct kmem_cache *bench_cache_create(unsigned int number, unsigned int size, bool account)
{
	char name[32];

	snprintf(name, sizeof(name), "bench:%u", number);
	return kmem_cache_create(name, size, 0, SLAB_NO_MERGE | (account ? SLAB_ACCOUNT : 0), NULL);
}

void bench_cache_destroy(struct kmem_cache *cache)
{
	kmem_cache_destroy(cache);
}

/* Allocates and frees one object, so that the cache has a slab, like a child that has served. */
int bench_cache_use(struct kmem_cache *cache)
{
	return bench_plain(cache, 1);
}

int bench_plain(struct kmem_cache *cache, unsigned int loops)
{
	while (loops--) {
		void *object = kmem_cache_alloc_noprof(cache, GFP_KERNEL);

		if (unlikely(!object))
			return -ENOMEM;
		kmem_cache_free(cache, object);
	}
	return 0;
}

int bench_plain_bulk(struct kmem_cache *cache, unsigned int nr, unsigned int loops)
{
	void *objects[BENCH_BULK];

	while (loops--) {
		if (unlikely(!kmem_cache_alloc_bulk_noprof(cache, GFP_KERNEL, nr, objects)))
			return -ENOMEM;
		kmem_cache_free_bulk(cache, nr, objects);
	}
	return 0;
}

int bench_twin_handle(struct twin_child *child, unsigned int loops)
{
	while (loops--) {
		void *object = twin_child_alloc(child, GFP_KERNEL);

		if (unlikely(!object))
			return -ENOMEM;
		twin_free(child, object);
	}
	return 0;
}

int bench_twin_lookup(struct twin_root *root, struct twin_group *group, unsigned int loops)
{
	while (loops--) {
		struct twin_child *child;
		void *object = twin_alloc(root, group, GFP_KERNEL, &child);

		if (unlikely(!object))
			return -ENOMEM;
		twin_free(child, object);
	}
	return 0;
}

int bench_twin_current(struct twin_root *root, unsigned int loops)
{
	while (loops--) {
		struct twin_child *child;
		void *object = twin_alloc_current(root, GFP_KERNEL, &child);

		if (unlikely(!object))
			return -ENOMEM;
		twin_free(child, object);
	}
	return 0;
}

int bench_twin_bulk(struct twin_child *child, unsigned int nr, unsigned int loops)
{
	void *objects[BENCH_BULK];

	while (loops--) {
		if (unlikely(!twin_alloc_bulk(child, GFP_KERNEL, nr, objects)))
			return -ENOMEM;
		twin_free_bulk(child, nr, objects);
	}
	return 0;
}

void *bench_twin_object(struct twin_child *child)
{
	return twin_child_alloc(child, GFP_ATOMIC);
}

/* Frees an object and returns how long that took, in nanoseconds. */
u64 bench_twin_free(struct twin_child *child, void *object)
{
	u64 begin = ktime_get_ns();

	twin_free(child, object);
	return ktime_get_ns() - begin;
}

/* Was the child killed, and is its count in atomic mode? Then the last put releases it. */
bool bench_twin_is_atomic(struct twin_child *child)
{
	return READ_ONCE(child->stage) == TWIN_KILLED &&
	       !READ_ONCE(child->ref.data->confirm_switch);
}

u32 bench_twin_left(struct twin_root *root)
{
	return READ_ONCE(root->undestroyed);
}

struct bench_run {
	struct work_struct work;
	bench_fn fn;
	const void *arg;
	unsigned int loops;
	atomic_t *waiting;
	u64 begin;
	u64 end;
};

static void bench_run_work(struct work_struct *work)
{
	struct bench_run *run = container_of(work, struct bench_run, work);

	atomic_dec(run->waiting);
	while (atomic_read(run->waiting))
		cpu_relax();
	run->begin = ktime_get_ns();
	if (run->fn(run->arg, run->loops))
		pr_err("loop failed\n");
	run->end = ktime_get_ns();
}

/*
 * Runs a loop on several CPUs at once. Returns the time from the first start to the last end, in
 * nanoseconds, or 0 if there are not so many CPUs.
 */
u64 bench_parallel(bench_fn fn, const void *arg, unsigned int loops, unsigned int cpus)
{
	struct bench_run runs[2];
	atomic_t waiting = ATOMIC_INIT(cpus);
	u64 begin = U64_MAX, end = 0;
	unsigned int i;

	if (cpus > ARRAY_SIZE(runs) || cpus > num_online_cpus())
		return 0;
	for (i = 0; i < cpus; i++) {
		runs[i] = (struct bench_run){
			.fn = fn, .arg = arg, .loops = loops, .waiting = &waiting,
		};
		INIT_WORK_ONSTACK(&runs[i].work, bench_run_work);
		queue_work_on(i, system_highpri_wq, &runs[i].work);
	}
	for (i = 0; i < cpus; i++) {
		flush_work(&runs[i].work);
		destroy_work_on_stack(&runs[i].work);
		begin = min(begin, runs[i].begin);
		end = max(end, runs[i].end);
	}
	return end - begin;
}
