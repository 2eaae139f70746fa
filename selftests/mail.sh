#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=busybox disable=SC2016,SC2030,SC2031,SC2086
# "What does this lock protect? The dying flag could get set right after the unlock." The flag is
# looked at in four places: where a child is asked for, where the worker takes it in, where its group
# goes offline, where its last object goes. For each: admitted, and the flag set right after; the flag
# first; and both at once, where the trace decides.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

new_root() {
	put roots create r 64
	number_of root r
	root=$value
	dying="root_dying: ctx=task root=$root name=r"
	drained="root_drained: ctx=task root=$root name=r"
	ended="root_destroy: ctx=task root=$root name=r"
}

begin() {
	start destroyer roots destroy r
	await event "$dying"
}

ends() {
	finish destroyer
	[ "$result" = ok ] || fail "the destroy: $result"
}

killed_child() {
	group_with_child g r
	put objects alloc h r g
	put groups offline g
	await has_stage "$child" killed
	await_exact_counts
}

# ---- admitted, and the flag set right after: the drain covers it -------------------------------

request_admitted() {
	new_root
	put groups create g
	stall
	put objects alloc h r g
	put objects free h
	begin
	stays_false event "$drained"
	resume
	ends
	in_order "child_request: .* root=$root .*" "$dying" "child_abort: .* root=$root .*" "$drained" "$ended"
	no_event "child_create: .*"
}

# Behind the stall the worker takes the child in at the moment that the flag is set. It is made, and
# then the destroyer finds it, or it is not; never after the drain.
adoption_admitted() {
	made=0
	i=0
	while [ $i -lt 25 ]; do
		i=$((i + 1))
		new_root
		put groups create "g$i"
		stall
		put objects alloc h r "g$i"
		put objects free h
		start waker workqueue resume
		start destroyer roots destroy r
		finish waker
		[ "$result" = ok ] || fail "resume: $result"
		ends
		if event "child_create: .* root=$root .*"; then
			made=$((made + 1))
			in_order "child_create: .* root=$root .*" "$drained" "child_shutdown: .* root=$root .* child=[1-9][0-9]*" "$ended"
		else
			in_order "child_request: .* root=$root .*" "child_abort: .* root=$root .*" "$drained" "$ended"
		fi
		must groups "name=g$i" children=0
	done
	say "made before the flag: $made of $i"
}

offline_admitted() {
	new_root
	group_with_child g r
	hold
	put groups offline g
	begin
	stays_false event "$drained"
	no_event "child_rcu: .*"
	release
	ends
	in_order "child_offline: .* child=$child" "$dying" "child_rcu: ctx=$callback .* child=$child" "child_kill: .* child=$child" \
		"$drained" "$ended"
}

release_admitted() {
	for context in $contexts; do
		new_root
		killed_child
		stall
		put objects free h $context
		begin
		stays_false event "$drained"
		no_event "child_shutdown: .* child=$child"
		resume
		ends
		in_order "child_release: ctx=$context .* child=$child" "$dying" "child_shutdown: .* child=$child" \
			"child_free: .* child=$child" "$drained" "$ended"
	done
}

# ---- the flag first: not admitted ---------------------------------------------------------------

request_refused() {
	new_root
	put groups create g
	stall
	begin
	put objects alloc h r g
	objects_from h 1 0
	put objects free h
	resume
	ends
	no_event "child_(request|create|abort): .*"
}

adoption_refused() {
	new_root
	put groups create g
	stall
	put objects alloc h r g
	put objects free h
	begin
	no_event "child_(create|abort): .*"
	resume
	ends
	in_order "$dying" "child_abort: .* root=$root .*" "$drained"
	no_event "child_create: .*"
	# Nothing of it can be found.
	must groups name=g children=0
}

