#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=busybox disable=SC2016,SC2030,SC2031,SC2086
# The destroy of a root with children in every stage, and operations during it.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

# gone: nothing of r is left.
gone() {
	event "$destroyed" || fail "no root_destroy"
	must_be_empty
	# Each child was freed exactly once, by the destroy or a worker. A child that was not published has no child_create.
	sed -n "s/.* child_create: .* root=$root .* child=//p" "$trace/trace" >"$scratch/created"
	sed -n "s/.* child_free: .* root=$root .* child=//p" "$trace/trace" | sort >"$scratch/freed"
	double=$(uniq -d "$scratch/freed")
	[ -z "$double" ] || fail "freed twice: $double"
	left=$(grep -vxFf "$scratch/freed" "$scratch/created")
	[ -z "$left" ] || fail "not freed: $left"
	last=$(grep -E ' (child|root)_' "$trace/trace" | tail -n 1)
	case $last in *" root_destroy: "*) ;; *) fail "after root_destroy: $last" ;; esac
}

# usable GROUP: r serves this group and its own cache works.
usable() {
	must roots name=r state=live
	put objects alloc usable r "$1"
	put objects free usable softirq
	put objects alloc usable r -
	put objects free usable $hardirq
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
	in_order "root_dying: .* name=r" "root_drained: .* name=r" "child_mark_killed: .*" "child_shutdown: .*" "root_destroy: .* name=r"
}

active_with_objects() {
	new_root
	group_with_child g r
	first=$child
	put objects alloc h r g 10
	unchanged destroy_begun r
	in_order "root_dying: .* name=r" "root_drained: .* name=r" "child_mark_killed: .* child=$first" "child_resurrect: .* child=$first"
	event "root_busy: .* name=r" || fail "no root_busy"
	# The child serves allocations as before, and its life continues.
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
	destroy_begun r
	in_order "root_drained: .* name=r" "child_resurrect: .* child=0"
	usable g
	put objects free h
	destroy r
	gone
}

# The same children are there after the failure, with objects or without.
busy_changes_nothing() {
	put roots create r 128
	group_with_child idle r
	idle=$child
	group_with_child used r
	put objects alloc h r used 3
	before=$(cat $control/children $control/groups)
	for word in "" uncounted; do
		refused EBUSY roots destroy r $word
		[ "$(cat $control/children $control/groups)" = "$before" ] || fail "it was: $before"
	done
	put objects alloc i r idle
	objects_from i 0 1
	must children "child=$idle" stage=active objects=1
	put objects free i $hardirq
	put objects free h softirq
	destroy r
}

# The object of one child makes the destroy fail; the other children have none.
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
	destroy_begun r
	must children "child=$two" stage=active
	# The groups without objects are served again, too, by the old child or a new one.
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

# A destroy that fails is not begun: nobody is refused anything meanwhile. Another processor allocates all the time.
nobody_refused() {
	new_root
	group_with_child g r
	put groups create new
	put objects alloc h r $1
	(
		me=allocator
		while [ ! -e "$scratch/stop" ]; do
			for group in g -; do
				try objects alloc loop r $group 50 || echo "$group: $errno"
				try objects free loop
			done
		done >"$scratch/refused"
		: >"$scratch/stopped"
	) &
	for i in $(seq 100); do refused EBUSY roots destroy r; done
	: >"$scratch/stop"
	await test -e "$scratch/stopped"
	rm "$scratch/stop" "$scratch/stopped"
	[ ! -s "$scratch/refused" ] || fail "refused: $(sort "$scratch/refused" | uniq -c)"
	no_event "root_dying: .*"
	counted r busy_at_once 100
	# A child is made as before.
	block
	put objects alloc first r new
	event "child_request: .*" || fail "no request"
	unblock
}
nobody_refused_by_child() { nobody_refused g; }
nobody_refused_by_root() { nobody_refused -; }

# The same for an object of a killed child, as the count is exact.
killed_answers_at_once() {
	new_root
	killed_child g h
	await_exact_counts
	refused EBUSY roots destroy r
	no_event "root_dying: .* name=r"
	counted r busy_at_once 1
	put objects free h
	destroy r
	gone
}

destroy_has_begun() { event "$dying" || is_done destroyer; }

# What is not exact says nothing: the destroy begins, and waits.
inexact_says_nothing() {
	child_before_kill
	hold
	unblock
	await event "child_kill: .* child=$child"
	start destroyer roots destroy r
	await destroy_has_begun
	if ! event "$dying"; then
		skip_if_hold_expired
		fail "the destroy has failed at once"
	fi
	put objects free h
	release
	end_destroy ok
	gone
}

