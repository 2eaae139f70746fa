#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=busybox disable=SC2016,SC2030,SC2031,SC2086
# Destruction of a root, with its children in every stage, and what happens meanwhile.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

# new_root: r, $root its number.
new_root() {
	put roots create r 64
	number_of root r
	root=$value
}

# gone: nothing of r is left.
gone() {
	event "root_destroy: ctx=task root=$root name=r" || fail "no root_destroy"
	not record roots || fail "a root is left"
	not record children || fail "a child is left"
	not any_cache || fail "a cache is left"
	# Each child exactly once, whoever did it. One that was not published has no child_create.
	sed -n "s/.* child_create: .* root=$root .* child=//p" "$trace/trace" >"$scratch/created"
	sed -n "s/.* child_free: .* root=$root .* child=//p" "$trace/trace" | sort >"$scratch/freed"
	double=$(uniq -d "$scratch/freed")
	[ -z "$double" ] || fail "freed twice: $double"
	left=$(grep -vxFf "$scratch/freed" "$scratch/created")
	[ -z "$left" ] || fail "not freed: $left"
	last=$(grep -E ' (child|root)_' "$trace/trace" | tail -n 1)
	case $last in *" root_destroy: "*) ;; *) fail "after root_destroy: $last" ;; esac
}

# usable GROUP: r serves this group as ever.
usable() {
	must roots name=r state=live
	put objects alloc usable r "$1"
	put objects free usable softirq
	put objects alloc usable r -
	put objects free usable $hardirq
}

# begin: a destroy in the background that waits; the workqueue is stalled, or a grace period held.
begin() {
	start destroyer roots destroy r
	destroyer=$pid
	await event "root_dying: ctx=task root=$root name=r"
	must roots name=r state=dying
}

# ends RESULT
ends() {
	finish destroyer
	[ "$result" = "$1" ] || fail "the destroy: $result, not $1"
}

busy() {
	start busy roots destroy r
	finish busy
	[ "$result" = EBUSY ] || fail "the destroy: $result, not EBUSY"
}

# killed_child GROUP HANDLE: a child, killed, with one object. $child.
killed_child() {
	group_with_child "$1" r
	put objects alloc "$2" r "$1"
	put groups offline "$1"
	await has_stage "$child" killed
}

without_children() {
	new_root
	destroy r
	gone
	refused ENOENT roots destroy r
}

active_without_objects() {
	new_root
	group_with_child g1 r
	group_with_child g2 r
	destroy r
	gone
	must groups name=g1 children=0
	must groups name=g2 children=0
	in_order "root_dying: .* name=r" "root_drained: .* name=r" "child_condemn: .*" "child_shutdown: .*" "root_destroy: .* name=r"
}

active_with_objects() {
	new_root
	group_with_child g r
	first=$child
	put objects alloc h r g 10
	state >"$scratch/before"
	busy
	state >"$scratch/after"
	cmp -s "$scratch/before" "$scratch/after" || fail "it has changed something: $(diff "$scratch/before" "$scratch/after")"
	in_order "root_dying: .* name=r" "root_drained: .* name=r" "child_condemn: .* child=$first" "child_resurrect: .* child=$first"
	event "root_busy: .* name=r" || fail "no root_busy"
	# The child serves as before, and its life goes on as it would have.
	put objects alloc more r g 5
	objects_from more 0 5
	put groups offline g
	await has_stage "$first" killed
	put objects free more
	must children "child=$first" stage=killed
	await_exact_counts
	put objects free h $hardirq
	event "child_release: ctx=$hardirq .* child=$first" || fail "no release in a hard interrupt"
	await event "child_free: .* child=$first"
	destroy r
}

own_objects() {
	new_root
	group_with_child g r
	put objects alloc h r - 3
	busy
	in_order "root_drained: .* name=r" "child_resurrect: .* child=0"
	usable g
	put objects free h
	destroy r
	gone
}

