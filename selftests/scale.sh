#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=busybox disable=SC2016,SC2030,SC2031,SC2086
# Many objects, many children; and the counters must add up.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

reparenting() {
	put roots create r 128
	group_with_child g r
	for i in 1 2 3 4 5; do put objects alloc "h$i" r g 2000; done
	must children "child=$child" objects=10000
	number_of group g
	put groups offline g
	event "group_free: ctx=task group=$value parent=0 name=g" || fail "the group is not freed at once"
	await record children "child=$child" owner=0 objects=10000
	await has_stage "$child" killed
	await_exact_counts
	put objects free h1 $hardirq
	put objects free h2 softirq
	put objects free h3 task
	must children "child=$child" stage=killed objects=4000
	cache_of "$child" || fail "the cache is gone, but 4000 objects are alive"
	put objects free h4 softirq
	put objects free h5 $hardirq
	event "child_release: ctx=$hardirq .* child=$child" || fail "not released by the last free"
	await event "child_free: .* child=$child"
	await not cache_of "$child"
	counted r releases_$hardirq 1
	counted r objects 0
}

# hundred: 100 children of r, each with 10 objects.
hundred() {
	groups_with_children 100
	counted r creations 100
	for i in $(seq 100); do
		put objects alloc "h$i" r "g$i" 10
		put objects free "first$i"
	done
	count objects '^handle=h.* from_root=0 from_children=10$'
	[ "$count" = 100 ] || fail "$count of 100 groups were served by their children"
}
shut_down() { stat_of r shutdowns; [ "$value" = "$1" ]; }

# busy TIMES: the destroy must fail, for the TIMES-th time.
busy() {
	destroy_begun r
	counted r busy "$1"
	must roots name=r state=live children=100
}

busy_and_back() {
	new_root
	hundred
	unchanged busy 1
	counted r resurrections 101
	# A third of the groups goes offline while the next destroy waits, a third afterwards.
	block
	begin_destroy
	for i in $(seq 33); do put groups offline "g$i"; done
	counted r now_offline_deferred 33
	unblock
	end_destroy EBUSY
	for i in $(seq 34 66); do put groups offline "g$i"; done
	for i in $(seq 100); do
		context_for "$i"
		put objects free "h$i" $context
	done
	await shut_down 66
	must roots name=r state=live children=34
	counted r objects 0
	counted r deactivations 66
	counted r deferred_offlines 33
	destroy r
	has_events 100 "child_create: .*" || fail "$count created"
	has_events 100 "child_free: .* child=[1-9][0-9]*" || fail "$count freed"
	not any_cache || fail "a cache is left"
}

# Each counter must agree with the trace.
adds_up() {
	new_root
	hundred
	busy 1
	for i in $(seq 100); do put groups offline "g$i"; done
	# A child without objects is released by the RCU callback of the kill, in softirq.
	for i in $(seq 50); do put objects free "h$i"; done
	await shut_down 50
	counted r now_killed 50
	# Until the RCU callback of the kill has run, a count is a snapshot.
	await_exact_counts
	counted r objects 500
	for i in $(seq 51 100); do put objects free "h$i" $hardirq; done
	await shut_down 100
	must stats name=r objects=0 now_active=1 now_offline_deferred=0 now_deactivating=0 now_quiescent=0 now_killed=0 \
		now_release_deferred=0 now_released=0
	for pair in requests:child_request creations:child_create aborts:child_abort deactivations:child_offline \
		deferred_offlines:child_defer_offline deferred_releases:child_defer_release resurrections:child_resurrect shutdowns:child_shutdown \
		destroys:root_dying busy:root_busy; do
		events "${pair#*:}: ctx=[a-z]+ root=$root .*"
		stat_of r "${pair%:*}"
		[ "$value" = "$count" ] || fail "${pair%:*} is $value, but there are $count events ${pair#*:}"
	done
	total=0
	for context in $contexts; do
		events "child_(release|defer_release): ctx=$context root=$root .*"
		stat_of r "releases_$context"
		[ "$value" = "$count" ] || fail "releases_$context is $value, but there are $count events"
		total=$((total + value))
	done
	# The root's own cache had no object: the destroy that failed released and resurrected it.
	[ $total = 101 ] || fail "$total releases, not those of 100 children and the root's own"
	counted r creations 100
	stat_of r longest_killed_us
	[ "$value" -gt 0 ] || fail "longest_killed_us is 0"
	destroy r
}

# The count was killed, but its grace period is not over. The references of these objects were taken on the per-CPU
# counters, and are put on the atomic one.
count_between() {
	put roots create r 64
	group_with_child g r
	put objects alloc h r g 10
	put objects alloc i r g 5
	block
	put groups offline g
	await event "child_rcu: .* child=$child"
	hold
	unblock
	await has_stage "$child" killed
	must children "child=$child" objects=15
	put objects free h
	must children "child=$child" objects=5
	put objects free i
	must children "child=$child" objects=0
	counted r objects 0
	release
	await event "child_free: .* child=$child"
}

# A group gets its child although 100 shutdowns were queued before.
created_among_shutdowns() {
	new_root
	hundred
	for i in $(seq 100); do put groups offline "g$i"; done
	await counted_now r now_killed 100
	await_exact_counts
	new_group late
	block
	for i in $(seq 100); do put objects free "h$i" $hardirq; done
	await counted_now r now_released 100
	put objects alloc late r late
	event "child_request: .* group=$group .*" || fail "no request"
	unblock
	await event "child_create: .* group=$group .*"
	await shut_down 100
	before=$(sed -n "/ child_create: .* group=$group /q; / child_free: /p" "$trace/trace" | wc -l)
	say "$before of 100 caches were destroyed before"
	[ "$before" -le 50 ] || fail "the creation has waited for $before of 100 shutdowns"
	put objects free late
	destroy r
}
counted_now() { stat_of "$1" "$2"; [ "$value" = "$3" ]; }

tests "I4 10,000 objects outlive their group, and the last free destroys the cache" reparenting \
	"I6 after EBUSY with 100 children everything is released and nothing is left" busy_and_back \
	"I11 a creation does not wait for 100 shutdowns" created_among_shutdowns \
	"I2 the counters add up, and agree with the trace" adds_up \
	"I2 objects are counted correctly while a kill waits for its grace period" count_between