offline_refused() {
	new_root
	group_with_child g r
	stall
	begin
	put groups offline g
	resume
	ends
	in_order "$dying" "child_park: ctx=task .* child=$child" "$drained" "child_shutdown: .* child=$child" "$ended"
	no_event "child_(offline|rcu|kill): .* child=$child"
}

release_refused() {
	for context in $contexts; do
		new_root
		killed_child
		stall
		begin
		put objects free h $context
		resume
		ends
		in_order "$dying" "child_suppress: ctx=$context .* child=$child" "$drained" "child_shutdown: .* child=$child" "$ended"
		no_event "child_release: .* child=$child"
	done
}

# ---- both at once: one side of the flag or the other --------------------------------------------

# The destroyer begins when the other is on its way.
at_once() {
	start other "$@"
	start destroyer roots destroy r
	finish other
	other=$result
	finish destroyer
}

request_at_once() {
	i=0
	while [ $i -lt 5 ]; do
		i=$((i + 1))
		new_root
		put groups create "g$i"
		at_once objects alloc h r "g$i"
		case $other:$result in
		ok:EBUSY)
			put objects free h
			destroy r ;;
		ENODEV:ok | ENOENT:ok) ;;
		ok:ok) fail "destroyed, but an object lives" ;;
		*) fail "alloc: $other; destroy: $result" ;;
		esac
		ordered "child_request: .* root=$root .*" "child_(create|abort): .* root=$root .*"
	done
}

offline_at_once() {
	i=0
	while [ $i -lt 5 ]; do
		i=$((i + 1))
		new_root
		group_with_child g r
		at_once groups offline g
		[ "$other:$result" = ok:ok ] || fail "offline: $other; destroy: $result"
		ordered "child_offline: .* child=$child" "child_kill: .* child=$child"
		event "child_free: .* child=$child" || fail "child $child is left"
	done
}

release_at_once() {
	i=0
	while [ $i -lt 5 ]; do
		i=$((i + 1))
		new_root
		killed_child
		at_once objects free h
		[ "$other" = ok ] || fail "free: $other"
		[ "$result" = ok ] || destroy r
		ordered "child_release: ctx=task .* child=$child" "child_shutdown: ctx=task .* child=$child"
		events "child_(shutdown|free): .* child=$child"
		[ "$count" = 2 ] || fail "not shut down once"
	done
}

# ordered ADMITTED DONE: what was admitted came before the flag, and was done before the drain was
# over; where the first destroy has failed, the last one counts.
ordered() {
	event "$1" || return 0
	ADMITTED=" $1\$" DONE=" $2\$" DYING=" $dying\$" DRAINED=" $drained\$" BUSY=" root_busy: .* root=$root name=r\$" awk '
		$0 ~ ENVIRON["DYING"] { dying = 1 }
		$0 ~ ENVIRON["DRAINED"] { if (pending) bad = "still pending after the drain" }
		$0 ~ ENVIRON["BUSY"] { dying = 0 }
		$0 ~ ENVIRON["ADMITTED"] { if (dying) bad = "admitted after the flag was set"; pending = 1 }
		$0 ~ ENVIRON["DONE"] { pending = 0 }
		END { if (bad) { print "# " bad; exit 1 } }' "$trace/trace" || fail "not on one side of the flag: $1"
}

tests "I1 a request was admitted, then the flag: the drain covers it" request_admitted \
	"I8 a child was taken in, then the flag: the destroyer finds it" adoption_admitted \
	"I1 a deactivation was admitted, then the flag: the drain covers it" offline_admitted \
	"I1 a release was admitted, then the flag: the drain covers it" release_admitted \
	"I1 the flag, then a request: not admitted" request_refused \
	"I8 the flag, then the worker would take a child in: it is not" adoption_refused \
	"I1 the flag, then offline: not admitted" offline_refused \
	"I1 the flag, then a last free: not admitted" release_refused \
	"I1 a request and the flag at once" request_at_once \
	"I1 offline and the flag at once" offline_at_once \
	"I1 a last free and the flag at once" release_at_once
