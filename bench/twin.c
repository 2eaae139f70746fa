// SPDX-License-Identifier: GPL-2.0
/*
 * The release protocol in C: what the Rust one is measured against.
 *
 * It has the same steps, counters, trace events and memory of how long each
 * stage of a child has lasted; protocol/mod.rs tells why it works. What is not
 * measured is left out: names, creation by a worker, handing back.
 */

#include <linux/jiffies.h>
#include <linux/list.h>
#include <linux/preempt.h>
#include <linux/rcupdate.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "helpers.h"
#include "twin.h"

/* The tree of groups; one gate may be taken under it. */
static DEFINE_SPINLOCK(twin_tree);
static struct twin_group twin_top = {
	.children = LIST_HEAD_INIT(twin_top.children),
};

struct hlist_head twin_cgroups[1 << TWIN_BITS];
static struct workqueue_struct *twin_queue;
static DECLARE_WAIT_QUEUE_HEAD(twin_gone);
static atomic64_t twin_numbers = ATOMIC64_INIT(1);

/* The caller holds the gate. */
static void twin_step(struct twin_child *child, enum twin_stage stage)
{
	unsigned long now = jiffies;
	unsigned long lasted = now - child->since;

	if (lasted > child->root->longest[child->stage])
		WRITE_ONCE(child->root->longest[child->stage], lasted);
	child->stage = stage;
	child->since = now;
}

/* The callback of a deactivation: no reader of the lookup is left. */
static void twin_quiescent(struct rcu_head *rcu)
{
	struct twin_child *child = container_of(rcu, struct twin_child, rcu);
	struct twin_root *root = child->root;
	unsigned long flags;

	spin_lock_irqsave(&root->gate, flags);
	twin_step(child, TWIN_QUIESCENT);
	rust_kmemcg_trace_child_rcu(root->number, child->owner, child->number);
	spin_unlock_irqrestore(&root->gate, flags);
	queue_work(twin_queue, &child->deactivation);
}

static void twin_deactivate(struct work_struct *work)
{
	struct twin_child *child = container_of(work, struct twin_child, deactivation);

	kmem_cache_shrink(child->cache);
	spin_lock_irq(&child->root->gate);
	twin_step(child, TWIN_KILLED);
	rust_kmemcg_trace_child_kill(child->root->number, child->owner, child->number);
	spin_unlock_irq(&child->root->gate);
	percpu_ref_kill(&child->ref);
}

/* The callback of a release. */
static void twin_released(struct rcu_head *rcu)
{
	struct twin_child *child = container_of(rcu, struct twin_child, rcu);

	queue_work(twin_queue, &child->shutdown);
}

/* The last reference is gone, in any context. */
static void twin_release(struct percpu_ref *ref)
{
	struct twin_child *child = container_of(ref, struct twin_child, ref);
	struct twin_root *root = child->root;
	unsigned long flags;

	spin_lock_irqsave(&root->gate, flags);
	atomic64_inc(&root->releases[interrupt_context_level()]);
	if (!root->dying) {
		twin_step(child, TWIN_RELEASED);
		rust_kmemcg_trace_child_release(root->number, child->owner, child->number);
		/* To wake a worker would cost a hard interrupt ten times as much. */
		call_rcu_hurry(&child->rcu, twin_released);
	} else {
		twin_step(child, TWIN_RELEASE_DEFERRED);
		atomic64_inc(&root->deferred_releases);
		rust_kmemcg_trace_child_defer_release(root->number, child->owner, child->number);
	}
	spin_unlock_irqrestore(&root->gate, flags);
}

static void twin_shut_down(struct twin_child *child)
{
	struct twin_root *root = child->root;

	spin_lock_irq(&twin_tree);
	list_del(&child->of_group);
	spin_unlock_irq(&twin_tree);
	spin_lock_irq(&root->gate);
	list_del(&child->of_root);
	twin_step(child, TWIN_SHUTDOWN);
	rust_kmemcg_trace_child_shutdown(root->number, child->owner, child->number);
	spin_unlock_irq(&root->gate);
	atomic64_inc(&root->shutdowns);
	kmem_cache_destroy(child->cache);
	percpu_ref_exit(&child->ref);
	rust_kmemcg_trace_child_free(root->number, child->owner, child->number);
	kfree(child);
	spin_lock_irq(&root->gate);
	root->undestroyed--;
	wake_up_all(&twin_gone);
	spin_unlock_irq(&root->gate);
}

static void twin_shutdown(struct work_struct *work)
{
	twin_shut_down(container_of(work, struct twin_child, shutdown));
}

