#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=busybox disable=SC2016,SC2030,SC2031,SC2086
# Frees and last frees in task, softirq and hard interrupt context.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

# Objects of an active child and of the root's own cache: no free is the last one.
free_of_live() {
	put roots create r 256
	group_with_child g r
	for context in $contexts; do
		for number in 1 1000; do
			put objects alloc child r g $number
			objects_from child 0 $number
			put objects alloc own r - $number
			objects_from own $number 0
			put objects free child "$context"
			put objects free own "$context"
			not record objects || fail "a handle is left"
		done
	done
	must children "child=$child" stage=active
	no_event "child_(release|defer_release|kill): .*"
}

# Objects of a child, of the root's own cache, and the first object of a group, which requests its child.
alloc_in() {
	put roots create r 256
	group_with_child g r
	for context in $contexts; do
		put objects alloc child r g 100 "$context"
		objects_from child 0 100
		put objects alloc own r - 100 "$context"
		objects_from own 100 0
		put groups create "g$context"
		put objects alloc first r "g$context" 1 "$context"
		objects_from first 1 0
		event "child_request: ctx=$context .*" || fail "no child was requested in $context"
		await event "child_create: .*"
		put objects free first $hardirq
		put objects free child softirq
		put objects free own task
	done
	set -- $contexts
	must stats name=r allocations_child=$(($# * 100)) objects=0
}

# last_free CONTEXT NUMBER
last_free() {
	put roots create r 256
	killed_child g h "$2"
	await_exact_counts
	must children "child=$child" stage=killed
	put objects free h "$1"
	has_events 1 "child_release: .* child=$child" || fail "released $count times"
	event "child_release: ctx=$1 .* child=$child" || fail "not released in $1"
	await event "child_free: ctx=task .* child=$child"
	await not cache_of "$child"
	destroy r
}
one_task() { last_free task 1; }
one_softirq() { last_free softirq 1; }
one_hardirq() { needs_hardirq && last_free hardirq 1; }
many_task() { last_free task 1000; }
many_softirq() { last_free softirq 1000; }
many_hardirq() { needs_hardirq && last_free hardirq 1000; }

# Objects freed in three contexts: the last free releases the child, whichever context it is in.
last_of_three() {
	put roots create r 64
	for last in $contexts; do
		group_with_child "g$last" r
		for context in $contexts; do put objects alloc "h$context" r "g$last" 10; done
		put groups offline "g$last"
		await has_stage "$child" killed
		await_exact_counts
		for context in $contexts; do
			[ "$context" = "$last" ] || put objects free "h$context" "$context"
		done
		must children "child=$child" stage=killed
		put objects free "h$last" "$last"
		event "child_release: ctx=$last .* child=$child" || fail "not released in $last"
		await event "child_free: ctx=task .* child=$child"
	done
}

# The last object is freed before the count is exact: the RCU callback of the kill releases the child.
freed_before_kill() {
	put roots create r 64
	for context in $contexts; do
		group_with_child "g$context" r
		put objects alloc h r "g$context" 10
		hold
		put groups offline "g$context"
		must children "child=$child" stage=deactivating
		put objects free h "$context"
		must children "child=$child" stage=deactivating
		release
		await event "child_free: ctx=task .* child=$child"
		in_order "child_rcu: ctx=$callback .* child=$child" "child_kill: ctx=task .* child=$child" \
			"child_release: ctx=$callback .* child=$child" "child_shutdown: ctx=task .* child=$child"
	done
}

# A release while the root is dying is deferred, in every context.
deferred_in() {
	for context in $contexts; do
		new_root
		killed_child "g$context" h 10
		await_exact_counts
		block
		begin_destroy
		put objects free h "$context"
		event "child_defer_release: ctx=$context .* child=$child" || fail "not deferred in $context"
		no_event "child_release: .* child=$child"
		must children "child=$child" stage=release_deferred
		unblock
		end_destroy ok
		event "child_free: ctx=task .* child=$child" || fail "not freed by the destroy"
	done
}

# Last frees in hard interrupts, on a processor whose task holds the gate most of the time: the first read
# of the file children takes the gate and prints all 100. If the gate did not disable interrupts, the
# processor would deadlock.
interrupted_holder() {
	needs_hardirq
	cpu=$(($(grep -c '^processor' /proc/cpuinfo) - 1))
	taskset -p "$$" >/dev/null 2>&1 || skip "there is no taskset"
	put roots create r 64
	groups_with_children 100
	for i in $(seq 40); do
		put objects alloc "h$i" r "g$i"
		put groups offline "g$i"
	done
	count objects '^handle=h.* from_root=0 from_children=1$'
	[ "$count" = 40 ] || fail "$count of 40 groups were served by their children"
	await has_events 40 "child_kill: .*"
	await_exact_counts
	rm -f "$scratch"/stop "$scratch"/freed
	taskset -c "$cpu" sh -c 'until [ -e "$1/stop" ]; do read -r line <"$2"; done' sh "$scratch" "$control/children" &
	taskset -c "$cpu" sh -c '
		for i in $(seq 40); do
			echo "free h$i hardirq" >"$2/objects" || exit
			echo $i >"$1/freed"
		done
		: >"$1/all"' sh "$scratch" "$control" &
	eventually test -e "$scratch/all" || fail "processor $cpu is stuck after $(cat "$scratch/freed") of 40 last frees in a hard interrupt: it waits for a lock that its own task holds"
	: >"$scratch/stop"
	wait
	has_events 40 "child_release: ctx=$hardirq .*" || fail "$count releases in hard interrupts, not 40"
	await has_events 40 "child_free: .* child=[1-9][0-9]*"
}

tests "I5 frees to an active child and to the root's own cache work in task, softirq, hard irq" free_of_live \
	"I7 allocations work in task, softirq, hard irq, and the first requests a child" alloc_in \
	"I5 last free of 1 object in a task releases the child" one_task \
	"I5 last free of 1 object in softirq releases the child" one_softirq \
	"I5 last free of 1 object in hard irq releases the child" one_hardirq \
	"I5 last free of 1000 objects in a task releases the child" many_task \
	"I5 last free of 1000 objects in softirq releases the child" many_softirq \
	"I5 last free of 1000 objects in hard irq releases the child" many_hardirq \
	"I5 after frees in three contexts the last one releases the child" last_of_three \
	"I2 last free before the kill: the child is released after its grace period" freed_before_kill \
	"I1 last free while the root is dying: the release is deferred, in every context" deferred_in \
	"I5 last frees in hard irqs that interrupt the holder of the gate do not deadlock" interrupted_holder
