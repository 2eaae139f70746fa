/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The release protocol in C, as far as it is measured: the hot paths, offline,
 * release, shutdown and destruction. See twin.c.
 */
#ifndef _KMEMCG_BENCH_TWIN_H
#define _KMEMCG_BENCH_TWIN_H

#include <linux/cgroup.h>
#include <linux/hash.h>
#include <linux/preempt.h>
#include <linux/rculist.h>
#include <linux/sched.h>
#include <linux/slab.h>

#include "percpu_ref_preempt.h"

#define TWIN_GROUPS	65536
#define TWIN_CHUNK	256

enum twin_stage {
	TWIN_ACTIVE,
	TWIN_OFFLINE_DEFERRED,
	TWIN_DEACTIVATING,
	TWIN_QUIESCENT,
	TWIN_KILLED,
	TWIN_RELEASE_DEFERRED,
	TWIN_RELEASED,
	TWIN_SHUTDOWN,
	TWIN_STAGES,
};

/* What the hot path reads comes first. */
struct twin_child {
	struct kmem_cache *cache;
	struct percpu_ref ref;
	struct twin_root *root;
	u64 number;
	u64 owner;
	u32 index;
	enum twin_stage stage;
	unsigned long since;
	struct list_head of_root;
	struct list_head of_group;
	struct rcu_head rcu;
	struct work_struct deactivation;
	struct work_struct shutdown;
};

struct twin_chunk {
	struct twin_child __rcu *children[TWIN_CHUNK];
};

struct twin_root {
	struct twin_chunk __rcu *chunks[TWIN_GROUPS / TWIN_CHUNK];
	/* Protects what is below, and the stages of the children. */
	spinlock_t gate;
	bool dying;
	unsigned int size;
	struct list_head children;
	u64 number;
	unsigned int undestroyed;
	atomic64_t deactivations;
	atomic64_t deferred_offlines;
	atomic64_t deferred_releases;
	atomic64_t shutdowns;
	atomic64_t releases[4];
	unsigned long longest[TWIN_STAGES];
};

struct twin_group {
	u64 number;
	u64 cgroup;
	struct hlist_node by_cgroup;
	struct rcu_head rcu;
	u32 index;
	struct twin_group *parent;
	struct list_head children;
};

/* An object of a child that the caller holds. */
static __always_inline void *twin_child_alloc(struct twin_child *child, gfp_t gfp)
{
	void *object;

	if (unlikely(!kmemcg_ref_tryget_live(&child->ref)))
		return NULL;
	object = kmem_cache_alloc_noprof(child->cache, gfp);
	if (unlikely(!object))
		kmemcg_ref_put(&child->ref);
	return object;
}

static __always_inline void twin_free(struct twin_child *child, void *object)
{
	kmem_cache_free(child->cache, object);
	kmemcg_ref_put(&child->ref);
}

/* A reference on the child of a group. Preemption is disabled. */
static __always_inline struct twin_child *twin_lookup(struct twin_root *root,
						      struct twin_group *group)
{
	struct twin_child *child = NULL;
	struct twin_chunk *chunk;

	chunk = READ_ONCE(root->chunks[group->index / TWIN_CHUNK]);
	if (likely(chunk))
		child = READ_ONCE(chunk->children[group->index % TWIN_CHUNK]);
	if (likely(child) && likely(kmemcg_ref_tryget_percpu(&child->ref)))
		return child;
	return NULL;
}

#define TWIN_BITS	16
extern struct hlist_head twin_cgroups[1 << TWIN_BITS];

/* The group of the current task's cgroup. Preemption is disabled. */
static __always_inline struct twin_group *twin_current(void)
{
	struct twin_group *group;
	u64 id;

	if (unlikely(!in_task()))
		return NULL;
	id = cgroup_id(task_dfl_cgroup(current));
	hlist_for_each_entry_rcu_notrace(group, &twin_cgroups[hash_64(id, TWIN_BITS)], by_cgroup) {
		if (likely(group->cgroup == id))
			return group;
	}
	return NULL;
}

static __always_inline void *twin_alloc_from(struct twin_child *child, gfp_t gfp,
					     struct twin_child **owner)
{
	void *object;

	if (unlikely(!child))
		return NULL;
	object = kmem_cache_alloc_noprof(child->cache, gfp);
	if (unlikely(!object)) {
		kmemcg_ref_put(&child->ref);
		return NULL;
	}
	*owner = child;
	return object;
}

/* An object for a group; *owner is what it has to be freed to. */
static __always_inline void *twin_alloc(struct twin_root *root, struct twin_group *group,
					gfp_t gfp, struct twin_child **owner)
{
	struct twin_child *child;

	preempt_disable();
	child = twin_lookup(root, group);
	preempt_enable();
	return twin_alloc_from(child, gfp, owner);
}

/* An object for the current task's cgroup. */
static __always_inline void *twin_alloc_current(struct twin_root *root, gfp_t gfp,
						struct twin_child **owner)
{
	struct twin_child *child = NULL;
	struct twin_group *group;

	preempt_disable();
	group = twin_current();
	if (likely(group))
		child = twin_lookup(root, group);
	preempt_enable();
	return twin_alloc_from(child, gfp, owner);
}

/* One reference for all of them, which are freed together. Interrupts are enabled. */
static __always_inline bool twin_alloc_bulk(struct twin_child *child, gfp_t gfp,
					    size_t nr, void **objects)
{
	if (unlikely(!kmemcg_ref_tryget_live(&child->ref)))
		return false;
	if (unlikely(!kmem_cache_alloc_bulk_noprof(child->cache, gfp, nr, objects))) {
		kmemcg_ref_put(&child->ref);
		return false;
	}
	return true;
}

static __always_inline void twin_free_bulk(struct twin_child *child, size_t nr, void **objects)
{
	kmem_cache_free_bulk(child->cache, nr, objects);
	kmemcg_ref_put(&child->ref);
}

struct twin_root *twin_root_create(unsigned int size);
int twin_root_destroy(struct twin_root *root);
struct twin_group *twin_group_create(u32 index);
struct twin_child *twin_child_create(struct twin_root *root, struct twin_group *group);
void twin_group_offline(struct twin_group *group);

int twin_init(void);
void twin_exit(void);

#endif
