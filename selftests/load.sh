#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=busybox disable=SC2016,SC2030,SC2031,SC2086
# Loading and unloading: nothing is left behind.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

# The rescuer of the workqueue. Other workers keep the name of what they ran last.
threads() { grep -l '^kworker/R-rust_' /proc/[0-9]*/comm 2>/dev/null; }

# left: $left is what there is of the module.
left() {
	left=
	! is_loaded || left="$left module"
	[ ! -e "$control" ] || left="$left debugfs"
	[ ! -e "$tracing/events/$module" ] || left="$left events"
	! any_cache || left="$left caches"
	[ -z "$(threads)" ] || left="$left threads"
	[ "$left" ]
}

unload() { rmmod $module 2>"$scratch/rmmod"; }

# start_unload: in the background, so that a hang is a failure.
start_unload() {
	rm -f "$scratch/unloaded"
	(
		unload
		echo $? >"$scratch/unloading"
		mv "$scratch/unloading" "$scratch/unloaded"
	) &
}

# must_unload: it must work, and leave nothing.
must_unload() {
	start_unload
	await test -e "$scratch/unloaded"
	read -r status <"$scratch/unloaded"
	[ "$status" = 0 ] || fail "rmmod: $(cat "$scratch/rmmod")"
	# Names in sysfs go a little later.
	eventually not left || fail "left behind:$left"
}

# must_load: and then all is there.
must_load() {
	load || fail "it does not load"
	left
	[ "$left" = " module debugfs events threads" ] || fail "there is:$left"
	watch_events
}

twenty_times() {
	i=0
	while [ $i -lt 20 ]; do
		i=$((i + 1))
		unload || fail "rmmod: $(cat "$scratch/rmmod")"
		eventually not left || fail "left behind:$left"
		must_load
	done
	[ -z "$(cat $control/roots $control/groups $control/objects $control/children)" ] || fail "it is not empty"
}

used() {
	for i in 1 2 3; do
		put roots create r 64
		group_with_child g r
		put objects alloc h r g 100
		put groups offline g
		put objects free h $hardirq
		must_unload
		must_load
	done
}

# furnish: children in every stage that a live root has, each with objects but for the released one.
furnish() {
	put roots create r 64
	put roots create empty 4096 4096
	group_with_child active r
	put objects alloc active r active 500
	put objects alloc own r - 7
	group_with_child idle r
	group_with_child killed r
	killed=$child
	put objects alloc killed r killed 10
	put groups offline killed
	await has_stage "$killed" killed
	group_with_child released r
	released=$child
	put objects alloc released r released 10
	put groups offline released
	await has_stage "$released" killed
	await_exact_counts
	group_with_child deactivating r
	deactivating=$child
	put objects alloc deactivating r deactivating 10
	group_with_child held r
	held=$child
	put objects alloc held r held 10
	put groups create asks
}

# Every stage at once, the levers pulled.
every_stage() {
	furnish
	stall
	put objects free released $hardirq
	put objects alloc asks r asks
	put groups offline deactivating
	await event "child_rcu: .* child=$deactivating"
	hold
	put groups offline held
	must children "child=$released" stage=released
	must children "child=$killed" stage=killed
	must children "child=$deactivating" stage=deactivating
	must children "child=$held" stage=deactivating
	event "child_request: .*" || fail "no request"
	must_unload
	must_load
}

with_objects() {
	furnish
	must_unload
	must_load
}

stalled() {
	stall
	must_unload
	must_load
	[ "$(cat $control/workqueue)" = free ] || fail "the workqueue is stalled after loading"
}

held() {
	hold
	must_unload
	must_load
	[ "$(cat $control/grace_period)" = free ] || fail "a grace period is held after loading"
}

after_busy() {
	furnish
	start destroyer roots destroy r
	finish destroyer
	[ "$result" = EBUSY ] || fail "the destroy: $result"
	must_unload
	must_load
}

closing() {
	furnish
	put roots destroy r async
	put roots destroy empty async
	stall
	put objects free killed $hardirq
	must_unload
	must_load
}

open_file() {
	for file in roots groups children objects grace_period workqueue; do
		if [ $file = children ]; then exec 9<$control/$file; else exec 9>>$control/$file; fi
		! unload || fail "rmmod works while $file is open"
		is_loaded || fail "it is gone"
		[ -e $control/$file ] || fail "$file is gone"
		exec 9<&-
	done
	exec 9<$control/roots
	read -r line <&9
	! unload || fail "rmmod works while roots is read"
	put roots create r 64
	exec 9<&-
	must_unload
	must_load
}

destroy_in_progress() {
	put roots create r 64
	group_with_child g r
	stall
	start destroyer roots destroy r
	await event "root_dying: .* name=r"
	! unload || fail "rmmod works while a root is being destroyed"
	resume
	finish destroyer
	[ "$result" = ok ] || fail "the destroy: $result"
	must_unload
	must_load
}

# The names and numbers of the life before do not matter, and the files are usable at once.
used_while_loading() {
	i=0
	while [ $i -lt 3 ]; do
		i=$((i + 1))
		must_unload
		(
			eventually test -e $control/roots || exit
			i=0
			while [ $i -lt 15 ]; do
				i=$((i + 1))
				echo "create n$i 32" >$control/roots
			done
		) 2>/dev/null &
		load || fail "it does not load"
		wait
		count roots '^root='
		[ "$count" = 15 ] || fail "$count of 15 roots"
	done
}

tests "I9 unload and load 20 times: nothing is left behind" twenty_times \
	"I9 unload while releases are on their way" used \
	"I9 unload with objects, with children alive and killed" with_objects \
	"I9 unload with children in every stage and both levers pulled" every_stage \
	"I9 unload with the workqueue stalled" stalled \
	"I9 unload with a grace period held" held \
	"I9 unload after a destroy that failed" after_busy \
	"I9 unload with roots that are closing" closing \
	"I9 no unload while a file is open, and it works afterwards" open_file \
	"I9 no unload while a root is being destroyed" destroy_in_progress \
	"the files can be used from the moment that they are there" used_while_loading
