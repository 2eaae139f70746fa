/* SPDX-License-Identifier: GPL-2.0 */
/* The C functions that the Rust half of the benchmark calls. Keep ffi.rs in sync. */
#ifndef _KMEMCG_BENCH_LOOPS_H
#define _KMEMCG_BENCH_LOOPS_H

#include "twin.h"

#define BENCH_BULK	64

struct kmem_cache *bench_cache_create(unsigned int number, unsigned int size, bool account);
void bench_cache_destroy(struct kmem_cache *cache);
int bench_cache_use(struct kmem_cache *cache);

int bench_plain(struct kmem_cache *cache, unsigned int loops);
int bench_plain_bulk(struct kmem_cache *cache, unsigned int nr, unsigned int loops);

int bench_twin_handle(struct twin_child *child, unsigned int loops);
int bench_twin_lookup(struct twin_root *root, struct twin_group *group, unsigned int loops);
int bench_twin_current(struct twin_root *root, unsigned int loops);
int bench_twin_bulk(struct twin_child *child, unsigned int nr, unsigned int loops);

void *bench_twin_object(struct twin_child *child);
u64 bench_twin_free(struct twin_child *child, void *object);
bool bench_twin_is_atomic(struct twin_child *child);
u32 bench_twin_left(struct twin_root *root);

typedef int (*bench_fn)(const void *arg, unsigned int loops);
u64 bench_parallel(bench_fn fn, const void *arg, unsigned int loops, unsigned int cpus);

#endif
