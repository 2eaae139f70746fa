#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=busybox disable=SC2016,SC2030,SC2031,SC2086
# The bugs that this protocol had in Linux. Each test forces the interleaving of one bug with the test knobs; here the
# interleaving must be harmless.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

# "mm: fix race between kmem_cache destroy, create and deactivate" (2018): a root was destroyed while
# work items of it were pending, one that creates a child and one that deactivates another.
destroyed_while_pending() {
	new_root
	group_with_child old r
	new_group new
	new=$group
	block
	put objects alloc h r new
	put groups offline old
	await event "child_rcu: .* child=$child"
	put objects free h
	begin_destroy
	stays_false event "$drained"
	no_event "child_(create|abort): .* group=$new .*"
	no_event "child_kill: .*"
	unblock
	end_destroy ok
	in_order "child_request: .* group=$new child=0" "root_dying: .*" "child_abort: .* group=$new child=0" "$drained"
	in_order "child_rcu: .* child=$child" "root_dying: .*" "child_kill: .* child=$child" "$drained" "child_free: .* child=$child" "$destroyed"
}

# "mm: add missing smp read barrier on getting memcg kmem_cache pointer" (2019): a child was used
# before it was initialised. Here one processor allocates without pause while a worker creates the child
# on another: every object comes from the root or from a published child, and is freed to the same cache.
seen_too_early() {
	new_root
	for i in $(seq 30); do
		# With checkers each takes some ten seconds, and the machine must not be silent for as long as all.
		say "group $i of 30"
		new_group "g$i"
		block
		put objects alloc first r "g$i"
		objects_from first 1 0
		start looker objects alloc "h$i" r "g$i" 3000
		unblock
		finish_with looker ok
		await event "child_create: .* group=$group child=[0-9]+"
		must objects "handle=h$i"
		put objects free "h$i" softirq
		put objects alloc "h$i" r "g$i"
		objects_from "h$i" 0 1
		put objects free "h$i" $hardirq
		put objects free first
	done
	has_events 30 "child_create: .*" || fail "$count children for 30 groups"
	destroy r
}

# "mm: memcg/slab: wait for !root kmem_cache refcnt killing on root kmem_cache destruction" (2019): an
# rcu_barrier() was missing. The work item that the flush waits for kills the reference, and the grace period
# of this kill is held open. The destroy must wait until it is over.
killing_not_awaited() {
	child_before_kill
	begin_destroy
	await is_asleep "$destroyer"
	put objects free h $hardirq
	hold
	unblock
	await event "child_kill: .* child=$child"
	stays_false event "$drained"
	no_event "child_(defer_release|release): .* child=$child"
	release
	end_destroy ok
	in_order "root_dying: .*" "child_kill: .* child=$child" "child_defer_release: ctx=$callback .* child=$child" "$drained" \
		"child_shutdown: .* child=$child" "$destroyed"
}

# "mm: memcg/slab: fix panic in __free_slab() caused by premature memcg pointer release" (2019): the
# reference on the group was dropped when the count was killed, but the group was used when slabs were freed
# later. Here the group is freed even earlier. No step of the child uses it: the child has an owner that is alive.
group_gone_first() {
	new_root
	new_group above
	above=$group
	put groups create g above
	make_child g r
	put objects alloc h r g 2000
	put objects alloc last r g
	hold
	block
	put groups offline g
	event "group_free: .* group=$group parent=$above name=g" || fail "the group is not freed"
	must children "child=$child" "owner=$above" stage=deactivating
	must groups name=above children=1
	release
	unblock
	await has_stage "$child" killed
	await_exact_counts
	put objects free h softirq
	put objects free last $hardirq
	await event "child_free: .* child=$child"
	in_order "child_reparent: .* group=$above child=$child" "group_free: .* group=$group .*" \
		"child_rcu: .* group=$above child=$child" "child_kill: .* group=$above child=$child" \
		"child_release: ctx=$hardirq .* group=$above child=$child" "child_shutdown: .* group=$above child=$child" \
		"child_free: .* group=$above child=$child"
	has_events 2 "child_[a-z]+: .* group=$group child=$child" ||
		fail "$count events name the group, not creation and offline only"
	must groups name=above children=0
}

# "mm: memcg/slab: fix memory leak at non-root kmem_cache destroy" (2020): the dying flag stayed set on a root whose
# destroy had failed. Releases that were deferred meanwhile must continue, and later ones must not be deferred.
deferred_for_ever() {
	new_root
	killed_child meanwhile meanwhile
	meanwhile=$child
	killed_child later later
	later=$child
	await_exact_counts
	block
	begin_destroy
	put objects free meanwhile $hardirq
	event "child_defer_release: ctx=$hardirq .* child=$meanwhile" || fail "not deferred"
	unblock
	end_destroy EBUSY
	await event "child_free: .* child=$meanwhile"
	put objects free later $hardirq
	await event "child_free: .* child=$later"
	in_order "child_defer_release: .* child=$meanwhile" "$drained" "root_busy: .* root=$root name=r" \
		"child_release: ctx=task .* child=$meanwhile" "child_shutdown: .* child=$meanwhile"
	in_order "root_busy: .* root=$root name=r" "child_release: ctx=$hardirq .* child=$later" "child_shutdown: .* child=$later"
	no_event "child_defer_release: .* child=$later"
	destroy r
}

# "The dying flag could get set right after the unlock": if the shutdown was queued after the flag was checked and
# the lock was dropped, a destroy in between would not wait for it. The last free races with the destroy, several
# times: it must come entirely before the flag is set, or after.
checked_then_queued() {
	for context in task softirq $hardirq task; do
		new_root
		killed_child g h
		await_exact_counts
		start freer objects free h $context
		try_destroy
		finish_with freer ok
		[ "$ending" = ok ] || destroy r
		if event "child_release: .* child=$child"; then
			has_events 2 "$dying" || in_order "child_release: .* child=$child" "$dying" "$drained"
		else
			in_order "$dying" "child_defer_release: ctx=$context .* child=$child" "child_shutdown: .* child=$child" "$destroyed"
		fi
		has_events 1 "child_shutdown: .* child=$child" || fail "shut down $count times"
	done
}
# try_destroy: $ending is the result: EBUSY where the object is still alive.
try_destroy() {
	start destroyer roots destroy r uncounted
	finish destroyer
	ending=$result
	case $ending in ok | EBUSY) ;; *) fail "the destroy: $ending" ;; esac
}

tests "B1 I1 the destroy waits for a pending creation and a pending deactivation" destroyed_while_pending \
	"B2 I8 an allocation during the creation sees an initialised child or none" seen_too_early \
	"B3 I1 the destroy waits for the grace period of a kill that has begun" killing_not_awaited \
	"B4 I4 no step of a child uses its group, which was freed before" group_gone_first \
	"B5 I6 after a failed destroy no release is deferred for ever" deferred_for_ever \
	"B6 I1 a last free that races with the destroy is before the dying flag or after it" checked_then_queued
