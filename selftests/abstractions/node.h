/* SPDX-License-Identifier: GPL-2.0 */
/* What node.rs calls. */

#include <linux/types.h>

int rust_kmemcg_test_node_of(const void *object);
bool rust_kmemcg_test_node_has_memory(int node);
bool rust_kmemcg_test_node_online(int node);
