#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=busybox disable=SC2016,SC2030,SC2031,SC2086
# Hundreds of cgroups are removed while their objects are alive: none of them stays dying. And as many cgroups as do not
# fit into 16 bits.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=cgroups.sh
. "$here/cgroups.sh"

leaves="a b c d e f g h i j k l m n o p q r s t u v w x"

# tree CONTROLLERS OPTIONS: makes 500 cgroups, each with objects of its own cache, and removes them before the
# objects are freed.
tree() {
	echo 8192 >"$trace/buffer_size_kb"
	put roots create r 96 $2
	attach
	[ -d $cgroups ] || mkdir $cgroups
	[ -z "$1" ] || echo "$1" >$cgroups/cgroup.subtree_control || fail "no controllers $1"
	before=$(dying)
	list=
	for i in $(seq 20); do
		make "$i"
		list="$i $list"
		[ -z "$1" ] || echo "$1" >"$cgroups/$i/cgroup.subtree_control"
		(cd "$cgroups/$i" && mkdir $leaves) || fail "no cgroups in $i"
		for j in $leaves; do list="$i/$j $list"; done
	done
	say "made"
	flush
	for one in $list; do
		path "$one"
		put objects alloc "first.${one%%/*}.${one#*/}" r "$path"
	done
	for made in 100 200 300 400 500; do
		await children_at_least $made
		say "caches made: $count"
		flush
	done
	for one in $list; do
		path "$one"
		put objects alloc "h.${one%%/*}.${one#*/}" r "$path" 5
		put objects free "first.${one%%/*}.${one#*/}"
	done
	count objects '^handle=h.* from_root=0 from_children=5$'
	[ "$count" = 500 ] || fail "$count of 500 cgroups were served by their own caches"
	say "filled"
	flush
	for i in $(seq 20); do
		(cd "$cgroups/$i" && rmdir $leaves && cd .. && rmdir "$i") || fail "rmdir in $i"
	done
	await dying_is "$before"
	must stats name=r objects=2500
	children_are 500 || fail "caches are gone, but objects are alive"
	i=0
	for one in $list; do
		i=$((i + 1))
		context_for $i
		put objects free "h.${one%%/*}.${one#*/}" $context
	done
	for left in 400 300 200 100 50 0; do
		await children_at_most $left
		say "caches left: $count"
		flush
	done
	count groups 'name=.*/.*/'
	[ "$count" = 0 ] || fail "$count groups are left"
}
children_at_most() { children_are 500; [ "$count" -le "$1" ]; }
children_at_least() { children_are 500; [ "$count" -ge "$1" ]; }
# More than 65,536 cgroups: none is missed, and the last one has a cache of its own.
many() {
	[ "$slow" = 1 ] || skip "a kernel with checkers takes too long"
	# More events than any buffer holds. The next test enables them again.
	echo 0 >"$trace/events/$module/enable"
	put roots create r 96
	make
	attach
	# Not by find: the inodes of all files in all cgroups are more than the memory.
	must cgroups state=attached
	value followed
	names=$(seq 500)
	for i in $(seq 132); do
		make "$i"
		(cd "$cgroups/$i" && mkdir $names) || fail "no cgroups in $i"
		[ $((i % 10)) != 0 ] || { say "made: $((i * 501))"; flush; }
	done
	must cgroups state=attached followed=$((value + 132 * 501)) missed=0
	path 132/500
	await served_by_child
	say "served"
	flush
	put objects free h
	for i in $(seq 132); do
		(cd "$cgroups/$i" && rmdir $names && cd .. && rmdir "$i") || fail "rmdir in $i"
		[ $((i % 10)) != 0 ] || { say "removed: $((i * 501))"; flush; }
	done
}
served_by_child() {
	! record objects handle=h || put objects free h
	put objects alloc h r "$path"
	record objects handle=h from_children=1
}
plain_tree() { tree '' ''; }
memory_tree() {
	# shellcheck disable=SC2119
	make_with_memory
	tree +memory account
}

tests "66,000 cgroups are groups, with caches of their own" many \
	"I4 500 cgroups are removed before their objects, and none stays dying" plain_tree \
	"I4 500 cgroups with charged objects are removed before them, and none stays dying" memory_tree
