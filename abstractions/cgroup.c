// SPDX-License-Identifier: GPL-2.0
/* Inline functions and macros of the kernel for abstractions/cgroup.rs. */

#include <linux/cgroup.h>
#include <linux/memcontrol.h>
#include <linux/sched/mm.h>

#include "helpers.h"

#ifdef CONFIG_CGROUPS
__rust_helper u64 rust_kmemcg_cgroup_id(struct cgroup *cgrp)
{
	return cgroup_id(cgrp);
}

struct cgroup *rust_kmemcg_cgroup_parent(struct cgroup *cgrp)
{
	return cgroup_parent(cgrp);
}

bool rust_kmemcg_cgroup_is_online(struct cgroup *cgrp)
{
	return css_is_online(&cgrp->self);
}

bool rust_kmemcg_cgroup_on_dfl(struct cgroup *cgrp)
{
	return cgrp->root == &cgrp_dfl_root;
}

int rust_kmemcg_cgroup_path(struct cgroup *cgrp, char *buffer, size_t size)
{
	return cgroup_path(cgrp, buffer, size);
}

void rust_kmemcg_cgroup_get(struct cgroup *cgrp)
{
	cgroup_get(cgrp);
}

void rust_kmemcg_cgroup_put(struct cgroup *cgrp)
{
	cgroup_put(cgrp);
}

/* No cgroup has the id 0, which stands for an interrupt. */
__rust_helper u64 rust_kmemcg_current_cgroup_id(void)
{
	return in_task() ? cgroup_id(task_dfl_cgroup(current)) : 0;
}

/*
 * The next online cgroup of the default hierarchy after @prev, parents first,
 * with a reference. The root comes first, after NULL.
 */
struct cgroup *rust_kmemcg_cgroup_next(struct cgroup *prev)
{
	struct cgroup_subsys_state *css = prev ? &prev->self : NULL;

	rcu_read_lock();
	do {
		css = css_next_descendant_pre(css, &cgrp_dfl_root.cgrp.self);
	} while (css && !css_tryget_online(css));
	rcu_read_unlock();

	return css ? css->cgroup : NULL;
}

#ifdef CONFIG_MEMCG
/*
 * The memory cgroup that @cgrp's memory is charged to, with a reference; NULL
 * if nothing is charged, or if the memory controller is in a hierarchy of
 * version 1: @cgrp has none there, and cgroup_get_e_css() returns the root's.
 */
struct mem_cgroup *rust_kmemcg_cgroup_memcg(struct cgroup *cgrp)
{
	if (mem_cgroup_disabled() || !cgroup_subsys_on_dfl(memory_cgrp_subsys))
		return NULL;
	return mem_cgroup_from_css(cgroup_get_e_css(cgrp, &memory_cgrp_subsys));
}

void rust_kmemcg_memcg_put(struct mem_cgroup *memcg)
{
	mem_cgroup_put(memcg);
}

struct mem_cgroup *rust_kmemcg_set_active_memcg(struct mem_cgroup *memcg)
{
	return set_active_memcg(memcg);
}

/* As active_memcg() in mm/memcontrol.c. */
bool rust_kmemcg_memcg_is_active(struct mem_cgroup *memcg)
{
	return memcg == (in_task() ? current->active_memcg :
				     this_cpu_read(int_active_memcg));
}
#endif
#endif