# The very same children, whether they have objects or not.
busy_changes_nothing() {
	put roots create r 128
	group_with_child idle r
	idle=$child
	group_with_child used r
	put objects alloc h r used 3
	before=$(cat $control/children $control/groups)
	refused EBUSY roots destroy r
	[ "$(cat $control/children $control/groups)" = "$before" ] || fail "it was: $before"
	put objects alloc i r idle
	objects_from i 0 1
	must children "child=$idle" stage=active objects=1
	put objects free i $hardirq
	put objects free h softirq
	destroy r
}

# The object of one child makes the destroy fail; the others had none.
busy_among_idle() {
	new_root
	put groups create g1
	put groups create g2
	put groups create g3
	make_child g1 r
	make_child g2 r
	two=$child
	make_child g3 r
	put objects alloc h r g2
	objects_from h 0 1
	busy
	must children "child=$two" stage=active
	# What was without objects is in order, too: served again, by the old child or a new one.
	for name in g1 g2 g3; do usable $name; done
	await no_request_left
	for name in g1 g2 g3; do
		put objects alloc "i$name" r $name
		objects_from "i$name" 0 1
		put objects free "i$name"
	done
	put objects free h
	destroy r
	gone
}
no_request_left() {
	events "child_request: .*"
	requests=$count
	events "child_(create|abort): .*"
	[ "$requests" = "$count" ]
}

# The first rcu_barrier(): the callback of a child that is deactivated. It queues work, which is
# waited for afterwards: the workqueue is stalled when the destroy is past what comes before.
deactivating() {
	new_root
	group_with_child g r
	hold
	put groups offline g
	must children "child=$child" stage=deactivating
	begin
	await asleep "$destroyer"
	stall
	stays_false event "root_drained: ctx=task root=$root name=r"
	no_event "child_rcu: .*"
	release
	await event "child_rcu: ctx=$callback .* child=$child"
	stays_false event "root_drained: ctx=task root=$root name=r"
	must children "child=$child" stage=deactivating
	no_event "child_kill: .*"
	resume
	ends ok
	in_order "child_offline: .*" "root_dying: .* name=r" "child_rcu: .*" "child_kill: .*" \
		"child_suppress: .* child=$child" "root_drained: .* name=r" "child_shutdown: .* child=$child" "root_destroy: .* name=r"
	gone
}

# The second one: percpu_ref_kill() has just been called, by the work that the drain has waited for.
# The object lives until then, so that the count cannot reach zero before.
killed_in_drain() {
	new_root
	group_with_child g r
	put objects alloc h r g
	stall
	put groups offline g
	await event "child_rcu: .* child=$child"
	begin
	put objects free h $hardirq
	resume
	ends ok
	in_order "child_rcu: .*" "root_dying: .* name=r" "child_kill: .*" "root_drained: .* name=r" "root_destroy: .* name=r"
	in_order "child_kill: .*" "child_suppress: ctx=$callback .* child=$child" "root_drained: .* name=r"
	gone
}

killed_with_objects() {
	new_root
	killed_child g h
	busy
	must children "child=$child" stage=killed
	no_event "child_resurrect: .* child=$child"
	put objects free h softirq
	await event "child_free: .* child=$child"
	put roots destroy r
	gone
}

released_work_pending() {
	new_root
	killed_child g h
	await_exact_counts
	stall
	put objects free h $hardirq
	must children "child=$child" stage=released
	begin
	stays_false event "root_drained: ctx=task root=$root name=r"
	no_event "child_shutdown: .* child=$child"
	resume
	ends ok
	in_order "child_release: ctx=$hardirq .*" "root_dying: .* name=r" "child_shutdown: .* child=$child" \
		"child_free: .* child=$child" "root_drained: .* name=r" "root_destroy: .* name=r"
	gone
}

