#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=busybox disable=SC2016,SC2030,SC2031,SC2086
# A storm: cgroups are made, filled, moved between and removed from every processor, while roots are
# destroyed and made again; then the trace must add up.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=workers.sh
. "$here/workers.sh"

# The root of all cgroups is nobody's group.
home=/sys/fs/cgroup
tests_group=${cgroups#/sys/fs/cgroup}

# A cgroup of its own in every round, filled from outside.
made_and_removed() {
	mkdir "$cgroups/m$me" || return
	try objects alloc "h$me" r "$tests_group/m$me" 3
	try objects alloc "i$me" r "$tests_group/m$me" 3
	in_turn
	[ $((i % 2)) = 0 ] || try objects free "h$me" $context
	rmdir "$cgroups/m$me"
	try objects free "h$me" $context
	try objects free "i$me" $context
}

# Lives in it, and leaves it with objects in hand.
lives_in() {
	mkdir "$cgroups/l$me" "$cgroups/l$me/x" || return
	echo 0 >"$cgroups/l$me/x/cgroup.procs"
	try objects alloc "k$me" r current 2
	echo 0 >"$cgroups/l$me/cgroup.procs"
	try objects alloc "l$me" r current 2
	echo 0 >$home/cgroup.procs
	in_turn
	rmdir "$cgroups/l$me/x" "$cgroups/l$me"
	try objects free "k$me" $context
	try objects free "l$me" $context
}

# One cgroup for all: moves through it, again and again.
moves() {
	mkdir "$cgroups/shared" 2>/dev/null
	echo 0 >"$cgroups/shared/cgroup.procs"
	try objects alloc "s$me" r current 2
	echo 0 >$home/cgroup.procs
	[ $((i % 4)) != 0 ] || rmdir "$cgroups/shared"
	in_turn
	try objects free "s$me" $context
}

# Waits until its cgroup is served by its own cache.
patient() {
	mkdir "$cgroups/p$me" || return
	j=0
	until record objects "handle=p$me" from_root=0 || [ $j = 20 ]; do
		j=$((j + 1))
		try objects free "p$me"
		try objects alloc "p$me" r "$tests_group/p$me" 2
	done
	rmdir "$cgroups/p$me"
	in_turn
	try objects free "p$me" $context
}

roots_r() {
	try roots create r 64
	sleep 0.05
	[ $((i % 3)) = 0 ] || try roots destroy r
	[ $((i % 3)) != 0 ] || try roots destroy r async
}

attachments() {
	try cgroups detach
	try cgroups attach
	sleep 0.1
}

reader() { cat "$control"/roots "$control"/groups "$control"/children "$control"/cgroups >/dev/null; }

storm() {
	large_trace
	mkdir $cgroups
	before=$(sed -n 's/^nr_dying_descendants //p' /sys/fs/cgroup/cgroup.stat)
	put cgroups attach
	seconds=6
	run "$@" 2>"$scratch/noise"
	remove_cgroups || fail "cgroups are left"
	await none_more_dying
	await nothing_followed
}
none_more_dying() { grep -qx "nr_dying_descendants $before" /sys/fs/cgroup/cgroup.stat; }
nothing_followed() {
	number=$(find /sys/fs/cgroup -mindepth 1 -type d | wc -l)
	record cgroups "followed=$number" missed=0 || record cgroups state=detached
}

one_root() {
	put roots create r 64
	storm made_and_removed lives_in patient moves patient reader
}
roots_too() { storm roots_r made_and_removed lives_in patient moves moves; }
attachments_too() { storm roots_r made_and_removed attachments lives_in patient moves; }

# mayflies NUMBER WHO: so many, one after the other, of this name.
mayflies() {
	j=0
	while [ $j -lt "$1" ]; do
		j=$((j + 1))
		mkdir "$cgroups/y$2"
		rmdir "$cgroups/y$2"
	done
}

# Who is told that a cgroup comes is told that it goes, also while the attachment is only being made.
mayflies_too() {
	mkdir $cgroups
	for i in $(seq $((20 / slow))); do
		say "round $i"
		mayflies 60 1 &
		mayflies 60 2 &
		put cgroups attach
		wait
		await nothing_followed
		put cgroups detach
	done
}

tests "I4 cgroups made, filled, moved between and removed" one_root \
	"I1 while roots are destroyed and made again" roots_too \
	"I8 while cgroups are attached and detached, too" attachments_too \
	"I4 cgroups that live as long as it takes to attach" mayflies_too
