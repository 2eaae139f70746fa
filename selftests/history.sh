#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=busybox disable=SC2016,SC2030,SC2031,SC2086
# The bugs that this protocol had in Linux: each is brought about with the levers, and must be harmless.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

new_root() {
	put roots create r 64
	number_of root r
	root=$value
	ended="root_destroy: ctx=task root=$root name=r"
	drained="root_drained: ctx=task root=$root name=r"
}

begin() {
	start destroyer roots destroy r
	await event "root_dying: ctx=task root=$root name=r"
}

# ends RESULT
ends() {
	finish destroyer
	[ "$result" = "$1" ] || fail "the destroy: $result, not $1"
}

# "mm: fix race between kmem_cache destroy, create and deactivate" (2018): a root was destroyed while
# works of it were pending, one that makes a child and one that deactivates another.
destroyed_while_pending() {
	new_root
	group_with_child old r
	put groups create new
	number_of group new
	stall
	put objects alloc h r new
	put groups offline old
	await event "child_rcu: .* child=$child"
	put objects free h
	begin
	stays_false event "$drained"
	no_event "child_(create|abort): .* group=$value .*"
	no_event "child_kill: .*"
	resume
	ends ok
	in_order "child_request: .* group=$value child=0" "root_dying: .*" "child_abort: .* group=$value child=0" "$drained"
	in_order "child_rcu: .* child=$child" "root_dying: .*" "child_kill: .* child=$child" "$drained" "child_free: .* child=$child" "$ended"
}

# "mm: add missing smp read barrier on getting memcg kmem_cache pointer" (2019): a child was seen
# before it was initialised. Here one processor allocates without pause while a worker makes the child
# on another: every object comes from the root or from a child that was published, and goes back there.
seen_too_early() {
	new_root
	i=0
	while [ $i -lt 30 ]; do
		i=$((i + 1))
		put groups create "g$i"
		number_of group "g$i"
		stall
		put objects alloc first r "g$i"
		objects_from first 1 0
		start looker objects alloc "h$i" r "g$i" 3000
		resume
		finish looker
		[ "$result" = ok ] || fail "an allocation during the creation: $result"
		await event "child_create: .* group=$value child=[0-9]+"
		must objects "handle=h$i"
		put objects free "h$i" softirq
		put objects alloc "h$i" r "g$i"
		objects_from "h$i" 0 1
		put objects free "h$i" $hardirq
		put objects free first
	done
	events "child_create: .*"
	[ "$count" = 30 ] || fail "$count children for 30 groups"
	destroy r
}

# "mm: memcg/slab: wait for !root kmem_cache refcnt killing on root kmem_cache destruction" (2019): one
# rcu_barrier() too few. The work that the flush waits for kills the reference; the grace period of
# that is held open. The destroy must not go on before it is over.
killing_not_awaited() {
	new_root
	group_with_child g r
	put objects alloc h r g
	stall
	put groups offline g
	await event "child_rcu: .* child=$child"
	begin
	await asleep "$pid"
	put objects free h $hardirq
	hold
	resume
	await event "child_kill: .* child=$child"
	stays_false event "$drained"
	no_event "child_(suppress|release): .* child=$child"
	release
	ends ok
	in_order "root_dying: .*" "child_kill: .* child=$child" "child_suppress: ctx=$callback .* child=$child" "$drained" \
		"child_shutdown: .* child=$child" "$ended"
}

