#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=busybox disable=SC2016,SC2030,SC2031,SC2086
# trace-check: it accepts recorded traces, and reports what is wrong in altered ones.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

recorded=$here/checker.trace

# record_life: records in $scratch/trace the life of a child whose count a failed destroy kills and resurrects.
record_life() {
	put roots create r 64
	group_with_child g r
	put objects alloc h r g 3
	destroy_begun r
	put groups offline g
	await has_stage "$child" killed
	await_exact_counts
	put objects free h $hardirq
	await event "child_free: .* child=$child"
	destroy r
	await event "group_free: .* group=$group .*"
	cat "$trace/trace" >"$scratch/trace"
}

# judge ARGUMENT…: runs trace-check on $scratch/altered. $verdict is its status, $said its output.
judge() {
	find_table
	said=$(awk -f "$here/trace-check" -v "table=$table" "$@" "$scratch/altered")
	verdict=$?
}

# accepted COMMAND…: the trace that the command prints is accepted. $options are for trace-check.
options=
accepted() {
	"$@" >"$scratch/altered"
	judge $options
	[ $verdict = 0 ] || fail "rejected with $verdict: $said"
}

# rejected REGEX COMMAND…: the trace is rejected, for a reason that matches.
rejected() {
	expected=$1
	shift
	"$@" >"$scratch/altered"
	! cmp -s "$scratch/altered" "$recorded" || fail "nothing was altered: $*"
	judge $options
	[ $verdict = 1 ] || fail "$verdict, not 1: $said"
	echo "$said" | grep -Eq "^trace-check: .*($expected)" || fail "not because of \"$expected\": $said"
}

genuine() {
	record_life
	options="-v complete=1"
	accepted cat "$scratch/trace"
	accepted cat "$recorded"
	case $said in *" events, "*" lives ended, 0 go on") ;; *) fail "it printed: $said" ;; esac
}

# without REGEX: the recorded trace without that event.
without() { grep -Ev " $1" "$recorded"; }

# before REGEX REGEX: the recorded trace with the first event moved before the second.
before() {
	awk -v moved=" $1" -v place=" $2" 'NR == FNR { if ($0 ~ moved) line = $0; next }
		$0 ~ moved { next } $0 ~ place && !n++ { print line } { print }' "$recorded" "$recorded"
}

# again REGEX REGEX: the recorded trace with the first event once more after the second.
again() {
	awk -v twice=" $1" -v place=" $2" 'NR == FNR { if ($0 ~ twice) line = $0; next }
		{ print } $0 ~ place && !n++ { print line }' "$recorded" "$recorded"
}

# The recorded trace: root 1, with the child 1 of group 1.

step_removed() {
	rejected "child_kill of child 1/1, which is deactivating" \
		without "child_rcu: .* child=1"
	rejected "child_release of child 1/1, which is quiescent" \
		without "child_kill: .* child=1"
	rejected "child_shutdown of child 1/1, which is killed" \
		without "child_release: .* child=1"
	rejected "child_free of child 1/1, which is released" \
		without "child_shutdown: .* child=1"
	rejected "child_rcu of child 1/1, which is active" \
		without "child_offline: .* child=1"
	rejected "child_[a-z_]* of child 1/1, which is not alive" \
		without "child_create: .* child=1"
	rejected "child_mark_killed: root 1 is not drained .I6." \
		without "root_drained: .* name=r"
	rejected "group_free of group 1, which is online" \
		without "group_offline: .*"
}

steps_swapped() {
	rejected "child_kill of child 1/1, which is deactivating" \
		before "child_kill: .* child=1" "child_rcu: .* child=1"
	rejected "child_shutdown of child 1/1, which is killed" \
		before "child_shutdown: .* child=1" "child_release: .* child=1"
	rejected "child_free of child 1/1, which is released" \
		before "child_free: .* child=1" "child_shutdown: .* child=1"
	rejected "child_resurrect of child 1/1, which is active" \
		before "child_resurrect: .* child=1" "child_mark_killed: .* child=1"
}

wrong_context() {
	rejected "child_shutdown of child 1/1 in context softirq" \
		sed '/ child_shutdown: .* child=1/s/ctx=task/ctx=softirq/' "$recorded"
	rejected "child_rcu of child 1/1 in context (task|softirq|unknown)" \
		sed '/ child_rcu: /s/ctx=softirq/ctx=task/' "$recorded"
	rejected "child_create of child 1/1 in context task" \
		sed '/ child_create: /s/kworker/shell/' "$recorded"
	rejected "root_dying of root 1 in context hardirq" \
		sed '/ root_dying: /s/ctx=task/ctx=hardirq/' "$recorded"
	rejected "child_kill of child 1/1 in context hardirq" \
		sed '/ child_kill: .* child=1/s/ctx=task/ctx=hardirq/' "$recorded"
}

admitted_while_dying() {
	rejected "child_offline: admitted, but root 1 is dying .I1." \
		before "child_offline: .* child=1" "root_drained: .* name=r"
	rejected "child_request: admitted, but root 1 is dying .I1." \
		again "child_request: .*" "root_dying: .* name=r"
	rejected "child_release: admitted, but root 1 is dying .I1." \
		again "child_release: .* child=1" "root_dying: .* name=r"
}

