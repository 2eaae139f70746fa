// SPDX-License-Identifier: GPL-2.0
/* Exports the functions of include/rust_kmemcg.h, which mod.rs defines. */

#include <linux/export.h>
#include <linux/module.h>

#include "rust_kmemcg.h"

/* The module! macro cannot set a version. scripts/package/deb puts the package's here. */
MODULE_VERSION("0.1");

EXPORT_SYMBOL_GPL(kmemcg_root_create);
EXPORT_SYMBOL_GPL(kmemcg_root_destroy);
EXPORT_SYMBOL_GPL(kmemcg_root_close);
EXPORT_SYMBOL_GPL(kmemcg_root_stats);
EXPORT_SYMBOL_GPL(kmemcg_attach_cgroups);
EXPORT_SYMBOL_GPL(kmemcg_group_create);
EXPORT_SYMBOL_GPL(kmemcg_group_get);
EXPORT_SYMBOL_GPL(kmemcg_group_offline);
EXPORT_SYMBOL_GPL(kmemcg_group_put);
EXPORT_SYMBOL_GPL(kmemcg_alloc);
EXPORT_SYMBOL_GPL(kmemcg_alloc_current);
EXPORT_SYMBOL_GPL(kmemcg_free);