# While the root is dying nothing is queued: an offline parks, a last free is suppressed, a first
# allocation asks for no child. All of it is undone by a destroy that succeeds …
parked_and_suppressed() {
	new_root
	group_with_child parked r
	park=$child
	killed_child released h
	supp=$child
	put groups create new
	await_exact_counts
	stall
	begin
	put groups offline parked
	event "child_park: .* child=$park" || fail "no child_park"
	must children "child=$park" stage=parked
	event "group_free: .* name=parked" || fail "I4: the group is not freed"
	put objects free h $hardirq
	event "child_suppress: ctx=$hardirq .* child=$supp" || fail "no child_suppress"
	must children "child=$supp" stage=suppressed
	clear_requests=$(grep -c ' child_request: ' "$trace/trace")
	put objects alloc first r new
	objects_from first 1 0
	[ "$(grep -c ' child_request: ' "$trace/trace")" = "$clear_requests" ] || fail "a child was asked for"
	put objects free first
	resume
	ends ok
	no_event "child_(offline|rcu|kill): .* child=$park"
	no_event "child_release: .* child=$supp"
	gone
}

# … and goes on after one that fails.
handed_back() {
	new_root
	group_with_child parked r
	park=$child
	put objects alloc inpark r parked
	killed_child released h
	supp=$child
	put groups create new
	await_exact_counts
	stall
	begin
	put groups offline parked
	must children "child=$park" stage=parked
	put objects free h softirq
	must children "child=$supp" stage=suppressed
	put objects alloc first r new
	objects_from first 1 0
	resume
	ends EBUSY
	must roots name=r state=live
	await event "child_free: .* child=$supp"
	await event "child_kill: .* child=$park"
	in_order "child_park: .* child=$park" "root_busy: .* name=r" "child_offline: .* child=$park" \
		"child_rcu: ctx=$callback .* child=$park" "child_kill: .* child=$park"
	in_order "child_suppress: .* child=$supp" "root_busy: .* name=r" "child_release: .* child=$supp" "child_shutdown: .* child=$supp"
	put objects alloc second r new
	await event "child_create: .* group=[0-9]+ child=[0-9]+"
	await_exact_counts
	put objects free inpark $hardirq
	await event "child_free: .* child=$park"
	put objects free first
	put objects free second
	destroy r
	gone
}

# A creation that was admitted before, and runs after.
creation_pending() {
	new_root
	put groups create g
	stall
	put objects alloc h r g
	event "child_request: .*" || fail "no request"
	put objects free h
	begin
	resume
	ends ok
	no_event "child_create: .*"
	event "child_abort: .*" || fail "no child_abort"
	in_order "root_dying: .* name=r" "child_abort: .*" "root_drained: .* name=r" "root_destroy: .* name=r"
	must groups name=g children=0
	gone
}

second_destroy() {
	new_root
	group_with_child g r
	stall
	begin
	busy
	events "root_dying: .* name=r"
	[ "$count" = 1 ] || fail "dying was set $count times"
	must roots name=r state=dying
	refused EEXIST roots create r 64
	resume
	ends ok
	gone
	put roots create r 32
	must roots name=r size=32
	number_of root r
	[ "$value" != "$root" ] || fail "the number $root for two roots"
	usable g
}

# On a dying root an allocation works, or is refused with ENODEV; it never hangs.
alloc_while_dying() {
	new_root
	group_with_child g r
	put groups create new
	stall
	begin
	for group in g new -; do
		start allocator objects alloc "h$group" r "$group"
		finish allocator
		case $result in
		ok) put objects free "h$group" ;;
		ENODEV) ;;
		*) fail "alloc for $group: $result" ;;
		esac
	done
	resume
	ends ok
	gone
}

# The same root, destroyed from both processors while it is used.
both_processors() {
	i=0
	while [ $i -lt 15 ]; do
		i=$((i + 1))
		put roots create r 64
		put groups create "g$i"
		put objects alloc h r "g$i"
		[ $((i % 2)) = 0 ] || put objects free h
		start one roots destroy r
		start two roots destroy r
		finish one
		one=$result
		finish two
		case $((i % 2)):$one:$result in
		1:ok:ENOENT | 1:ENOENT:ok | 1:ok:EBUSY | 1:EBUSY:ok) ;;
		0:EBUSY:EBUSY)
			put objects free h
			destroy r ;;
		*) fail "round $i: $one, $result" ;;
		esac
	done
	not record roots || fail "a root is left"
	events "root_destroy: .* name=r"
	[ "$count" = 15 ] || fail "$count roots of 15 destroyed"
}