/* Waits for nothing. */
void twin_group_offline(struct twin_group *group)
{
	struct twin_child *child, *next;
	unsigned long flags;

	spin_lock_irqsave(&twin_tree, flags);
	rust_kmemcg_trace_group_offline(group->number, 0, "");
	list_for_each_entry_safe(child, next, &group->children, of_group) {
		struct twin_root *root = child->root;
		struct twin_chunk *chunk = root->chunks[child->index / TWIN_CHUNK];

		RCU_INIT_POINTER(chunk->children[child->index % TWIN_CHUNK], NULL);
		spin_lock(&root->gate);
		if (!root->dying) {
			twin_step(child, TWIN_DEACTIVATING);
			atomic64_inc(&root->deactivations);
			rust_kmemcg_trace_child_offline(root->number, child->owner, child->number);
			call_rcu_hurry(&child->rcu, twin_quiescent);
		} else {
			twin_step(child, TWIN_OFFLINE_DEFERRED);
			atomic64_inc(&root->deferred_offlines);
			rust_kmemcg_trace_child_defer_offline(root->number, child->owner,
							      child->number);
		}
		spin_unlock(&root->gate);
		WRITE_ONCE(child->owner, group->parent->number);
		rust_kmemcg_trace_child_reparent(root->number, child->owner, child->number);
		list_move_tail(&child->of_group, &group->parent->children);
	}
	hlist_del_rcu(&group->by_cgroup);
	spin_unlock_irqrestore(&twin_tree, flags);
	rust_kmemcg_trace_group_free(group->number, 0, "");
	kfree_rcu(group, rcu);
}

struct twin_group *twin_group_create(u32 index)
{
	struct twin_group *group = kzalloc_obj(*group);

	if (!group)
		return NULL;
	group->number = atomic64_inc_return(&twin_numbers);
	group->index = index;
	group->parent = &twin_top;
	INIT_LIST_HEAD(&group->children);
	rcu_read_lock();
	group->cgroup = cgroup_id(task_dfl_cgroup(current));
	rcu_read_unlock();
	spin_lock_irq(&twin_tree);
	hlist_add_head_rcu(&group->by_cgroup, &twin_cgroups[hash_64(group->cgroup, TWIN_BITS)]);
	spin_unlock_irq(&twin_tree);
	return group;
}

struct twin_child *twin_child_create(struct twin_root *root, struct twin_group *group)
{
	struct twin_chunk *chunk = root->chunks[group->index / TWIN_CHUNK];
	struct twin_child *child;
	char name[48];

	if (!chunk) {
		chunk = kzalloc_obj(*chunk);
		if (!chunk)
			return NULL;
		/* A lookup sees it initialised: the address of its load depends on this store. */
		smp_store_release(&root->chunks[group->index / TWIN_CHUNK], chunk);
	}
	child = kzalloc_obj(*child);
	if (!child)
		return NULL;
	child->root = root;
	child->number = atomic64_inc_return(&twin_numbers);
	child->owner = group->number;
	child->index = group->index;
	child->since = jiffies;
	INIT_WORK(&child->deactivation, twin_deactivate);
	INIT_WORK(&child->shutdown, twin_shutdown);
	snprintf(name, sizeof(name), "twin:%llu.%llu", root->number, child->number);
	child->cache = kmem_cache_create(name, root->size, 0, SLAB_NO_MERGE, NULL);
	if (!child->cache)
		goto free;
	if (percpu_ref_init(&child->ref, twin_release, PERCPU_REF_ALLOW_REINIT, GFP_KERNEL))
		goto destroy;
	spin_lock_irq(&twin_tree);
	spin_lock(&root->gate);
	root->undestroyed++;
	list_add_tail(&child->of_root, &root->children);
	spin_unlock(&root->gate);
	list_add_tail(&child->of_group, &group->children);
	rcu_assign_pointer(chunk->children[group->index % TWIN_CHUNK], child);
	rust_kmemcg_trace_child_create(root->number, child->owner, child->number);
	spin_unlock_irq(&twin_tree);
	return child;

destroy:
	kmem_cache_destroy(child->cache);
free:
	kfree(child);
	return NULL;
}

struct twin_root *twin_root_create(unsigned int size)
{
	struct twin_root *root = kzalloc_obj(*root);

	if (!root)
		return NULL;
	spin_lock_init(&root->gate);
	INIT_LIST_HEAD(&root->children);
	root->size = size;
	root->number = atomic64_inc_return(&twin_numbers);
	return root;
}

/* Waits until the children, whose groups are all offline, have gone by themselves. */
int twin_root_destroy(struct twin_root *root)
{
	struct twin_child *child, *next;
	int i;

	spin_lock_irq(&root->gate);
	wait_event_lock_irq(twin_gone, !root->undestroyed, root->gate);
	root->dying = true;
	spin_unlock_irq(&root->gate);
	rcu_barrier();
	flush_workqueue(twin_queue);
	list_for_each_entry_safe(child, next, &root->children, of_root)
		twin_shut_down(child);
	for (i = 0; i < TWIN_GROUPS / TWIN_CHUNK; i++)
		kfree(root->chunks[i]);
	kfree(root);
	return 0;
}

int twin_init(void)
{
	twin_queue = alloc_workqueue("kmemcg_twin", WQ_UNBOUND | WQ_MEM_RECLAIM, 512);
	return twin_queue ? 0 : -ENOMEM;
}

void twin_exit(void)
{
	rcu_barrier();
	destroy_workqueue(twin_queue);
}
