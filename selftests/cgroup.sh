#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=busybox disable=SC2016,SC2030,SC2031,SC2086
# Groups that are cgroups: which cgroups are groups, which cache serves a task, and what rmdir leaves behind.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=cgroups.sh
. "$here/cgroups.sh"

existing_and_new() {
	make a a/b a/b/c
	attach
	for one in a a/b a/b/c; do is_group $one || fail "$one was there, but is no group"; done
	is_group a/b
	value parent
	parent=$value
	is_group a
	value group
	[ "$parent" = "$value" ] || fail "the parent of a/b is $parent, not $value"
	make a/b/new x
	for one in a/b/new x; do is_group $one || fail "$one was made, but is no group"; done
	is_group a/b/new
	value cgroup
	[ "$value" = "$(stat -c %i "$cgroups/a/b/new")" ] || fail "the id of its cgroup is $value"
	rmdir "$cgroups/a/b/new" "$cgroups/x"
	for one in a/b/new x; do ! is_group $one || fail "$one was removed, but is a group"; done
	record groups "name=${cgroups#/sys/fs/cgroup}" parent=0 || fail "no group at the top"
	number=$(find /sys/fs/cgroup -mindepth 1 -type d | wc -l)
	must cgroups state=attached followed="$number" missed=0
	detach
	not record groups || fail "a group is left"
	make late
	not record groups || fail "a group was made after detaching"
}

odd_names() {
	long=$(head -c 255 /dev/zero | tr '\000' l)
	attach
	put roots create r 64
	make 'two words' 'back\slash' 'a=b' "$(printf '\303\274')" "'\"(:)" "$long" '...' 'current'
	number_of group "${cgroups#/sys/fs/cgroup}"
	for name in 'two\040words' 'back\134slash' 'a=b' '\303\274' "'\"(:)" "$long" '...' 'current'; do
		path "$name"
		grep -qF " name=$path parent=$value " $control/groups || fail "no group $path"
		put objects alloc first r "$path"
		await served_by_child
		objects_from second 0 1
		short=$(printf %s "$name" | head -c 64)
		set -- "$slab"/kmemcg:*":$short)"
		[ -d "$1" ] || fail "no cache with $short in its name, but $(echo "$slab"/kmemcg:*)"
		put objects free first
		put objects free second
	done
}

# The kernel cuts the paths of cgroups, and that of all below a long one is the same.
long_paths() {
	long=$(head -c 250 /dev/zero | tr '\000' l)
	deep=$long/$long/$long/$long
	make $long $long/$long $long/$long/$long $deep
	make $deep/a $deep/b
	attach
	make $deep/c
	count groups 'name=[^ ]{1000,}'
	[ $count -ge 4 ] || fail "$count groups have a long name"
	same=$(sed -n 's/.* name=\([^ ]*\) .*/\1/p' $control/groups | sort | uniq -d)
	[ -z "$same" ] || fail "groups of one name: $same"
	gone $deep/b $deep/c $deep/a
	count groups 'name=[^ ]{1000,}'
	[ $count = 1 ] || fail "$count groups have a long name"
}

# A new group has no child yet: allocate until an object comes from it.
served_by_child() {
	! record objects handle=second || put objects free second
	put objects alloc second r "$path"
	record objects handle=second from_children=1
}

# An object of a process comes from the cache of its current cgroup, and is freed to the same cache.
current() {
	make a b
	attach
	put roots create r 64
	child_for a r
	of_a=$child
	child_for b r
	of_b=$child
	inside a put objects alloc one r current 3
	objects_from one 0 3
	must children child=$of_a objects=3
	inside b put objects alloc two r current 4
	must children child=$of_b objects=4
	cache_of "$of_a" || fail "no cache"
	case $cache in *"($of_a:a)") ;; *) fail "the name of the cache of a is $cache" ;; esac
	inside a move_to_b
	must children child=$of_a objects=3
	must children child=$of_b objects=5
	put objects free one $hardirq
	must children child=$of_a objects=0
	put objects free two
	put objects free after
}

move_to_b() {
	put objects alloc before r current
	echo 0 >"$cgroups/b/cgroup.procs"
	put objects alloc after r current
	put objects free before softirq
}

