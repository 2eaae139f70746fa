#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=busybox disable=SC2016,SC2030,SC2031,SC2086
# Roots that account: the objects are charged to the memory cgroup of the group, whichever task allocates them.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=cgroups.sh
. "$here/cgroups.sh"

# start_charging CGROUP…: makes the cgroups, with the memory controller, and the root "paid", of 1 KiB objects.
start_charging() {
	make_with_memory "$@"
	attach
	put roots create paid 1024 account
	must roots name=paid account=yes
}

# kib CGROUP FILE [KEY]: $kib is the value in memory.FILE, in KiB.
kib() {
	if [ "$3" ]; then
		kib=$(sed -n "s/^$3 //p" "$cgroups/$1/memory.$2")
	else
		kib=$(cat "$cgroups/$1/memory.$2")
	fi
	kib=$((kib / 1024))
}

# is_charged CGROUP LEAST MOST: is its slab memory in this range, in KiB? Per-CPU stocks delay the charge of a page.
is_charged() {
	kib "$1" stat slab
	[ $kib -ge $2 ] && [ $kib -le $3 ]
}

# A process in the cgroup allocates 1,000 objects of 1 KiB. Freeing them uncharges the cgroup.
for_current() {
	start_charging a b
	child_for a paid
	kib a current
	before=$kib
	is_charged a 0 100 || fail "a is charged $kib KiB already"
	inside a put objects alloc h paid current 1000
	objects_from h 0 1000
	await is_charged a 1000 1200
	kib a current
	[ $((kib - before)) -ge 950 ] || fail "memory.current went from $before to $kib KiB"
	is_charged b 0 20 || fail "b is charged $kib KiB"
	put objects free h
	await is_charged a 0 100
	kib a current
	[ $((kib - before)) -le 300 ] || fail "memory.current is $kib KiB, and was $before"
}

# The allocating task is in b or in the root cgroup, or it is an interrupt.
for_others() {
	start_charging a b
	child_for a paid
	path a
	inside b put objects alloc h1 paid "$path" 500
	inside b put objects alloc h2 paid "$path" 300 softirq
	put objects alloc h3 paid "$path" 200 $hardirq
	objects_from h1 0 500
	objects_from h2 0 300
	objects_from h3 0 200
	# On PREEMPT_RT nothing is charged in an interrupt.
	charged=1000
	[ $hardirq = hardirq ] || charged=500
	await is_charged a $charged $((charged + 200))
	is_charged b 0 20 || fail "b is charged $kib KiB"
	put objects free h1 $hardirq
	put objects free h2 task
	put objects free h3 softirq
	await is_charged a 0 100
}

# The first objects come from the root's own cache, and are charged to the cgroup, too.
first_objects() {
	start_charging a
	block
	path a
	put objects alloc h paid "$path" 500
	objects_from h 500 0
	await is_charged a 500 700
	unblock
	put objects free h
	await is_charged a 0 100
}

# A root without "account" charges no cgroup.
without_account() {
	start_charging a
	put roots create free 1024
	must roots name=free account=no
	child_for a free
	inside a put objects alloc h free current 1000
	objects_from h 0 1000
	is_charged a 0 100 || fail "a is charged $kib KiB"
}

# rmdir frees the cgroup, and the kernel moves its charge to the parent.
reparented() {
	start_charging p
	echo +memory >$cgroups/p/cgroup.subtree_control
	make p/a
	child_for p/a paid
	before=$(dying)
	inside p/a put objects alloc h paid current 1000
	await is_charged p/a 1000 1200
	gone p/a
	await dying_is "$before"
	await is_charged p 1000 1300
	must children "child=$child" objects=1000
	await has_stage "$child" killed
	await_exact_counts
	put objects free h $hardirq
	await is_charged p 0 150
	await event "child_free: .* child=$child"
}

# Allocations over memory.max fail with ENOMEM and lose nothing; below it they work again.
limited() {
	start_charging a
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
	await is_charged a 500 800
	# The OOM killer must not kill a task in the cgroup, either.
	inside a refused ENOMEM objects alloc more paid current 5000
	grep -qx 'oom_kill 0' $cgroups/a/memory.events || fail "the OOM killer has killed a task"
	inside a refused ENOMEM objects alloc more paid current 5000 || fail "again"
	put objects alloc more paid "$path" 500
	put objects free h
	put objects free more $hardirq
	await is_charged a 0 100
	echo max >$cgroups/a/memory.max
	put objects alloc more paid "$path" 5000
	put objects free more
}

# After detaching, the objects are charged to the cgroup of the current task, as usual in the kernel.
detached() {
	start_charging a
	detach
	inside a put objects alloc h paid - 500
	await is_charged a 500 700
	put objects free h
}

# The memory controller is in a hierarchy of version 1, where the groups have no memory cgroup.
hybrid() {
	grep -q '^memory	' /proc/cgroups 2>/dev/null || skip "the kernel has no memory controller of version 1 (MEMCG_V1)"
	memory_v1=$scratch/memory
	mkdir "$memory_v1"
	# A controller that the unified hierarchy uses cannot be mounted elsewhere.
	echo -memory >/sys/fs/cgroup/cgroup.subtree_control
	await mount -t cgroup -o memory memory "$memory_v1"
	trap 'rmdir "$memory_v1/payer"; umount "$memory_v1"' EXIT
	mkdir "$memory_v1/payer"
	make a
	attach
	put roots create paid 1024 account
	child_for a paid
	(
		echo 0 >"$memory_v1/payer/cgroup.procs"
		me=payer
		put objects alloc h paid "$path" 1000
	) || exit 1
	objects_from h 0 1000
	await pays_v1 900
	put objects free h
	await not pays_v1 300
}
pays_v1() { [ $(($(cat "$memory_v1/payer/memory.usage_in_bytes") / 1024)) -ge $1 ]; }

tests "a cgroup is charged for the objects of its processes until they are freed" for_current \
	"a cgroup is charged for objects that others allocate for it, in every context" for_others \
	"a cgroup is charged for its first objects, which come from the root's own cache" first_objects \
	"no cgroup is charged for objects of a root that does not account" without_account \
	"I4 after rmdir the parent is charged, and the cgroup is freed" reparented \
	"I6 memory.max: allocations fail with ENOMEM, nothing is lost and no task is killed" limited \
	"the current cgroup is charged if the memory controller is in a hierarchy of version 1" hybrid \
	"without an attachment the current cgroup is charged" detached
