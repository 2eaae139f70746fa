#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=busybox disable=SC2016,SC2030,SC2031,SC2086
# Every processor makes and removes cgroups, allocates for them and moves tasks between them, while roots are
# destroyed and created again. Then the trace must add up.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=workers.sh
. "$here/workers.sh"

# The root cgroup is not a group.
home=/sys/fs/cgroup
tests_group=${cgroups#/sys/fs/cgroup}

# Makes a cgroup in every round, and allocates for it from outside.
made_and_removed() {
	mkdir "$cgroups/m$me" || return
	try objects alloc "h$me" r "$tests_group/m$me" 3
	try objects alloc "i$me" r "$tests_group/m$me" 3
	context_for "$i"
	[ $((i % 2)) = 0 ] || try objects free "h$me" $context
	rmdir "$cgroups/m$me"
	try objects free "h$me" $context
	try objects free "i$me" $context
}

# Moves into a cgroup, and leaves it with objects alive.
lives_in() {
	mkdir "$cgroups/l$me" "$cgroups/l$me/x" || return
	echo 0 >"$cgroups/l$me/x/cgroup.procs"
	try objects alloc "k$me" r current 2
	echo 0 >"$cgroups/l$me/cgroup.procs"
	try objects alloc "l$me" r current 2
	echo 0 >$home/cgroup.procs
	context_for "$i"
	rmdir "$cgroups/l$me/x" "$cgroups/l$me"
	try objects free "k$me" $context
	try objects free "l$me" $context
}

# Moves through one cgroup that all workers share.
moves() {
	mkdir "$cgroups/shared" 2>/dev/null
	echo 0 >"$cgroups/shared/cgroup.procs"
	try objects alloc "s$me" r current 2
	echo 0 >$home/cgroup.procs
	[ $((i % 4)) != 0 ] || rmdir "$cgroups/shared"
	context_for "$i"
	try objects free "s$me" $context
}

# Waits until the cgroup is served by its own cache.
patient() {
	mkdir "$cgroups/p$me" || return
	until_served "p$me" "$tests_group/p$me"
	rmdir "$cgroups/p$me"
	context_for "$i"
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

# mayflies NUMBER NAME: makes and removes a cgroup that many times.
mayflies() {
	for _ in $(seq "$1"); do
		mkdir "$cgroups/y$2"
		rmdir "$cgroups/y$2"
	done
}

# If the attachment sees the mkdir of a cgroup it must see its rmdir, also while it is being set up.
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

tests "I4 the trace adds up while cgroups are made, filled and removed and tasks move" one_root \
	"I1 the trace adds up while roots are destroyed and created again, too" roots_too \
	"I8 the trace adds up while cgroups are attached and detached, too" attachments_too \
	"I4 no rmdir is missed of a cgroup that is made and removed during the attachment" mayflies_too
