#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=busybox disable=SC2016,SC2030,SC2031,SC2086
# Loading and unloading: nothing is left behind.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

# The rescuer of the workqueue. An ordinary worker keeps the name of the workqueue that it served last.
threads() { grep -l '^kworker/R-rust_' /proc/[0-9]*/comm 2>/dev/null; }

# left: $left lists what exists of the module. It is false where there is nothing.
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

# must_unload: rmmod must succeed and leave nothing behind.
must_unload() {
	start_unload
	await test -e "$scratch/unloaded"
	read -r status <"$scratch/unloaded"
	[ "$status" = 0 ] || fail "rmmod: $(cat "$scratch/rmmod")"
	# sysfs removes names a little later.
	eventually not left || fail "left behind:$left"
}

# must_load: afterwards everything exists, but no cache.
must_load() {
	load || fail "the module does not load"
	left
	[ "$left" = " module debugfs events threads" ] || fail "after loading there is:$left"
	watch_events
}

twenty_times() {
	for i in $(seq 20); do
		unload || fail "rmmod: $(cat "$scratch/rmmod")"
		eventually not left || fail "left behind:$left"
		must_load
	done
	[ -z "$(cat $control/roots $control/groups $control/objects $control/children)" ] || fail "the module is not empty after loading"
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

# furnish: children that are active, killed, and about to be released or deactivated; all but "idle" have objects.
furnish() {
	put roots create r 64
	put roots create empty 4096 4096
	group_with_child active r
	put objects alloc active r active 500
	put objects alloc own r - 7
	group_with_child idle r
	killed_child killed killed 10
	killed=$child
	killed_child released released 10
	released=$child
	await_exact_counts
	group_with_child deactivating r
	deactivating=$child
	put objects alloc deactivating r deactivating 10
	group_with_child held r
	held=$child
	put objects alloc held r held 10
	put groups create asks
}

# Children in every stage, with the workqueue blocked and a grace period held.
every_stage() {
	furnish
	block
	put objects free released $hardirq
	put objects alloc asks r asks
	put groups offline deactivating
	await event "child_rcu: .* child=$deactivating"
	hold
	put groups offline held
	must children "child=$released" stage=released
	must children "child=$killed" stage=killed
	must children "child=$deactivating" stage=quiescent
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

blocked() {
	block
	must_unload
	must_load
	[ "$(cat $control/workqueue)" = free ] || fail "the workqueue is blocked after loading"
}

held() {
	hold
	must_unload
	must_load
	[ "$(cat $control/grace_period)" = free ] || fail "a grace period is held after loading"
}

after_busy() {
	furnish
	destroy_begun r
	must_unload
	must_load
}

closing() {
	furnish
	put roots destroy r async
	put roots destroy empty async
	block
	put objects free killed $hardirq
	must_unload
	must_load
}

# large_objects: $objects is the number of large objects in use in the whole kernel.
large_objects() {
	objects=0
	for cache in "$slab"/kmalloc*-512 "$slab"/kmalloc*-[1248]k; do
		[ ! -L "$cache" ] || continue
		echo 1 >"$cache/shrink"
		read -r number _ <"$cache/objects"
		objects=$((objects + number))
	done
}

# A root takes a kilobyte or more. Nothing looks at the list of roots after the last one was closed.
closed_are_freed() {
	for i in $(seq 100); do put roots create "r$i" 64; done
	large_objects
	before=$objects
	for i in $(seq 100); do put roots destroy "r$i" async; done
	await has_events 100 "root_destroy: .*"
	await have_dropped "$before"
}

# have_dropped BEFORE: are 80 large objects fewer in use?
have_dropped() {
	large_objects
	[ $(($1 - objects)) -ge 80 ]
}

open_file() {
	for file in $(state_files); do
		case " $(knob_files | tr '\n' ' ') " in
		*" $file "*) exec 9>>$control/$file ;;
		*) exec 9<$control/$file ;;
		esac
		! unload || fail "rmmod works while $file is open"
		is_loaded || fail "the module is gone"
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
	new_root
	group_with_child g r
	block
	begin_destroy
	! unload || fail "rmmod works while a root is being destroyed"
	unblock
	end_destroy ok
	must_unload
	must_load
}

# An unload ends every life that the trace shows. The kernel empties the buffer after it, so it is read meanwhile.
traced() {
	find_table
	new_root
	group_with_child g r
	put groups create online
	cat "$trace/trace_pipe" >"$scratch/pipe" &
	reader=$!
	must_unload
	kill $reader
	must_load
	grep -q "group_free: .* name=online" "$scratch/pipe" || skip "the kernel emptied the buffer before it was read"
	complete=1
	is_checked "$scratch/pipe"
	[ "$verdict" = 0 ] || fail "$(cat "$scratch/verdict")"
}

# After loading, names that were used before are free, and the files work as soon as they exist.
used_while_loading() {
	for i in $(seq 3); do
		must_unload
		(
			eventually test -e $control/roots || exit
			for j in $(seq 15); do
				echo "create n$j 32" >$control/roots
			done
		) 2>/dev/null &
		load || fail "the module does not load"
		wait
		count roots '^root='
		[ "$count" = 15 ] || fail "$count of 15 roots"
	done
}

tests "I9 unload and load work 20 times and leave nothing behind" twenty_times \
	"I9 unload works while releases are pending" used \
	"I9 unload works with objects of active and killed children" with_objects \
	"I9 unload works with children in every stage, the workqueue blocked and a grace period held" every_stage \
	"I9 unload works with the workqueue blocked" blocked \
	"I9 unload works with a grace period held" held \
	"I9 unload works after a destroy that failed" after_busy \
	"I9 unload works with roots that are closing" closing \
	"I12 a closed root is freed when it has gone" closed_are_freed \
	"I9 unload fails while a file is open, and works afterwards" open_file \
	"I9 unload fails while a root is being destroyed" destroy_in_progress \
	"I9 the trace of an unload ends every life" traced \
	"the files work as soon as they exist" used_while_loading
