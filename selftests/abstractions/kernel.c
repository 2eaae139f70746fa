// SPDX-License-Identifier: GPL-2.0
/* What the tests need of the kernel, and Rust has no bindings for. */

#include <linux/bottom_half.h>
#include <linux/kfence.h>
#include <linux/mm.h>
#include <linux/nodemask.h>

#include "kernel.h"

/* The node of a slab object; -1 for one of KFENCE, whose node nobody chooses. */
int rust_kmemcg_test_node_of(const void *object)
{
	if (is_kfence_address(object))
		return -1;
	return page_to_nid(virt_to_page(object));
}

bool rust_kmemcg_test_node_has_memory(int node)
{
	return node_state(node, N_NORMAL_MEMORY);
}

bool rust_kmemcg_test_node_online(int node)
{
	return node_online(node);
}

void rust_kmemcg_test_local_bh_disable(void)
{
	local_bh_disable();
}

void rust_kmemcg_test_local_bh_enable(void)
{
	local_bh_enable();
}