# The first rcu_barrier() of the drain waits for the callback of a deactivating child, and the flush after it for
# the work that the callback queues. The workqueue is blocked when the destroy is already in the barrier.
deactivating() {
	new_root
	group_with_child g r
	hold
	put groups offline g
	must children "child=$child" stage=deactivating
	begin_destroy
	await is_asleep "$destroyer"
	block
	stays_false event "$drained"
	no_event "child_rcu: .*"
	release
	await event "child_rcu: ctx=$callback .* child=$child"
	stays_false event "$drained"
	must children "child=$child" stage=quiescent
	no_event "child_kill: .*"
	unblock
	end_destroy ok
	in_order "child_offline: .*" "root_dying: .* name=r" "child_rcu: .*" "child_kill: .*" \
		"child_defer_release: .* child=$child" "root_drained: .* name=r" "child_shutdown: .* child=$child" "root_destroy: .* name=r"
	gone
}

# The second rcu_barrier() of the drain: the work that the drain has waited for has just called percpu_ref_kill().
# The object is alive until the destroy has begun, so that the count cannot reach zero before.
killed_in_drain() {
	child_before_kill
	begin_destroy
	put objects free h $hardirq
	unblock
	end_destroy ok
	in_order "child_rcu: .*" "root_dying: .* name=r" "child_kill: .*" "root_drained: .* name=r" "root_destroy: .* name=r"
	in_order "child_kill: .*" "child_defer_release: ctx=$callback .* child=$child" "root_drained: .* name=r"
	gone
}

killed_with_objects() {
	new_root
	killed_child g h
	destroy_begun r
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
	block
	put objects free h $hardirq
	must children "child=$child" stage=released
	begin_destroy
	stays_false event "$drained"
	no_event "child_shutdown: .* child=$child"
	unblock
	end_destroy ok
	in_order "child_release: ctx=$hardirq .*" "root_dying: .* name=r" "child_shutdown: .* child=$child" \
		"child_free: .* child=$child" "root_drained: .* name=r" "root_destroy: .* name=r"
	gone
}

# While a root is dying nothing is queued: offline and release are deferred, and a first allocation requests no child.
# dying_with_both_deferred CONTEXT [HANDLE]: $off and $rel are their children; $off has an object HANDLE.
dying_with_both_deferred() {
	new_root
	group_with_child offline r
	off=$child
	[ ! "$2" ] || put objects alloc "$2" r offline
	killed_child released h
	rel=$child
	new_group new
	new=$group
	await_exact_counts
	block
	begin_destroy
	put groups offline offline
	event "child_defer_offline: .* child=$off" || fail "no child_defer_offline"
	must children "child=$off" stage=offline_deferred
	event "group_free: .* name=offline" || fail "I4: the group is not freed"
	put objects free h "$1"
	event "child_defer_release: ctx=$1 .* child=$rel" || fail "no child_defer_release"
	must children "child=$rel" stage=release_deferred
	events "child_request: .*"
	put objects alloc first r new
	objects_from first 1 0
	has_events $count "child_request: .*" || fail "a child was requested"
}

# The destroy that succeeds shuts both down.
both_deferred() {
	dying_with_both_deferred $hardirq
	put objects free first
	unblock
	end_destroy ok
	no_event "child_(offline|rcu|kill): .* child=$off"
	no_event "child_release: .* child=$rel"
	gone
}

# After a destroy that fails both continue.
handed_back() {
	dying_with_both_deferred softirq inside
	unblock
	end_destroy EBUSY
	must roots name=r state=live
	await event "child_free: .* child=$rel"
	await event "child_kill: .* child=$off"
	in_order "child_defer_offline: .* child=$off" "root_busy: .* name=r" "child_offline: .* child=$off" \
		"child_rcu: ctx=$callback .* child=$off" "child_kill: .* child=$off"
	in_order "child_defer_release: .* child=$rel" "root_busy: .* name=r" "child_release: .* child=$rel" "child_shutdown: .* child=$rel"
	put objects alloc second r new
	await event "child_create: .* group=$new child=[0-9]+"
	await_exact_counts
	put objects free inside $hardirq
	await event "child_free: .* child=$off"
	put objects free first
	put objects free second
	destroy r
	gone
}

# A creation that was requested before the destroy, and runs after the flag is set.
creation_pending() {
	new_root
	put groups create g
	block
	put objects alloc h r g
	event "child_request: .*" || fail "no request"
	put objects free h
	begin_destroy
	unblock
	end_destroy ok
	no_event "child_create: .*"
	event "child_abort: .*" || fail "no child_abort"
	in_order "root_dying: .* name=r" "child_abort: .*" "root_drained: .* name=r" "root_destroy: .* name=r"
	must groups name=g children=0
	gone
}