# The asynchronous destroy returns at once; the last object ends the root, wherever it is freed.
asynchronous() {
	new_root
	group_with_child g r
	put objects alloc own r - 3
	put objects alloc in r g 3
	put roots destroy r async
	event "root_close: ctx=task root=$root name=r" || fail "no root_close"
	must roots name=r state=closing
	# It has no name any more, another one may have it.
	refused ENOENT roots destroy r async
	refused ENOENT roots destroy r
	refused ENOENT objects alloc x r g
	refused ENOENT objects alloc x r -
	put roots create r 128
	must roots name=r state=live size=128
	put roots destroy r
	put objects free own
	must roots "root=$root" state=closing
	no_event "root_destroy: .* root=$root .*"
	put objects free in $hardirq
	await event "root_destroy: ctx=task root=$root name=r"
	await not record roots
	await not any_cache
	gone
	must groups name=g children=0
}

asynchronous_idle() {
	new_root
	group_with_child g r
	put roots destroy r async
	await event "root_destroy: ctx=task root=$root name=r"
	await not record roots
	await not any_cache
	gone
	# The name is free again.
	put roots create r 64
}

# With everything on its way: what was admitted goes on, and it ends by itself.
asynchronous_in_every_stage() {
	new_root
	group_with_child deactivating r
	put objects alloc deactivating r deactivating 5
	killed_child killed killed
	group_with_child active r
	put objects alloc active r active 5
	put groups create asks
	put groups create late
	hold
	stall
	put groups offline deactivating
	put objects alloc asks r asks
	put roots destroy r async
	put groups offline active
	refused ENOENT objects alloc late r late
	for handle in deactivating killed active asks; do put objects free $handle softirq; done
	release
	resume
	await event "root_destroy: ctx=task root=$root name=r"
	await not record roots
	await not any_cache
	gone
}

# Only the root that is meant.
other_roots() {
	put roots create other 64
	group_with_child g other
	survivor=$child
	new_root
	make_child g r
	put objects alloc h other g 3
	destroy r
	must children "child=$survivor" stage=active
	must groups name=g children=1
	put objects alloc i other g
	objects_from i 0 1
	no_event "child_(condemn|suppress|shutdown): .* child=$survivor"
}

tests "I1 a root without children" without_children \
	"I2 active children without objects are shut down" active_without_objects \
	"I6 active child with objects: EBUSY, and all works as before" active_with_objects \
	"I6 objects of the root's own cache: EBUSY, and all works as before" own_objects \
	"I6 a failed destroy leaves the very same children" busy_changes_nothing \
	"I6 one child busy, two idle: EBUSY, and all three serve" busy_among_idle \
	"I1 deactivating child: the drain waits for callback and work" deactivating \
	"I1 child killed by the drain: the drain waits for its grace period" killed_in_drain \
	"I6 killed child with objects: EBUSY, released later" killed_with_objects \
	"I1 released child: the drain waits for the shutdown work" released_work_pending \
	"I1 while dying nothing is queued: parked, suppressed, not asked for" parked_and_suppressed \
	"I6 a failed destroy lets everything go on that it had held up" handed_back \
	"I8 a creation that was admitted before: no child of a dying root" creation_pending \
	"I6 a second destroy meanwhile: EBUSY; the name can be used again" second_destroy \
	"I6 allocation on a dying root works or is refused, never hangs" alloc_while_dying \
	"I2 the same root destroyed from two processes at once" both_processors \
	"I5 asynchronous: ends by itself after the last object, freed in hard irq" asynchronous \
	"I2 asynchronous, without objects: ends by itself" asynchronous_idle \
	"I1 asynchronous, with children in every stage: ends by itself" asynchronous_in_every_stage \
	"I6 other roots do not notice" other_roots
