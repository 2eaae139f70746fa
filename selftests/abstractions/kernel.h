/* SPDX-License-Identifier: GPL-2.0 */
/* What the tests in Rust call. */

#include <linux/types.h>

int rust_kmemcg_test_node_of(const void *object);
bool rust_kmemcg_test_node_has_memory(int node);
bool rust_kmemcg_test_node_online(int node);

void rust_kmemcg_test_local_bh_disable(void);
void rust_kmemcg_test_local_bh_enable(void);