# The same, with a destroy that fails: the next object of the group requests the child again.
creation_aborted() {
	new_root
	put groups create g
	block
	put objects alloc h r g
	event "child_request: .*" || fail "no request"
	begin_destroy
	unblock
	end_destroy EBUSY
	event "child_abort: .*" || fail "no child_abort"
	put objects alloc again r g
	await event "child_create: .*"
	put objects alloc last r g
	objects_from last 0 1
}

second_destroy() {
	new_root
	group_with_child g r
	block
	begin_destroy
	destroy r EBUSY
	has_events 1 "root_dying: .* name=r" || fail "dying was set $count times"
	must roots name=r state=dying
	refused EEXIST roots create r 64
	unblock
	end_destroy ok
	gone
	put roots create r 32
	must roots name=r size=32
	number_of root r
	[ "$value" != "$root" ] || fail "the number $root for two roots"
	usable g
}

# On a dying root an allocation succeeds or fails with ENODEV; it never hangs.
alloc_while_dying() {
	new_root
	group_with_child g r
	put groups create new
	block
	begin_destroy
	for group in g new -; do
		start allocator objects alloc "h$group" r "$group"
		finish allocator
		case $result in
		ok) put objects free "h$group" ;;
		ENODEV) ;;
		*) fail "alloc for $group: $result" ;;
		esac
	done
	unblock
	end_destroy ok
	gone
}

# Two processes destroy the same root at once, while it is used.
both_processors() {
	for i in $(seq 15); do
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
	has_events 15 "root_destroy: .* name=r" || fail "$count roots of 15 destroyed"
}

# The asynchronous destroy returns at once; the last free destroys the root, in whichever context it is.
asynchronous() {
	new_root
	group_with_child g r
	put objects alloc own r - 3
	put objects alloc in r g 3
	put roots destroy r async
	event "root_close: ctx=task root=$root name=r" || fail "no root_close"
	must roots name=r state=closing
	# The name is free at once.
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
	await event "$destroyed"
	await not record roots
	await not any_cache
	gone
	must groups name=g children=0
}

asynchronous_idle() {
	new_root
	group_with_child g r
	put roots destroy r async
	await event "$destroyed"
	await not record roots
	await not any_cache
	gone
	# The name is free again.
	put roots create r 64
}

# With children in every stage: operations that were admitted continue, and the root destroys itself.
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
	block
	put groups offline deactivating
	put objects alloc asks r asks
	put roots destroy r async
	put groups offline active
	refused ENOENT objects alloc late r late
	for handle in deactivating killed active asks; do put objects free $handle softirq; done
	release
	unblock
	await event "$destroyed"
	await not record roots
	await not any_cache
	gone
}

# A destroy does nothing to another root.
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
	no_event "child_(mark_killed|defer_release|shutdown): .* child=$survivor"
}

tests "I1 a root without children is destroyed at once" without_children \
	"I2 active children without objects are shut down" active_without_objects \
	"I6 an active child with objects: the destroy fails with EBUSY, and all works as before" active_with_objects \
	"I6 objects of the root's own cache: the destroy fails with EBUSY, and all works as before" own_objects \
	"I6 a failed destroy leaves the same children" busy_changes_nothing \
	"I6 one busy child of three: the destroy fails with EBUSY, and all three groups are served" busy_among_idle \
	"I11 while destroys fail, as an object of a child lives, every allocation succeeds" nobody_refused_by_child \
	"I11 while destroys fail, as an object of the root's own cache lives, every allocation succeeds" nobody_refused_by_root \
	"I11 a destroy fails at once where a killed child has an object" killed_answers_at_once \
	"I6 a destroy begins where the count of a killed child is not exact yet" inexact_says_nothing \
	"I1 the drain waits for the callback and the work of a deactivating child" deactivating \
	"I1 the drain waits for the grace period of a child that is killed during it" killed_in_drain \
	"I6 a killed child with objects: the destroy fails with EBUSY, and the child is released later" killed_with_objects \
	"I1 the drain waits for the shutdown work of a released child" released_work_pending \
	"I1 while a root is dying, offline and release are deferred and no child is requested" both_deferred \
	"I6 after a failed destroy everything that it had deferred continues" handed_back \
	"I8 a creation that was requested before the destroy makes no child of a dying root" creation_pending \
	"I8 a creation that a failed destroy has aborted is requested again" creation_aborted \
	"I6 a second destroy meanwhile fails with EBUSY; afterwards the name is free" second_destroy \
	"I6 an allocation on a dying root succeeds or fails with ENODEV, and never hangs" alloc_while_dying \
	"I2 two processes that destroy the same root destroy it once" both_processors \
	"I5 a closing root is destroyed after its last free, in a hard irq" asynchronous \
	"I2 a closing root without objects destroys itself" asynchronous_idle \
	"I1 a closing root with children in every stage is destroyed after their last frees" asynchronous_in_every_stage \
	"I6 a destroy does not change another root" other_roots
