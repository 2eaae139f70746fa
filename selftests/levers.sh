#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=busybox disable=SC2016,SC2030,SC2031,SC2086
# The levers in all their combinations, with everything that can be done to a child or a root.
#
# The levers: G, a grace period is held open; W, the workqueue is stalled; and the context that an
# object is freed in. The rows are what is held when the operation begins; a test "OPERATION, ROW" of
# this file is meant where nothing else is said.
#
#            create    offline   last free in task,   destroy of   destroy of  unload
#                                softirq, hard irq    an idle root a busy root (load.sh)
#   none     create    offline   free (three tests)   destroy      busy        "20 times", "on their way"
#   G        create    offline   free (three tests)   destroy      busy        "a grace period held"
#   W        create    offline   free (three tests)   destroy      busy        "the workqueue stalled"
#   GW       create    offline   free (three tests)   destroy      busy        "both levers pulled"
#
# What this table does not show, because the child is not what it is there:
#   - last free before the kill, with G, in three contexts: contexts.sh, "last free before the kill".
#     With W the same: the kill is work. There the context of the free does not tell the context of the
#     release: that is always the end of the grace period of the kill, in softirq.
#   - last free while the root is dying, with W, in three contexts: contexts.sh, "while the root is
#     dying". With G the same: history.sh, B3.
#   - create, offline and free while a destroy waits, with G and with W: mail.sh.
#   - free in a context and create, destroy or unload: these free no object; what unload frees is
#     freed in its task.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

# pull ROW, and let go of it. The grace period goes first, so that what it holds can reach the queue.
pull() {
	case $1 in G*) hold ;; esac
	case $1 in *W) stall ;; esac
}
let_go_of_G() { case $1 in G*) release ;; esac; }
let_go_of_W() { case $1 in *W) resume ;; esac; }

# never_yet EVENT, for as long as is needed to see it if it happened.
never_yet() { stays_false event "$1"; }

create() {
	put roots create r 64
	put groups create g
	pull "$1"
	put objects alloc first r g
	objects_from first 1 0
	event "child_request: ctx=task .*" || fail "no request"
	case $1 in
	*W)
		never_yet "child_create: .*"
		let_go_of_G "$1"
		never_yet "child_create: .*"
		let_go_of_W "$1" ;;
	esac
	# A creation waits for no grace period.
	await event "child_create: ctx=task .*"
	case $1 in G) let_go_of_G G ;; esac
	put objects alloc second r g
	objects_from second 0 1
}

offline() {
	put roots create r 64
	group_with_child g r
	put objects alloc h r g
	pull "$1"
	put groups offline g
	in_order "child_offline: ctx=task .* child=$child" "child_reparent: .* group=0 child=$child" "group_free: .* name=g"
	case $1 in G*) never_yet "child_rcu: .*" ;; esac
	must_not_be_killed "$1"
	let_go_of_G "$1"
	await event "child_rcu: ctx=$callback .* child=$child"
	case $1 in *W) never_yet "child_kill: .*" ;; esac
	let_go_of_W "$1"
	await has_stage "$child" killed
	in_order "child_offline: .*" "child_rcu: .*" "child_kill: ctx=task .* child=$child"
	objects_from h 0 1
	put objects free h
	await event "child_free: .* child=$child"
}
must_not_be_killed() {
	[ "$1" = none ] || must children "child=$child" stage=deactivating
}

# last_free CONTEXT ROW
last_free() {
	put roots create r 64
	group_with_child g r
	put objects alloc h r g 5
	put groups offline g
	await has_stage "$child" killed
	await_exact_counts
	pull "$2"
	put objects free h "$1"
	event "child_release: ctx=$1 .* child=$child" || fail "not released there and then, in $1"
	case $2 in
	*W)
		never_yet "child_shutdown: .* child=$child"
		let_go_of_G "$2"
		never_yet "child_shutdown: .* child=$child"
		must children "child=$child" stage=released
		cache_of "$child" || fail "the cache is gone"
		let_go_of_W "$2" ;;
	G)
		# The shutdown goes by way of an RCU callback.
		never_yet "child_shutdown: .* child=$child"
		must children "child=$child" stage=released
		let_go_of_G G ;;
	esac
	await event "child_shutdown: ctx=task .* child=$child"
	await event "child_free: ctx=task .* child=$child"
	await not cache_of "$child"
}
free_task() { last_free task "$1"; }
free_softirq() { last_free softirq "$1"; }
free_hardirq() { needs_hardirq && last_free hardirq "$1"; }

# destruction ROW RESULT: of r, with everything that the row holds.
destruction() {
	number_of root r
	root=$value
	pull "$1"
	start destroyer roots destroy r
	await event "root_dying: .* root=$root name=r"
	case $1 in
	*W) never_yet "root_drained: .* root=$root name=r" ;;
	G) never_yet "root_(busy|destroy): .* root=$root name=r" ;;
	esac
	let_go_of_G "$1"
	case $1 in GW) never_yet "root_drained: .* root=$root name=r" ;; esac
	let_go_of_W "$1"
	finish destroyer
	[ "$result" = "$2" ] || fail "the destroy: $result, not $2"
}

destroy_idle() {
	put roots create r 64
	group_with_child g r
	destruction "$1" ok
	in_order "root_dying: .*" "root_drained: .*" "child_condemn: .* child=$child" "child_suppress: .* child=$child" \
		"child_shutdown: ctx=task .* child=$child" "root_destroy: .*"
	not record children || fail "a child is left"
	not any_cache || fail "a cache is left"
}

destroy_busy() {
	put roots create r 64
	group_with_child g r
	put objects alloc h r g 5
	destruction "$1" EBUSY
	in_order "root_dying: .*" "root_drained: .*" "child_condemn: .* child=$child" "child_resurrect: .* child=$child" "root_busy: .*"
	must children "child=$child" stage=active objects=5
	put objects alloc i r g
	objects_from i 0 1
	put objects free i $hardirq
	put objects free h
	destroy r
}

# all INVARIANT-AND-OPERATION FUNCTION…: the tests of these, with each row.
all() {
	list=
	while [ $# -gt 0 ]; do
		for row in none G W GW; do
			eval "$2_$row() { $2 $row; }"
			list="$list'$1, $row' $2_$row "
		done
		shift 2
	done
	eval "tests $list"
}

all "I8 create" create \
	"I4 offline" offline \
	"I5 last free in task" free_task \
	"I5 last free in softirq" free_softirq \
	"I5 last free in hard irq" free_hardirq \
	"I1 destroy of an idle root" destroy_idle \
	"I6 destroy of a busy root" destroy_busy
