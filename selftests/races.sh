#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=busybox disable=SC2016,SC2030,SC2031,SC2086
# All operations at once, from every processor, without test knobs. Then the trace must add up.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=workers.sh
. "$here/workers.sh"

# Groups are created and go offline; their objects are freed before and after that, in each context.
groups_of_r() {
	try groups create "g$me"
	try objects alloc "h$me" r "g$me" 3
	try objects alloc "i$me" r "g$me" 3
	context_for "$i"
	[ $((i % 2)) = 0 ] || try objects free "h$me" $context
	try groups offline "g$me"
	try objects free "h$me" $context
	try objects free "i$me" $context
}

# The root r is created and destroyed.
roots_r() {
	try roots create r 64
	word=
	[ $((i % 2)) = 0 ] || word=uncounted
	try roots destroy r $word
}

# One group for all workers; every fourth round takes it offline.
shared_group() {
	try groups create shared
	try objects alloc "s$me" r shared 2
	context_for "$i"
	try objects free "s$me" $context
	[ $((i % 4)) != 0 ] || try groups offline shared
}

# A tree of groups that goes offline from the top.
tree() {
	try groups create "a$me"
	try groups create "b$me" "a$me"
	try groups create "c$me" "b$me"
	for group in a b c; do try objects alloc "t$group$me" r "$group$me" 2; done
	for group in a b c; do try groups offline "$group$me"; done
	context_for "$i"
	for group in b c a; do try objects free "t$group$me" $context; done
}

# Waits for the child of a group, then uses it.
patient_group() {
	try groups create "p$me"
	until_served "p$me" "p$me"
	try groups offline "p$me"
	context_for "$i"
	try objects free "p$me" $context
}

groups_and_frees() {
	large_trace
	put roots create r 64
	run groups_of_r patient_group tree patient_group reader
}
roots_and_groups() { large_trace; run roots_r roots_r groups_of_r patient_group shared_group; }
shared() { large_trace; run shared_group shared_group roots_r tree patient_group; }

tests "I2 every child has one life while groups and objects come and go in every context" groups_and_frees \
	"I1 the trace adds up while roots are created and destroyed in use" roots_and_groups \
	"I8 the trace adds up while all workers allocate for one group and take it offline" shared
