// SPDX-License-Identifier: GPL-2.0
/* Kbuild does not put one object in two modules: the same source, once more. */

#include "../protocol/trace.c"
