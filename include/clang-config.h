/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a kernel's configuration says of gcc and is not so in clang, where the
 * helpers are compiled by that (see scripts/build/inline-helpers.mk).
 *
 * Clang parses the named address spaces of x86, but gives no segment prefix to
 * a memory operand of inline assembly: per-CPU operations would go to the wrong
 * address. A kernel that is built by clang does without, too.
 */
#undef CONFIG_CC_HAS_NAMED_AS
#undef CONFIG_USE_X86_SEG_SUPPORT
