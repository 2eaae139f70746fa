#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=busybox disable=SC2016,SC2030,SC2031,SC2086
# A destroy that fails, with children that it has marked in the meantime: in the stages active_marked and
# offline_deferred_marked. A grace period that is held stops it in the barrier after it has marked them.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

# next_grace_period: lets the grace period end that is running, but not one that begins from now on. The next reader
# enters long before the processors have reported the end of the old one.
next_grace_period() {
	release
	hold
}

# destroyer_marks: a destroyer of r waits in the barrier after it has marked $child. The barriers of the drain may need
# grace periods, too, if other callbacks are pending: these may end, one after the other.
destroyer_marks() {
	hold
	start_destroy
	continue_to_marks
}

continue_to_marks() {
	local i
	for i in $(seq 20); do
		! is_drained_soon || break
		next_grace_period
	done
	await event "child_mark_killed: ctx=task root=$root .* child=$child"
	not is_done destroyer || too_late "the destroyer has not waited"
}

# too_late FAILURE: a kernel with checkers may be too slow for next_grace_period.
too_late() {
	[ "$slow" = 1 ] || skip "the next grace period has ended before it was held"
	fail "$1"
}

is_drained_soon() {
	local i
	for i in 1 2 3 4 5; do
		! event "$drained" || return 0
		sleep 0.02
	done
	return 1
}

# A child with an object. It serves nothing while it is marked, and is what it was before when the destroy has failed.
active_marked() {
	new_root
	group_with_child g r
	put objects alloc h r g 3
	destroyer_marks
	must roots name=r state=drained
	must children "child=$child" stage=active_marked objects=3
	must children child=0 stage=active_marked
	refused ENODEV objects alloc x r g
	refused ENODEV objects alloc x r -
	must children "child=$child" stage=active_marked
	release
	end_destroy EBUSY
	must children "child=$child" "owner=$group" stage=active objects=3
	must children child=0 stage=active
	in_order "$drained" "child_mark_killed: ctx=task .* child=$child" "child_resurrect: ctx=task .* child=$child" "root_busy: .* name=r"
	put objects alloc again r g
	objects_from again 0 1
	put objects free again
	put objects free h
	destroy r
}

# Its group goes offline while it is marked.
offline_while_marked() {
	new_root
	group_with_child g r
	put objects alloc h r g
	destroyer_marks
	put groups offline g
	event "child_defer_offline: ctx=task .* child=$child" || fail "no child_defer_offline"
	must children "child=$child" stage=offline_deferred_marked
	release
	end_destroy EBUSY
	await has_stage "$child" killed
	in_order "child_mark_killed: .* child=$child" "child_defer_offline: .* child=$child" "child_resurrect: .* child=$child" \
		"root_busy: .* name=r" "child_offline: ctx=task .* child=$child" "child_rcu: ctx=$callback .* child=$child" \
		"child_kill: .* child=$child"
	await_exact_counts
	put objects free h $hardirq
	await event "child_free: .* child=$child"
	destroy r
}

# Its group is offline, and its last object is freed while it is marked.
freed_while_marked() {
	new_root
	group_with_child g r
	put objects alloc h r g
	put objects alloc own r -
	block
	begin_destroy
	put groups offline g
	must children "child=$child" stage=offline_deferred
	hold
	unblock
	continue_to_marks
	must children "child=$child" stage=offline_deferred_marked
	put objects free h $hardirq
	# The count is not exact yet.
	not event "child_defer_release: .* child=$child" || too_late "the last free has come before the end of the grace period"
	must children "child=$child" stage=offline_deferred_marked
	release
	end_destroy EBUSY
	await event "child_free: .* child=$child"
	in_order "child_defer_offline: .* child=$child" "child_mark_killed: .* child=$child" \
		"child_defer_release: ctx=$callback .* child=$child" "root_busy: .* name=r" "child_release: ctx=task .* child=$child" \
		"child_shutdown: .* child=$child"
	no_event "child_(resurrect|offline|kill): .* child=$child"
	put objects free own
	destroy r
}

tests "I6 a marked child with an object serves nothing, and is active again after the failed destroy" active_marked \
	"I6 a group goes offline while its child is marked: the child is deactivated after the failed destroy" offline_while_marked \
	"I6 the last object of a marked child is freed, and its group is offline: it is shut down after the failed destroy" freed_while_marked
