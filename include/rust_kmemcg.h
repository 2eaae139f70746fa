/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Per-group slab caches with asynchronous release: the interface for other modules.
 */
#ifndef _RUST_KMEMCG_H
#define _RUST_KMEMCG_H

#include <linux/bits.h>
#include <linux/types.h>

/**
 * DOC: overview
 *
 * A module creates a root cache. Each group, which is a cgroup or was created by name, has a
 * slab cache of its own in that root: a worker creates it after the first allocation for the
 * group. When the group goes offline, its cache serves no allocation any more, and is destroyed
 * after its last object was freed. No caller waits for that.
 *
 * A module that uses these functions depends on rust_kmemcg, which cannot be unloaded before
 * it. Before it exits, it must free its objects, destroy or close its roots, and put its
 * groups. If it leaks an object or a root, the unload of rust_kmemcg waits forever; a leaked
 * group is only leaked.
 *
 * The caller of kmemcg_root_destroy() and kmemcg_root_close() must ensure that the root is not
 * used concurrently or afterwards. Errors about a destroy in progress are caused by debugfs
 * only.
 *
 * An object must not be copied to or from user space directly: its cache has no usercopy region.
 *
 * Unless a function gives NULL a meaning, it may be called with NULL or an ERR_PTR as a root,
 * group, object or name, and then has no effect: it returns -EINVAL as an int or as an ERR_PTR,
 * or NULL for an object. kmemcg_root_stats() then writes zeros.
 */

struct kmemcg_root;
struct kmemcg_group;

/**
 * define KMEMCG_ACCOUNT - charge objects to a memory cgroup
 *
 * An object of kmemcg_alloc() is charged to the cgroup that the group is, an object of
 * kmemcg_alloc_current() to the cgroup of the current task. kmemcg_alloc() charges the cgroup
 * of the current task, too, if interrupts are disabled, or if the group is no cgroup, is a
 * cgroup that was removed, or is outside of the cgroup namespace of the task, or if the memory
 * controller is in a hierarchy of version 1. In an interrupt nothing is charged.
 */
#define KMEMCG_ACCOUNT BIT(0)

/**
 * struct kmemcg_stats - counters of a root cache
 * @caches: number of slab caches now, the root's own included
 * @objects: number of live objects now; not exact during concurrent allocations and frees
 * @allocations_root: allocations from the root's own cache: for no group, for the root cgroup, in
 *	an interrupt, or for a group that has no cache yet or is offline
 * @requests: creations of a group's cache that were queued
 * @creations: caches that were created and published
 * @aborts: creations that failed or were given up
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
 * kmemcg_root_create() - create a root cache
 * @name: 1 to 32 letters, digits, "_", "." and "-", the first neither "." nor "-"; appears in
 *	debugfs and in /proc/slabinfo
 * @size: size of an object in bytes
 * @align: alignment of an object in bytes, a power of two; 0 for that of a pointer
 * @flags: KMEMCG_ACCOUNT or 0
 *
 * Each object is preceded by a pointer, and so takes max(@align, sizeof(void *)) additional
 * bytes.
 *
 * Context: Process context. May sleep.
 * Return: the root cache, or an ERR_PTR: -EINVAL if the name, size, alignment or flags are
 * invalid, -E2BIG if the size is too large, -EEXIST if the name is in use, -ENOMEM.
 */
struct kmemcg_root *kmemcg_root_create(const char *name, size_t size, size_t align,
				       unsigned int flags);

/**
 * kmemcg_root_destroy() - destroy a root cache and the caches of all groups in it
 * @root: the root cache; must not be used again if this returns 0
 *
 * Context: Process context. May sleep; waits for RCU grace periods.
 * Return: 0, or -EBUSY if there are live objects or debugfs is destroying the root. After an
 * error the root is what it was before.
 */
int kmemcg_root_destroy(struct kmemcg_root *root);

/**
 * kmemcg_root_close() - destroy a root cache after its last object was freed
 * @root: the root cache; must not be used again if this returns 0
 *
 * The name of the root can be used again at once.
 *
 * Context: Process context. May sleep; does not wait for objects.
 * Return: 0, or -EBUSY if debugfs is destroying the root; the caller may try again.
 */
int kmemcg_root_close(struct kmemcg_root *root);

