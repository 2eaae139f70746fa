#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=busybox disable=SC2016,SC2030,SC2031,SC2086
# "What does this lock protect? The dying flag could get set right after the unlock." Four steps ask for admission,
# beside what a failed destroy resumes: when a child is requested, when the worker links it to its root, when its group
# goes offline, and at its last free. Each is tested in three orders: admitted before the flag is set, the flag set
# before, and both at once, where the trace tells which came first.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

# exact_child: the child of g, killed, whose last free releases it.
exact_child() {
	killed_child g h
	await_exact_counts
}

# request_pending GROUP: makes r, with a pending request for the child of the group, but without an object. The workqueue
# is blocked.
request_pending() {
	new_root
	put groups create "$1"
	block
	put objects alloc h r "$1"
	put objects free h
}

# ---- admitted before the flag is set: the drain waits -------------------------------------------

request_admitted() {
	request_pending g
	begin_destroy
	stays_false event "$drained"
	unblock
	end_destroy ok
	in_order "child_request: .* root=$root .*" "$dying" "child_abort: .* root=$root .*" "$drained" "$destroyed"
	no_event "child_create: .*"
}

# The workqueue is unblocked while the flag is set. The worker links the child, and then the destroy finds it, or
# it aborts the creation; in any case before the end of the drain.
link_admitted() {
	made=0
	for i in $(seq 25); do
		request_pending "g$i"
		start waker workqueue unblock
		start destroyer roots destroy r
		finish_with waker ok
		end_destroy ok
		if event "child_create: .* root=$root .*"; then
			made=$((made + 1))
			in_order "child_create: .* root=$root .*" "$drained" "child_shutdown: .* root=$root .* child=[1-9][0-9]*" "$destroyed"
		else
			in_order "child_request: .* root=$root .*" "child_abort: .* root=$root .*" "$drained" "$destroyed"
		fi
		must groups "name=g$i" children=0
	done
	say "created before the flag was set: $made of $i"
}

offline_admitted() {
	new_root
	group_with_child g r
	hold
	put groups offline g
	begin_destroy
	stays_false event "$drained"
	no_event "child_rcu: .*"
	release
	end_destroy ok
	in_order "child_offline: .* child=$child" "$dying" "child_rcu: ctx=$callback .* child=$child" "child_kill: .* child=$child" \
		"$drained" "$destroyed"
}

release_admitted() {
	for context in $contexts; do
		new_root
		exact_child
		block
		put objects free h $context
		begin_destroy
		stays_false event "$drained"
		no_event "child_shutdown: .* child=$child"
		unblock
		end_destroy ok
		in_order "child_release: ctx=$context .* child=$child" "$dying" "child_shutdown: .* child=$child" \
			"child_free: .* child=$child" "$drained" "$destroyed"
	done
}

# ---- after the flag is set: not admitted --------------------------------------------------------

request_refused() {
	new_root
	put groups create g
	block
	begin_destroy
	put objects alloc h r g
	objects_from h 1 0
	put objects free h
	unblock
	end_destroy ok
	no_event "child_(request|create|abort): .*"
}

link_refused() {
	request_pending g
	begin_destroy
	no_event "child_(create|abort): .*"
	unblock
	end_destroy ok
	in_order "$dying" "child_abort: .* root=$root .*" "$drained"
	no_event "child_create: .*"
	# The child was not published.
	must groups name=g children=0
}

offline_refused() {
	new_root
	group_with_child g r
	block
	begin_destroy
	put groups offline g
	unblock
	end_destroy ok
	in_order "$dying" "child_defer_offline: ctx=task .* child=$child" "$drained" "child_shutdown: .* child=$child" "$destroyed"
	no_event "child_(offline|rcu|kill): .* child=$child"
}

release_refused() {
	for context in $contexts; do
		new_root
		exact_child
		block
		begin_destroy
		put objects free h $context
		unblock
		end_destroy ok
		in_order "$dying" "child_defer_release: ctx=$context .* child=$child" "$drained" "child_shutdown: .* child=$child" "$destroyed"
		no_event "child_release: .* child=$child"
	done
}

# ---- at the same time as the flag: before it or after it ----------------------------------------

# at_once FILE COMMAND: starts the command, then the destroy. $other and $result are their results.
at_once() {
	start other "$@"
	start destroyer roots destroy r uncounted
	finish other
	other=$result
	finish destroyer
}

request_at_once() {
	for i in $(seq 5); do
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
	for i in $(seq 5); do
		new_root
		group_with_child g r
		at_once groups offline g
		[ "$other:$result" = ok:ok ] || fail "offline: $other; destroy: $result"
		ordered "child_offline: .* child=$child" "child_kill: .* child=$child"
		event "child_free: .* child=$child" || fail "child $child is left"
	done
}

release_at_once() {
	for i in $(seq 5); do
		new_root
		exact_child
		at_once objects free h
		[ "$other" = ok ] || fail "free: $other"
		[ "$result" = ok ] || destroy r
		ordered "child_release: ctx=task .* child=$child" "child_shutdown: ctx=task .* child=$child"
		has_events 2 "child_(shutdown|free): .* child=$child" || fail "not shut down once"
	done
}

# ordered ADMITTED DONE: an event ADMITTED must come before the flag is set, and DONE before the drain is over.
# After a destroy that failed, the next one counts.
ordered() {
	event "$1" || return 0
	ADMITTED=" $1\$" DONE=" $2\$" DYING=" $dying\$" DRAINED=" $drained\$" BUSY=" root_busy: .* root=$root name=r\$" awk '
		$0 ~ ENVIRON["DYING"] { dying = 1 }
		$0 ~ ENVIRON["DRAINED"] { if (pending) bad = "still pending after the drain" }
		$0 ~ ENVIRON["BUSY"] { dying = 0 }
		$0 ~ ENVIRON["ADMITTED"] { if (dying) bad = "admitted after the flag was set"; pending = 1 }
		$0 ~ ENVIRON["DONE"] { pending = 0 }
		END { if (bad) { print "# " bad; exit 1 } }' "$trace/trace" || fail "neither before the flag nor after it: $1"
}

tests "I1 the drain waits for a request that was admitted before the flag was set" request_admitted \
	"I8 a child linked before the flag was set is found by the destroy" link_admitted \
	"I1 the drain waits for a deactivation that was admitted before the flag was set" offline_admitted \
	"I1 the drain waits for a release that was admitted before the flag was set" release_admitted \
	"I1 a request after the flag was set is not admitted" request_refused \
	"I8 a child is not linked after the flag was set" link_refused \
	"I1 an offline after the flag was set is not admitted" offline_refused \
	"I1 a release after the flag was set is not admitted" release_refused \
	"I1 a request that races with the flag is before it or after it" request_at_once \
	"I1 an offline that races with the flag is before it or after it" offline_at_once \
	"I1 a last free that races with the flag is before it or after it" release_at_once