# "mm: memcg/slab: fix panic in __free_slab() caused by premature memcg pointer release" (2019): the
# group was dropped when the reference was killed, and looked at when slabs were freed later. Here it is
# gone even earlier, and no step of the child looks for it: its owner is alive at each.
group_gone_first() {
	new_root
	put groups create above
	number_of group above
	above=$value
	put groups create g above
	make_child g r
	put objects alloc h r g 2000
	put objects alloc last r g
	hold
	stall
	put groups offline g
	event "group_free: .* group=$group parent=$above name=g" || fail "the group is not freed"
	must children "child=$child" "owner=$above" stage=deactivating
	must groups name=above children=1
	release
	resume
	await has_stage "$child" killed
	await_exact_counts
	put objects free h softirq
	put objects free last $hardirq
	await event "child_free: .* child=$child"
	in_order "child_reparent: .* group=$above child=$child" "group_free: .* group=$group .*" \
		"child_rcu: .* group=$above child=$child" "child_kill: .* group=$above child=$child" \
		"child_release: ctx=$hardirq .* group=$above child=$child" "child_shutdown: .* group=$above child=$child" \
		"child_free: .* group=$above child=$child"
	events "child_[a-z]+: .* group=$group child=$child"
	[ "$count" = 2 ] || fail "$count events name the group, not creation and offline only"
	must groups name=above children=0
}

# "mm: memcg/slab: fix memory leak at non-root kmem_cache destroy" (2020): dying was set on a root that
# was not destroyed after all. What was suppressed meanwhile must go on, and nothing be suppressed later.
suppressed_for_ever() {
	new_root
	group_with_child meanwhile r
	meanwhile=$child
	put objects alloc meanwhile r meanwhile
	put groups offline meanwhile
	await has_stage "$meanwhile" killed
	group_with_child later r
	later=$child
	put objects alloc later r later
	put groups offline later
	await has_stage "$later" killed
	await_exact_counts
	stall
	begin
	put objects free meanwhile $hardirq
	event "child_suppress: ctx=$hardirq .* child=$meanwhile" || fail "not suppressed"
	resume
	ends EBUSY
	await event "child_free: .* child=$meanwhile"
	put objects free later $hardirq
	await event "child_free: .* child=$later"
	in_order "child_suppress: .* child=$meanwhile" "$drained" "root_busy: .* root=$root name=r" \
		"child_release: ctx=task .* child=$meanwhile" "child_shutdown: .* child=$meanwhile"
	in_order "root_busy: .* root=$root name=r" "child_release: ctx=$hardirq .* child=$later" "child_shutdown: .* child=$later"
	no_event "child_suppress: .* child=$later"
	destroy r
}

# The mail: "The dying flag could get set right after the unlock." Were the flag looked at, the lock
# dropped and the shutdown queued then, a destroy in between would have waited for nothing. The last free
# comes in the very moment of the destroy, again and again: it is on one side of the flag.
checked_then_queued() {
	for context in task softirq $hardirq task; do
		new_root
		group_with_child g r
		put objects alloc h r g
		put groups offline g
		await has_stage "$child" killed
		await_exact_counts
		start freer objects free h $context
		put_destroy
		finish freer
		[ "$result" = ok ] || fail "the free: $result"
		[ "$ending" = ok ] || destroy r
		if event "child_release: .* child=$child"; then
			events "root_dying: .* root=$root name=r"
			[ "$count" = 2 ] || in_order "child_release: .* child=$child" "root_dying: .* root=$root name=r" "$drained"
		else
			in_order "root_dying: .* root=$root name=r" "child_suppress: ctx=$context .* child=$child" "child_shutdown: .* child=$child" "$ended"
		fi
		events "child_shutdown: .* child=$child"
		[ "$count" = 1 ] || fail "shut down $count times"
	done
}
# put_destroy: $ending is how it went: the object may still live.
put_destroy() {
	start destroyer roots destroy r
	finish destroyer
	ending=$result
	case $ending in ok | EBUSY) ;; *) fail "the destroy: $ending" ;; esac
}

tests "B1 I1 destroy while a creation and a deactivation are pending: both are waited for" destroyed_while_pending \
	"B2 I8 allocation while the child is made: it is seen initialised, or not at all" seen_too_early \
	"B3 I1 destroy while the reference is being killed: that grace period is waited for" killing_not_awaited \
	"B4 I4 the group is gone long before the child: nothing looks for it" group_gone_first \
	"B5 I6 a destroy that fails: no release is suppressed for ever" suppressed_for_ever \
	"B6 I1 the last free in the very moment of the destroy: before the flag or after it" checked_then_queued
