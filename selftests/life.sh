#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=busybox disable=SC2016,SC2030,SC2031,SC2086
# The life of a child cache, step by step. Each test is one step, and needs the ones before it.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
keep=yes

create_root() {
	put roots create life 192 64
	number_of root life
	root=$value
	remember root
	must roots name=life size=192 align=64 state=live children=0
	must children child=0 "root=$root" owner=0 stage=active
	event "root_create: ctx=task root=$root name=life" || fail "no root_create"
	[ -d "$slab/kmemcg:life.$root" ] || fail "no kmemcg:life.$root in $slab"
	read -r size <"$slab/kmemcg:life.$root/object_size"
	[ "$size" = 192 ] || fail "object_size is $size"
	read -r align <"$slab/kmemcg:life.$root/align"
	[ "$align" = 64 ] || fail "align is $align"
}

first_object() {
	recall
	new_group g
	remember group
	block
	put objects alloc first life g
	objects_from first 1 0
	event "child_request: ctx=task root=$root group=$group child=0" || fail "no child_request"
	no_event "child_create: .*"
	put objects alloc second life g
	objects_from second 1 0
	events "child_request: .*"
	[ "$count" = 1 ] || fail "$count requests for one child"
}

create_child() {
	recall
	unblock
	await event "child_create: ctx=task root=$root group=$group child=[0-9]+"
	is_published "$root" "$group"
	remember child
	must children "child=$child" "root=$root" "owner=$group" stage=active
	must groups name=g children=1
	must roots name=life children=1
	cache_of "$child" || fail "no cache of child $child in $slab"
	[ "$cache" = "$slab/kmemcg:life.$root($child:g)" ] || fail "the cache is $cache"
	grep -Eq "^ +kworker/.* child_create: " "$trace/trace" || fail "it was not created by a worker"
}

served_by_child() {
	put objects alloc third life g 10
	objects_from third 0 10
	put objects free first
	put objects free second softirq
	put objects free third
	put objects alloc last life g
	objects_from last 0 1
	no_event "child_(release|offline|defer_release): .*"
}

group_offline() {
	recall
	hold
	block
	put groups offline g
	in_order "group_offline: ctx=task group=$group parent=0 name=g" \
		"child_offline: ctx=task root=$root group=$group child=$child" \
		"child_reparent: ctx=task root=$root group=0 child=$child"
	not record groups name=g || fail "the group is still there"
	must children "child=$child" owner=0 stage=deactivating
	no_event "child_rcu: .*"
}

group_freed() {
	recall
	event "group_free: ctx=task group=$group parent=0 name=g" || fail "no group_free"
	must objects handle=last objects=1
}

rcu_callback() {
	recall
	no_event "child_rcu: .*"
	release
	await event "child_rcu: ctx=$callback root=$root group=0 child=$child"
	must children "child=$child" stage=quiescent
	no_event "child_kill: .*"
}

deactivation() {
	recall
	unblock
	await event "child_kill: ctx=task root=$root group=0 child=$child"
	await has_stage "$child" killed
	cache_of "$child" || fail "the cache of child $child is gone, but an object lives"
	no_event "child_(release|shutdown|free): .* child=$child"
}

last_free() {
	recall
	await_exact_counts
	block
	put objects free last $hardirq
	event "child_release: ctx=$hardirq root=$root group=0 child=$child" || fail "no child_release in a hard interrupt"
	must children "child=$child" stage=released
	cache_of "$child" || fail "the cache was destroyed before the shutdown work"
	no_event "child_shutdown: .* child=$child"
}

shutdown() {
	recall
	unblock
	await event "child_free: ctx=task root=$root group=0 child=$child"
	in_order "child_release: ctx=$hardirq root=$root group=0 child=$child" \
		"child_shutdown: ctx=task root=$root group=0 child=$child" \
		"child_free: ctx=task root=$root group=0 child=$child"
	events "child_(shutdown|free): .* child=$child"
	[ "$count" = 2 ] || fail "not exactly one shutdown"
	grep -Eq "^ +kworker/.* child_shutdown: .* child=$child\$" "$trace/trace" || fail "it was not shut down by a worker"
	not record children "child=$child" || fail "it is still in the list"
	await not cache_of "$child"
}

destroy_root() {
	recall
	destroy life
	in_order "root_dying: ctx=task root=$root name=life" \
		"root_drained: ctx=task root=$root name=life" \
		"child_defer_release: ctx=$callback root=$root group=0 child=0" \
		"child_shutdown: ctx=task root=$root group=0 child=0" \
		"child_free: ctx=task root=$root group=0 child=0" \
		"root_destroy: ctx=task root=$root name=life"
	must_be_empty
}

tests "a root is created with a cache of its own" create_root \
	"I7 the first objects of a group come from the root's own cache" first_object \
	"a worker creates and publishes the child" create_child \
	"I3 later objects come from the child, and all are freed to where they came from" served_by_child \
	"a group goes offline without waiting, and its child is reparented" group_offline \
	"I4 the group is freed while an object of its child is alive" group_freed \
	"the RCU callback runs after the grace period, in softirq" rcu_callback \
	"the deactivation work kills the reference while the object is alive" deactivation \
	"I5 the last free, in a hard interrupt, releases the child" last_free \
	"I2 the shutdown work destroys the cache exactly once" shutdown \
	"the root is destroyed after it was dying and drained" destroy_root
