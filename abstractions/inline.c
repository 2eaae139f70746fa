// SPDX-License-Identifier: GPL-2.0
/*
 * All helpers, to be compiled to bitcode and inlined into Rust (see
 * scripts/build/inline-helpers.mk): ours, and those of the kernel crate.
 */

#if __has_include("helpers/helpers.c")
#include "helpers/helpers.c"
#endif

#include "cgroup.c"
#include "helpers.c"
