#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=busybox disable=SC2016,SC2030,SC2031,SC2086
# Roots that account: the memory cgroup of the group pays for the objects, whoever allocates them.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=cgroups.sh
. "$here/cgroups.sh"

# start_paying CGROUP…: these, with the memory controller; the root paid, of 1 KiB objects.
start_paying() {
	grep -qw memory /sys/fs/cgroup/cgroup.controllers || skip "the kernel has no memory controller"
	echo +memory >/sys/fs/cgroup/cgroup.subtree_control
	mkdir $cgroups
	echo +memory >$cgroups/cgroup.subtree_control
	make "$@"
	attach
	put roots create paid 1024 account
	must roots name=paid account=yes
}

# kib CGROUP FILE [KEY]: $kib is what memory.FILE says.
kib() {
	if [ "$3" ]; then
		kib=$(sed -n "s/^$3 //p" "$cgroups/$1/memory.$2")
	else
		kib=$(cat "$cgroups/$1/memory.$2")
	fi
	kib=$((kib / 1024))
}

# pays CGROUP LEAST MOST: slab memory in KiB. (The charge of a page may lag a little: per-CPU stocks.)
pays() {
	kib "$1" stat slab
	[ $kib -ge $2 ] && [ $kib -le $3 ]
}

# 1,000 objects of 1 KiB, by a process in there; what it frees is given back.
for_current() {
	start_paying a b
	child_for a paid
	kib a current
	before=$kib
	pays a 0 100 || fail "a pays for $kib KiB already"
	inside a put objects alloc h paid current 1000
	objects_from h 0 1000
	await pays a 1000 1200
	kib a current
	[ $((kib - before)) -ge 950 ] || fail "memory.current went from $before to $kib KiB"
	pays b 0 20 || fail "b pays $kib KiB"
	put objects free h
	await pays a 0 100
	kib a current
	[ $((kib - before)) -le 300 ] || fail "memory.current is $kib KiB, and was $before"
}

# The allocating task is in b, or in no cgroup; or it is an interrupt.
for_others() {
	start_paying a b
	child_for a paid
	path a
	inside b put objects alloc h1 paid "$path" 500
	inside b put objects alloc h2 paid "$path" 300 softirq
	put objects alloc h3 paid "$path" 200 $hardirq
	objects_from h1 0 500
	objects_from h2 0 300
	objects_from h3 0 200
	await pays a 1000 1200
	pays b 0 20 || fail "b pays $kib KiB"
	put objects free h1 $hardirq
	put objects free h2 task
	put objects free h3 softirq
	await pays a 0 100
}

# The first objects come from the root's own cache: the cgroup pays for them all the same.
first_objects() {
	start_paying a
	stall
	path a
	put objects alloc h paid "$path" 500
	objects_from h 500 0
	await pays a 500 700
	resume
	put objects free h
	await pays a 0 100
}

# No root that does not account charges anybody.
without_account() {
	start_paying a
	put roots create free 1024
	must roots name=free account=no
	child_for a free
	inside a put objects alloc h free current 1000
	objects_from h 0 1000
	pays a 0 100 || fail "a pays $kib KiB"
}

# After rmdir the kernel has the parent pay, and the cgroup is gone.
reparented() {
	start_paying p
	echo +memory >$cgroups/p/cgroup.subtree_control
	make p/a
	child_for p/a paid
	before=$(dying)
	inside p/a put objects alloc h paid current 1000
	await pays p/a 1000 1200
	gone p/a
	await dying_is "$before"
	await pays p 1000 1300
	must children "child=$child" objects=1000
	await has_stage "$child" killed
	await_exact_counts
	put objects free h $hardirq
	await pays p 0 150
	await event "child_free: .* child=$child"
}

# memory.max is obeyed: ENOMEM, nothing lost, and below it all works again.
limited() {
	start_paying a
	child_for a paid
	echo $((2 * 1024 * 1024)) >$cgroups/a/memory.max
	put objects alloc h paid "$path" 500
	grep '^handle' $control/objects >"$scratch/before"
	refused ENOMEM objects alloc more paid "$path" 5000
	grep '^handle' $control/objects >"$scratch/after"
	cmp -s "$scratch/before" "$scratch/after" || fail "the objects have changed"
	must children "child=$child" objects=500
	kib a current
	[ $kib -le 2048 ] || fail "memory.current is $kib KiB, over memory.max"
	await pays a 500 800
	# Who is inside himself is not killed for it.
	inside a refused ENOMEM objects alloc more paid current 5000
	grep -qx 'oom_kill 0' $cgroups/a/memory.events || fail "somebody was killed"
	inside a refused ENOMEM objects alloc more paid current 5000 || fail "again"
	put objects alloc more paid "$path" 500
	put objects free h
	put objects free more $hardirq
	await pays a 0 100
	echo max >$cgroups/a/memory.max
	put objects alloc more paid "$path" 5000
	put objects free more
}

# Detached, the kernel's own rule holds: the current task pays.
detached() {
	start_paying a
	detach
	inside a put objects alloc h paid - 500
	await pays a 500 700
	put objects free h
}

tests "a cgroup pays for what its processes allocate, until it is freed" for_current \
	"a cgroup pays for what others allocate for it, in every context" for_others \
	"a cgroup pays for its first objects, from the root's own cache" first_objects \
	"nobody pays where the root does not account" without_account \
	"I4 after rmdir the parent pays, and the cgroup is gone" reparented \
	"I6 memory.max: ENOMEM, nothing lost, nobody killed" limited \
	"without an attachment the current task pays" detached