/**
 * kmemcg_root_stats() - read the counters of a root cache
 * @root: the root cache
 * @stats: where to write the counters
 *
 * The time this takes is proportional to the number of caches.
 *
 * Context: Any context except NMI. May sleep on PREEMPT_RT.
 */
void kmemcg_root_stats(const struct kmemcg_root *root, struct kmemcg_stats *stats);

/**
 * kmemcg_attach_cgroups() - make every cgroup of the unified hierarchy a group
 *
 * The effect is global. It lasts until "detach" is written to the file "cgroups" in debugfs.
 *
 * Context: Process context. May sleep.
 * Return: 0, also if cgroups were groups already; -EOPNOTSUPP if the kernel does not support it,
 * -ENOSPC if the limit of groups is reached, -ENOMEM.
 */
int kmemcg_attach_cgroups(void);

/**
 * kmemcg_group_create() - create a group by name
 * @name: as for kmemcg_root_create()
 * @parent: the group that inherits the caches when this one goes offline; NULL for the top of the
 *	tree
 *
 * Context: Process context. May sleep.
 * Return: the group, which the caller must put with kmemcg_group_put(), or an ERR_PTR:
 * -EINVAL if the name is invalid, -EEXIST if it is in use, -ENOENT if the parent is offline,
 * -ENOSPC if there are too many groups, -ENOMEM.
 */
struct kmemcg_group *kmemcg_group_create(const char *name, struct kmemcg_group *parent);

/**
 * kmemcg_group_get() - find an online group by name
 * @name: the name. That of a cgroup is its path below the mount point, with a leading slash, as the
 *	file "groups" in debugfs shows it: bytes that are not printable ASCII, blanks and
 *	backslashes are written in octal.
 *
 * Context: Process context. May sleep.
 * Return: the group, which the caller must put with kmemcg_group_put(), or an ERR_PTR:
 * -ENOENT, or -EINVAL if the name is invalid.
 */
struct kmemcg_group *kmemcg_group_get(const char *name);

/**
 * kmemcg_group_offline() - take a group offline
 * @group: the group; the caller keeps its reference
 *
 * Live objects of the group remain valid. Each of its caches is destroyed after its last object
 * was freed. Waits for nothing; the time this takes is proportional to the number of its
 * caches.
 *
 * Context: Any context except NMI. May sleep on PREEMPT_RT.
 * Return: 0, or -ENOENT if the group is offline already.
 */
int kmemcg_group_offline(struct kmemcg_group *group);

/**
 * kmemcg_group_put() - drop a reference on a group
 * @group: the group, or NULL
 *
 * The group stays online.
 *
 * Context: Any context except NMI. May sleep on PREEMPT_RT.
 */
void kmemcg_group_put(struct kmemcg_group *group);

/**
 * kmemcg_alloc() - allocate an object for a group
 * @root: the root cache
 * @group: the group; NULL to allocate from the root's own cache
 * @gfp: as for kmem_cache_alloc(), __GFP_ZERO included
 *
 * The root's own cache serves until a worker has created the cache of the group, and after the
 * group went offline.
 *
 * Context: As for kmem_cache_alloc() with @gfp.
 * Return: the object, or NULL if there is no memory or the root is being destroyed.
 */
void *kmemcg_alloc(struct kmemcg_root *root, struct kmemcg_group *group, gfp_t gfp);

/**
 * kmemcg_alloc_current() - allocate an object for the cgroup of the current task
 * @root: the root cache
 * @gfp: as for kmem_cache_alloc(), __GFP_ZERO included
 *
 * The root's own cache serves if cgroups are not attached, for the root cgroup, in an
 * interrupt, and until a worker has created the cache of the cgroup.
 *
 * Context: As for kmem_cache_alloc() with @gfp.
 * Return: the object, or NULL if there is no memory or the root is being destroyed.
 */
void *kmemcg_alloc_current(struct kmemcg_root *root, gfp_t gfp);

/**
 * kmemcg_free() - free an object
 * @object: an object of kmemcg_alloc() or kmemcg_alloc_current(), or NULL
 *
 * The group of the object may be offline, and its root closed.
 *
 * Context: Any context in which kmem_cache_free() may be called, hard interrupts included. Does
 * not sleep or wait.
 */
void kmemcg_free(void *object);

#endif /* _RUST_KMEMCG_H */
