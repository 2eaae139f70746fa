# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=busybox disable=SC2034,SC2154
# Steps that many tests begin or end with: a root, children in a given stage, a destroy. lib.sh sources it.

# ---- roots --------------------------------------------------------------------------------------

# new_root: makes the root r. $root is its number; $dying, $drained and $destroyed match its events.
new_root() {
	put roots create r 64
	number_of root r
	root=$value
	dying="root_dying: ctx=task root=$root name=r"
	drained="root_drained: ctx=task root=$root name=r"
	destroyed="root_destroy: ctx=task root=$root name=r"
}

# start_destroy: starts to destroy r, in the process $destroyer, and waits until r is dying. It may have objects.
start_destroy() {
	start destroyer roots destroy r uncounted
	destroyer=$pid
	await event "$dying"
}

# begin_destroy: the same, where the drain must wait for the test.
begin_destroy() {
	start_destroy
	await record roots name=r state=dying
}

# end_destroy RESULT: waits for that destroy.
end_destroy() { finish_with destroyer "$1"; }

# destroy ROOT [RESULT]: in the background, so that a hang is a failure of this test only.
destroy() {
	start "destroy.$1" roots destroy "$1"
	finish_with "destroy.$1" "${2:-ok}"
}

# destroy_begun ROOT: begins to destroy a root that has objects, which fails.
destroy_begun() {
	start "destroy.$1" roots destroy "$1" uncounted
	finish_with "destroy.$1" EBUSY
}

# must_be_empty: no root, no child and no cache is left.
must_be_empty() {
	not record roots || fail "a root is left"
	not record children || fail "a child is left"
	not any_cache || fail "a cache is left"
}

# ---- children -----------------------------------------------------------------------------------

# new_group NAME [PARENT]: $group is its number.
new_group() {
	put groups create "$@"
	number_of group "$1"
	group=$value
}

# group_with_child GROUP ROOT: makes the group, and its child of the root. $child is its number.
group_with_child() {
	put groups create "$1"
	make_child "$1" "$2"
}

# make_child GROUP ROOT: makes the child that this group does not have yet. $child is its number, $group the
# group's.
make_child() {
	number_of group "$1"
	group=$value
	number_of root "$2"
	put objects alloc making "$2" "$1"
	await record children "root=$value" "owner=$group" stage=active
	child=
	await is_published "$value" "$group"
	put objects free making
}

# is_published ROOT GROUP: $child is the number of the group's own child. A record of the file children
# does not tell: the group may own others, which it inherited.
is_published() {
	child=$(sed -n "s/.* child_create: ctx=task root=$1 group=$2 child=//p" "$trace/trace")
	[ "$child" ]
}

# groups_with_children NUMBER: makes the groups g1, g2 and so on, with a child of r each, and objects of
# the root's own cache: first1, first2 and so on.
groups_with_children() {
	local i
	for i in $(seq "$1"); do
		put groups create "g$i"
		put objects alloc "first$i" r "g$i"
	done
	await has_events "$1" "child_create: ctx=task .*"
}

# killed_child GROUP HANDLE [NUMBER]: makes the group; its child of r has that number of objects, and is
# killed, as the group goes offline.
killed_child() {
	group_with_child "$1" r
	put objects alloc "$2" r "$1" "${3:-1}"
	objects_from "$2" 0 "${3:-1}"
	put groups offline "$1"
	await has_stage "$child" killed
}

# child_before_kill: makes r and the child of g, which has the object h. Its deactivation work is pending, because the
# workqueue is blocked.
child_before_kill() {
	new_root
	group_with_child g r
	put objects alloc h r g
	block
	put groups offline g
	await event "child_rcu: .* child=$child"
}

# Another root's destroy waits for the callbacks of all roots. A killed count is exact, and can reach zero,
# only after the callback of its kill. The workqueue must not be blocked.
await_exact_counts() {
	put roots create exact 8
	destroy exact
}

# ---- from one test to a later one ---------------------------------------------------------------

# remember VARIABLE…: saves the variables for recall in a later test.
remember() {
	local name
	for name; do eval "echo \"$name='\$$name'\""; done >>"$scratch/remembered"
}

recall() {
	# shellcheck source=/dev/null
	. "$scratch/remembered" 2>/dev/null || fail "an earlier step has failed"
}