# late EVENT: the recorded trace with this event of the child after the drain.
late() {
	awk -v event="$1" '{ print } / child_create: / && !line { line = $0; sub(/child_create/, event, line) }
		/ root_drained: .* name=r/ { print line }' "$recorded"
}

after_the_drain() {
	for event in child_rcu child_kill child_create child_abort; do
		rejected "$event: after the drain of root 1 .I1." late $event
	done
}

not_dying() {
	rejected "child_defer_release: not admitted, but root 1 is not dying .I6." \
		sed '/ child_release: .* child=1/s/child_release/child_defer_release/' "$recorded"
	rejected "child_defer_offline: not admitted, but root 1 is not dying .I6." \
		sed '/ child_offline: .* child=1/s/child_offline/child_defer_offline/' "$recorded"
}

freed_twice() {
	rejected "child_free of child 1/1, which has ended" \
		again "child_free: .* child=1" "child_free: .* child=1"
	rejected "child_shutdown of child 1/1, which is shutdown" \
		again "child_shutdown: .* child=1" "child_shutdown: .* child=1"
	rejected "group_free of group 1, which has ended" \
		again "group_free: .*" "group_free: .*"
	rejected "child_create: group 1 is offline .I8.|child_create of child 1/1, which has ended" \
		again "child_create: .* child=1" "child_free: .* child=1"
	rejected "root_create of root 1, which has ended: it cannot begin again .I2." \
		again "root_create: .* name=r" "root_destroy: .* name=r"
}

without_children() {
	rejected "root_destroy: 1 children of root 1 are alive .I2." \
		without "child_(shutdown|free): .* child=1"
	rejected "root_destroy: 1 children of root 1 are alive .I2." \
		before "root_destroy: .* name=r" "child_free: .* root=1 .* child=0"
	rejected "child_reparent: root 1 is destroyed .I2." \
		again "child_reparent: .* child=1" "root_destroy: .* name=r"
}

of_an_offline_group() {
	rejected "child_create: group 1 is offline .I8." \
		before "group_offline: .*" "child_create: .*"
}

beginning() { grep -v '^#' "$recorded" | head -n $1; }

did_not_end() {
	for event in "group_free: .*" "root_destroy: .* name=r"; do
		accepted without "$event"
		judge -v complete=1
		[ $verdict = 3 ] || fail "$verdict, not 3: $said"
		case $said in *" did not end: it is "*) ;; *) fail "it printed: $said" ;; esac
	done
	# Every beginning of an accepted trace is accepted.
	lines=$(grep -vc '^#' "$recorded")
	while [ "$lines" -gt 0 ]; do
		lines=$((lines - 1))
		accepted beginning $lines
	done
}

# with LINE: the recorded trace with this line at the end.
with() { cat "$recorded"; echo "$1"; }

lost() {
	rejected "events were lost" with "CPU:1 [LOST 3 EVENTS]"
	rejected "events were overwritten" sed '/entries-in-buffer/s|[0-9][0-9]*/[0-9][0-9]*|40/50|' "$recorded"
}

unknown() {
	rejected "no such event: child_dream" sed '/ child_rcu: /s/child_rcu/child_dream/' "$recorded"
	rejected "no such event: cgroup_dream" sed '/ child_rcu: /s/child_rcu/cgroup_dream/' "$recorded"
	rejected "not an event as this module writes them" sed '/ child_rcu: /s/ctx=.*/garbage/' "$recorded"
	# Events of other subsystems, and ours as trace-cmd and perf print them.
	options="-v complete=1"
	accepted with "  sh-7 [000] d..1. 5: sched_switch: prev_comm=sh ==> next_comm=x"
	accepted sed 's/: \([a-z]*_[a-z]*: ctx\)/: rust_kmemcg:\1/' "$recorded"
}

# from_create [EVENT]: the recorded trace after the creation, without that event.
from_create() { sed '1,/ child_create: /d' "$recorded" | grep -Ev " ${1:-nothing}: "; }

from_the_middle() {
	rejected "which is not alive" from_create
	options="-v joined=1"
	accepted from_create
	rejected "child_kill of child 1/1, which is deactivating" from_create child_rcu
}

usage() {
	awk -f "$here/trace-check" "$recorded" >/dev/null
	[ $? = 2 ] || fail "accepted without a table"
	awk -f "$here/trace-check" -v table=/nowhere "$recorded" >/dev/null
	[ $? = 2 ] || fail "accepted with a table that is not there"
	accepted true
}

tests "a new trace and the recorded one are accepted" genuine \
	"a trace without one step is rejected" step_removed \
	"a trace with two steps swapped is rejected" steps_swapped \
	"a step in the wrong context is rejected" wrong_context \
	"I1 an operation admitted while the root is dying is rejected" admitted_while_dying \
	"I1 a callback, work or creation after the drain is rejected" after_the_drain \
	"I6 a release or offline deferred while the root is not dying is rejected" not_dying \
	"I2 a child freed twice and a number used twice are rejected" freed_twice \
	"I2 a root destroyed before its children is rejected" without_children \
	"I8 a child created for an offline group is rejected" of_an_offline_group \
	"an unfinished life is reported" did_not_end \
	"a trace with lost events is rejected" lost \
	"an unknown event is rejected" unknown \
	"with joined=1, lives may have begun before the trace" from_the_middle \
	"a missing table is reported" usage
