/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Per-group slab caches with asynchronous release, for other modules.
 *
 * A root cache is what a module creates. Each group, a cgroup or one that is made by
 * hand, gets a slab cache of its own in it, on first use; when the group goes offline
 * the cache goes too, after its last object. Nobody waits for that.
 *
 * A module that uses these functions is one that the module loader keeps this one for.
 * Before it is unloaded it has freed its objects and has let go of its roots and
 * groups. Where it forgot an object or a root, unloading rust_kmemcg waits for ever; a
 * forgotten group is leaked.
 *
 * Who destroys or closes a root makes sure that nobody uses it any more. The errors that tell
 * of a destroy under way are for what debugfs does.
 *
 * An object is not to be copied to user space as it is: it has no usercopy window.
 *
 * What these functions return when they fail, NULL or an ERR_PTR, they take as an argument,
 * too: -EINVAL, NULL, zeros, or nothing happens.
 */
#ifndef _RUST_KMEMCG_H
#define _RUST_KMEMCG_H

#include <linux/bits.h>
#include <linux/types.h>

struct kmemcg_root;
struct kmemcg_group;

/* The memory cgroup of the group pays: for an object of kmemcg_alloc() the cgroup that the
 * group is, for one of kmemcg_alloc_current() that of the current task. The current task's pays,
 * too, where interrupts are disabled, where the group is no cgroup, or one that was removed or is
 * outside of the task's cgroup namespace. Nobody pays in an interrupt.
 */
#define KMEMCG_ACCOUNT BIT(0)

/**
 * struct kmemcg_stats - what a root has counted
 * @caches: slab caches it has now, its own included
 * @objects: objects that live now; not exact while they come and go
 * @allocations_root: objects that came from the root's own cache: of no group, of the root
 *	cgroup, of interrupts, of groups that have no cache yet or are offline
 * @requests: creations of a group's cache that were queued
 * @creations: caches that were made and published
 * @aborts: creations that came to nothing
 * @deactivations: caches whose group went offline
 * @shutdowns: caches that were destroyed
 */
struct kmemcg_stats {
	u64 caches;
	u64 objects;
	u64 allocations_root;
	u64 requests;
	u64 creations;
	u64 aborts;
	u64 deactivations;
	u64 shutdowns;
};

/**
 * kmemcg_root_create() - make a root cache
 * @name: letters, digits, and "_.-", at most 32, the first no "." or "-"; shows in debugfs and
 *	/proc/slabinfo
 * @size: of an object, in bytes
 * @align: of an object, in bytes, a power of two; 0: that of a pointer
 * @flags: KMEMCG_ACCOUNT or 0
 *
 * In front of each object stands a pointer, so it takes max(@align, sizeof(void *)) bytes more.
 *
 * Context: may sleep.
 * Return: the root, or an ERR_PTR: -EINVAL for a name, size, alignment or flag that cannot
 * be; -E2BIG; -EEXIST: the name is in use; -ENOMEM.
 */
struct kmemcg_root *kmemcg_root_create(const char *name, size_t size, size_t align,
				       unsigned int flags);

/**
 * kmemcg_root_destroy() - destroy a root cache and the caches of all groups in it
 * @root: the root; not to be used again where it returns 0
 *
 * Context: may sleep; waits for grace periods.
 * Return: 0, or -EBUSY: objects live, or somebody is destroying it by debugfs; the root is what
 * it was before.
 */
int kmemcg_root_destroy(struct kmemcg_root *root);

/**
 * kmemcg_root_close() - destroy a root cache when its last object is freed
 * @root: the root; not to be used again where it returns 0
 *
 * Its name is free at once.
 *
 * Context: may sleep; does not wait for objects.
 * Return: 0, or -EBUSY: somebody is destroying the root by debugfs; try again.
 */
int kmemcg_root_close(struct kmemcg_root *root);

/**
 * kmemcg_root_stats() - read what a root has counted
 * @root: the root
 * @stats: where it goes
 *
 * Context: any but NMI (on PREEMPT_RT: any that may sleep); the time it takes grows with the
 * number of caches.
 */
void kmemcg_root_stats(const struct kmemcg_root *root, struct kmemcg_stats *stats);

/**
 * kmemcg_attach_cgroups() - make every cgroup of the unified hierarchy a group
 *
 * They are, from then on and for all users, until somebody writes "detach" to the file
 * "cgroups" in debugfs.
 *
 * Context: may sleep.
 * Return: 0, also where they are already; -EOPNOTSUPP: a kernel without them; -ENOSPC: there
 * are more than 65,536 groups; -ENOMEM.
 */
int kmemcg_attach_cgroups(void);

/**
 * kmemcg_group_create() - make a group by hand
 * @name: as that of a root
 * @parent: the group that gets its caches when it goes offline; NULL: the top
 *
 * Context: may sleep.
 * Return: the group, to be given back by kmemcg_group_put(), or an ERR_PTR: -EINVAL, -EEXIST,
 * -ENOENT: the parent is offline; -ENOSPC: too many groups; -ENOMEM.
 */
struct kmemcg_group *kmemcg_group_create(const char *name, struct kmemcg_group *parent);

/**
 * kmemcg_group_get() - find an online group
 * @name: its name; for a cgroup its path below the mount point, with the slash in front, as the
 *	file "groups" in debugfs shows it: other bytes than printable ASCII, blanks and
 *	backslashes in octal
 *
 * Context: may sleep.
 * Return: the group, to be given back by kmemcg_group_put(), or an ERR_PTR: -ENOENT, -EINVAL.
 */
struct kmemcg_group *kmemcg_group_get(const char *name);

/**
 * kmemcg_group_offline() - take a group offline
 * @group: the group; still to be given back
 *
 * Its objects live on, its caches go when they are empty.
 *
 * Context: any but NMI (on PREEMPT_RT: any that may sleep); waits for nothing, but the time it
 * takes grows with the number of its caches.
 * Return: 0, or -ENOENT: it is offline.
 */
int kmemcg_group_offline(struct kmemcg_group *group);

/**
 * kmemcg_group_put() - give a group back
 * @group: the group, or NULL; it stays online
 *
 * Context: as kmemcg_group_offline().
 */
void kmemcg_group_put(struct kmemcg_group *group);

/**
 * kmemcg_alloc() - allocate an object for a group
 * @root: the root
 * @group: the group; NULL: nobody's, from the root's own cache
 * @gfp: as for kmem_cache_alloc(); __GFP_ZERO works
 *
 * Context: as for kmem_cache_alloc() with @gfp.
 * Return: the object, or NULL: no memory, or the root is being destroyed.
 */
void *kmemcg_alloc(struct kmemcg_root *root, struct kmemcg_group *group, gfp_t gfp);

/**
 * kmemcg_alloc_current() - allocate an object for the cgroup of the current task
 * @root: the root
 * @gfp: as for kmem_cache_alloc(); __GFP_ZERO works
 *
 * Where cgroups are no groups, for the root cgroup, in an interrupt, and until a worker has made
 * the cgroup's cache, the root's own cache serves.
 *
 * Context: as for kmem_cache_alloc() with @gfp.
 * Return: the object, or NULL: no memory, or the root is being destroyed.
 */
void *kmemcg_alloc_current(struct kmemcg_root *root, gfp_t gfp);

/**
 * kmemcg_free() - free an object, whatever became of its group and its root
 * @object: from kmemcg_alloc() or kmemcg_alloc_current(), or NULL
 *
 * Context: where kmem_cache_free() is legal, hard interrupts included. Never sleeps or waits.
 */
void kmemcg_free(void *object);

#endif /* _RUST_KMEMCG_H */