first_time() {
	make a
	attach
	put roots create r 64
	block
	inside a put objects alloc one r current
	objects_from one 1 0
	inside a put objects alloc two r current
	objects_from two 1 0
	has_events 1 "child_request: .*" || fail "$count requests"
	unblock
	await event "child_create: .*"
	inside a put objects alloc three r current
	objects_from three 0 1
}

# Allocations without a group: detached, in the root cgroup, and in an interrupt.
own_cache() {
	make a
	put roots create r 64
	inside a put objects alloc detached r current
	objects_from detached 1 0
	attach
	child_for a r
	put objects alloc root r current 2
	objects_from root 2 0
	# The interrupted tasks are in a.
	for i in 1 2 3 4; do
		(echo 0 >$cgroups/a/cgroup.procs; until [ -e "$scratch/enough" ]; do :; done) &
	done
	for context in ${contexts#task }; do
		inside a put objects alloc "$context" r current 100 "$context"
		objects_from "$context" 100 0
	done
	: >"$scratch/enough"
	wait
	rm "$scratch/enough"
	inside a put objects alloc task r current 2
	objects_from task 0 2
}

# rmdir removes the group from the tree at once, and its child has no reference on the cgroup.
removed_with_objects() {
	make p p/a
	attach
	put roots create r 64
	child_for p/a r
	inside p/a put objects alloc h r current 100
	before=$(dying)
	gone p/a
	gone_path=$path
	in_order "group_offline: .* name=$gone_path" "child_offline: .* child=$child" "child_reparent: .* child=$child"
	is_group p
	value group
	must children "child=$child" owner="$value" objects=100
	await dying_is "$before"
	await has_stage "$child" killed
	await event "group_free: .* name=$gone_path"
	gone p
	must children "child=$child" owner="$(top_of_tests)" stage=killed objects=100
	await_exact_counts
	put objects free h $hardirq
	event "child_release: ctx=$hardirq .* child=$child" || fail "not released by the last free"
	await not cache_of "$child"
}
top_of_tests() { number_of group "${cgroups#/sys/fs/cgroup}"; echo "$value"; }

# Many cgroups of the same name, all within one grace period.
faster() {
	mkdir $cgroups
	attach
	put roots create r 64
	before=$(dying)
	hold
	for i in $(seq 100); do
		mkdir $cgroups/a
		path a
		put objects alloc "h$i" r "$path"
		rmdir $cgroups/a
	done
	not is_group a || fail "a is a group"
	release
	await dying_is "$before"
	for i in $(seq 100); do
		put objects free "h$i"
	done
	await children_are 0
	has_events 100 "group_create: .* name=$path" || fail "$count groups were made"
	await has_events 100 "group_free: .* name=$path"
}

# rmdir_with SET STAGE RESET: rmdir with one of the test knobs set, which keeps the child in that stage. The last free
# comes before it is reset, in a hard interrupt.
rmdir_with() {
	make a
	attach
	put roots create r 64
	child_for a r
	put objects alloc h r "$path" 10
	"$1"
	rmdir $cgroups/a || fail "rmdir fails"
	await has_stage "$child" "$2"
	not is_group a || fail "a is a group"
	put objects free h $hardirq
	must children "child=$child" stage="$2"
	"$3"
	await event "child_free: .* child=$child"
	await not cache_of "$child"
}
rmdir_with_hold() { rmdir_with hold deactivating release; }
rmdir_with_block() { rmdir_with block quiescent unblock; }

# rmdir and the last free at once, on two processors.
rmdir_and_free() {
	attach
	put roots create r 64
	for i in $(seq 30); do
		make a
		child_for a r
		put objects alloc h r "$path"
		start free objects free h $hardirq
		rmdir $cgroups/a || fail "rmdir"
		finish_with free ok
		await event "child_free: .* child=$child"
	done
}

many_attachments() {
	make a a/b
	put roots create r 64
	(
		me=load
		until [ -e "$scratch/enough" ]; do
			mkdir $cgroups/a/x
			path a/x
			try objects alloc x r "$path" 3
			echo 0 >$cgroups/a/b/cgroup.procs
			try objects alloc y r current 3
			echo 0 >/sys/fs/cgroup/cgroup.procs
			try objects free x
			rmdir $cgroups/a/x
			try objects free y softirq
		done
		: >"$scratch/ended"
	) 2>/dev/null &
	echo 16384 >"$trace/buffer_size_kb"
	for i in $(seq 200); do
		attach
		if [ $((i % 20)) = 0 ]; then
			say "$i"
			is_group a/b || fail "a/b is not a group"
		fi
		detach
	done
	: >"$scratch/enough"
	await test -e "$scratch/ended"
	wait
	rm "$scratch/enough" "$scratch/ended"
	not record groups || fail "a group is left"
}

# Cgroups beyond the limit. Room is made by rmdir, by a group with a name, and by the limit.
too_many() {
	make a
	put groups create named
	attach
	room_for 2
	make b c
	# A group of the test before may be freed only now.
	for one in b c; do await is_group $one; done
	make f f/x g h
	for one in f f/x g h; do not is_group $one || fail "$one is a group, over the limit"; done
	await missed 4
	refused ENOSPC groups create other
	gone h
	await missed 3
	gone b
	await is_group f
	await missed 2
	put groups offline named
	await is_group f/x
	await missed 1
	is_group f
	value group
	must groups "name=${path}/x" parent="$value"
	not is_group g || fail "g is a group, over the limit"
	put groups limit 1048576
	await is_group g
	await missed 0
	number=$(find /sys/fs/cgroup -mindepth 1 -type d | wc -l)
	must cgroups followed="$number"
}

# mkdir beyond the limit must not walk over all cgroups, and what makes room only once or twice.
many_too_many() {
	make
	attach
	room_for 0
	walks
	before=$value
	make $(seq 300)
	await missed 300
	walks
	[ "$value" = "$before" ] || fail "$((value - before)) walks without room"
	put groups limit 1048576
	await missed 0
	walks
	[ "$value" -le $((before + 3)) ] || fail "$((value - before)) walks for 300 cgroups"
	number=$(find /sys/fs/cgroup -mindepth 1 -type d | wc -l)
	must cgroups followed="$number"
}

# While cgroups are missed, detaching and unloading do not wait for room.
detach_missed() {
	make
	for i in 1 2 3; do
		attach
		room_for 0
		make x$i
		await missed 1
		detach
		put groups limit 1048576
	done
	attach
	put groups limit 0
	make y
	await missed 1
	rmmod $module || fail "the module cannot be unloaded"
	load || fail "the module does not load"
	watch_events
}

unload_attached() {
	make a a/b
	for i in 1 2 3; do
		attach
		put roots create r 64
		put roots create paid 64 account
		child_for a/b r
		inside a/b put objects alloc h r current 50
		inside a/b put objects alloc p paid current 50
		(until [ -e "$scratch/enough" ]; do mkdir $cgroups/x$i $cgroups/x$i/y; rmdir $cgroups/x$i/y $cgroups/x$i; done; : >"$scratch/ended") 2>/dev/null &
		block
		rmmod $module || fail "the module cannot be unloaded"
		: >"$scratch/enough"
		await test -e "$scratch/ended"
		wait
		rm "$scratch/enough" "$scratch/ended"
		eventually not any_cache || fail "a cache is left"
		load || fail "the module does not load"
		watch_events
		must cgroups state=detached
	done
}

tests "I4 a cgroup is a group from the attachment or mkdir until rmdir or detaching" existing_and_new \
	"unusual names and names of 255 bytes work for groups and caches" odd_names \
	"cgroups whose paths the kernel cuts are groups with a name each" long_paths \
	"I3 a task gets objects from the cache of its cgroup, and frees them to the same cache after a move" current \
	"I7 the first objects of a cgroup come from the root's own cache" first_time \
	"I7 the root's own cache serves the root cgroup, interrupts, and every task when detached" own_cache \
	"I4 rmdir with objects alive: the cgroup is freed, and the cache after the last free" removed_with_objects \
	"I8 cgroups of one name, made and removed within a grace period, are different groups" faster \
	"I4 rmdir does not wait for a grace period, and the last free may come before it ends" rmdir_with_hold \
	"I4 rmdir does not wait for the workqueue, and the last free may come before its work" rmdir_with_block \
	"I2 rmdir that races with the last free destroys the cache" rmdir_and_free \
	"I9 200 times attached and detached under load, no group is left" many_attachments \
	"a cgroup beyond the limit becomes a group when there is room, whatever made it" too_many \
	"I10 cgroups beyond the limit are counted without a walk for each" many_too_many \
	"I9 detaching and unloading do not wait for cgroups beyond the limit" detach_missed \
	"I9 the module unloads while it is attached and busy" unload_attached
