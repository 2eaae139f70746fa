#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=busybox disable=SC2016,SC2030,SC2031,SC2086
# All combinations of the test knobs, for each operation on a child or a root.
#
# The test knobs: G holds a grace period open; W blocks the workqueue; the third is the context that an object is freed
# in. A row is what is held when the operation begins. The cells are the tests "OPERATION, ROW" of this file; those in
# quotes are tests of another one.
#
#            create    offline   last free in task,   destroy of   destroy of  unload
#                                softirq, hard irq    an idle root a busy root (load.sh)
#   none     create    offline   free (three tests)   destroy      busy        "20 times", "are pending"
#   G        create    offline   free (three tests)   destroy      busy        "with a grace period held"
#   W        create    offline   free (three tests)   destroy      busy        "with the workqueue blocked"
#   GW       create    offline   free (three tests)   destroy      busy        "the workqueue blocked and a grace period held"
#
# Not in this table, because the child is in another stage:
#   - last free before the kill, with G, in three contexts: contexts.sh, "last free before the kill".
#     W is the same, because the kill is work. The release always happens in the RCU callback of the kill,
#     whatever the context of the free.
#   - last free while the root is dying, with W, in three contexts: contexts.sh, "while the root is
#     dying". With G: history.sh, B3.
#   - create, offline and free while a destroy waits, with G and with W: mail.sh.
#   - create, destroy and unload with the third knob: they free no object, but for unload, in its task.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

# set_knobs ROW. They are released one by one, the grace period first, so that its callbacks can queue work.
set_knobs() {
	case $1 in G*) hold ;; esac
	case $1 in *W) block ;; esac
}
release_G() { case $1 in G*) release ;; esac; }
release_W() { case $1 in *W) unblock ;; esac; }

# not_yet EVENT: the event must not occur for half a second.
not_yet() { stays_false event "$1"; }

create() {
	put roots create r 64
	put groups create g
	set_knobs "$1"
	put objects alloc first r g
	objects_from first 1 0
	event "child_request: ctx=task .*" || fail "no request"
	case $1 in
	*W)
		not_yet "child_create: .*"
		release_G "$1"
		not_yet "child_create: .*"
		release_W "$1" ;;
	esac
	# A creation does not wait for a grace period.
	await event "child_create: ctx=task .*"
	case $1 in G) release_G G ;; esac
	put objects alloc second r g
	objects_from second 0 1
}

offline() {
	put roots create r 64
	group_with_child g r
	put objects alloc h r g
	set_knobs "$1"
	put groups offline g
	in_order "child_offline: ctx=task .* child=$child" "child_reparent: .* group=0 child=$child" "group_free: .* name=g"
	case $1 in G*) not_yet "child_rcu: .*" ;; esac
	must_not_be_killed "$1"
	release_G "$1"
	await event "child_rcu: ctx=$callback .* child=$child"
	case $1 in *W) not_yet "child_kill: .*" ;; esac
	release_W "$1"
	await has_stage "$child" killed
	in_order "child_offline: .*" "child_rcu: .*" "child_kill: ctx=task .* child=$child"
	objects_from h 0 1
	put objects free h
	await event "child_free: .* child=$child"
}
must_not_be_killed() {
	case $1 in
	G*) must children "child=$child" stage=deactivating ;;
	W) await has_stage "$child" quiescent ;;
	esac
}

# last_free CONTEXT ROW
last_free() {
	put roots create r 64
	killed_child g h 5
	await_exact_counts
	set_knobs "$2"
	put objects free h "$1"
	event "child_release: ctx=$1 .* child=$child" || fail "not released by the last free, in $1"
	case $2 in
	*W)
		not_yet "child_shutdown: .* child=$child"
		release_G "$2"
		not_yet "child_shutdown: .* child=$child"
		must children "child=$child" stage=released
		cache_of "$child" || fail "the cache is gone"
		release_W "$2" ;;
	G)
		# An RCU callback queues the shutdown work.
		not_yet "child_shutdown: .* child=$child"
		must children "child=$child" stage=released
		release_G G ;;
	esac
	await event "child_shutdown: ctx=task .* child=$child"
	await event "child_free: ctx=task .* child=$child"
	await not cache_of "$child"
}
free_task() { last_free task "$1"; }
free_softirq() { last_free softirq "$1"; }
free_hardirq() { needs_hardirq && last_free hardirq "$1"; }

# destruction ROW RESULT: destroys r with the knobs of the row.
destruction() {
	set_knobs "$1"
	start_destroy
	case $1 in
	*W) not_yet "$drained" ;;
	G) not_yet "root_(busy|destroy): .* root=$root name=r" ;;
	esac
	release_G "$1"
	case $1 in GW) not_yet "$drained" ;; esac
	release_W "$1"
	end_destroy "$2"
}

destroy_idle() {
	new_root
	group_with_child g r
	destruction "$1" ok
	in_order "root_dying: .*" "root_drained: .*" "child_mark_killed: .* child=$child" "child_defer_release: .* child=$child" \
		"child_shutdown: ctx=task .* child=$child" "root_destroy: .*"
	must_be_empty
}

destroy_busy() {
	new_root
	group_with_child g r
	put objects alloc h r g 5
	destruction "$1" EBUSY
	in_order "root_dying: .*" "root_drained: .*" "child_mark_killed: .* child=$child" "child_resurrect: .* child=$child" "root_busy: .*"
	must children "child=$child" stage=active objects=5
	put objects alloc i r g
	objects_from i 0 1
	put objects free i $hardirq
	put objects free h
	destroy r
}

# all INVARIANT-AND-OPERATION FUNCTION…: runs each function as a test, with each row.
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
