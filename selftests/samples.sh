#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=busybox disable=SC2154
# Modules that call rust_kmemcg: samples/sessions.c and samples/sessions_rust.rs.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=cgroups.sh
. "$here/cgroups.sh"

keep=yes
sessions=/dev/kmemcg_sessions
rust=/dev/kmemcg_sessions_rust

both_load() {
	modprobe sessions || fail "the C sample does not load"
	modprobe sessions_rust || fail "the Rust sample does not load"
	await test -c $sessions && await test -c $rust
	record roots name=sessions state=live children=0 || fail "no root of the C sample"
	record roots name=sessions_rust state=live children=0 || fail "no root of the Rust sample"
	record cgroups state=attached || fail "cgroups are not attached"
}

kept() {
	! rmmod $module 2>/dev/null || fail "the module was unloaded while others call it"
	is_loaded || fail "the module is gone"
}

# session COMMAND NAME: writes a command to the C sample.
session() { echo "$1 $2" >$sessions; }

caches_of_cgroups() {
	make a b
	for one in a b; do
		inside $one session open "$one.first" || fail "no first session in $one"
		path $one
		number_of group "$path"
		group=$value
		number_of root sessions
		await record children "root=$value" "owner=$group" stage=active objects=0
		inside $one session open "$one.second" || fail "no second session in $one"
		record children "root=$value" "owner=$group" stage=active objects=1 ||
			fail "the second session of $one is not in its cache"
	done
	[ "$(grep -c '^session=[ab]\.\(first\|second\) pid=[1-9]' $sessions)" = 4 ] || fail "not the four sessions that were opened"
	grep -qx 'caches=3 objects=4' $sessions || fail "statistics: $(tail -n 1 $sessions)"
}

wrong_commands() {
	before=$(cat $sessions)
	for command in "open a.first" "close nobody" "open" "close" "open " "stop a.first" \
		"open 12345678901234567890123456789012" "open 1234567890123456789012345678901234567890"; do
		! echo "$command" >$sessions 2>/dev/null || fail "accepted: $command"
	done
	[ "$before" = "$(cat $sessions)" ] || fail "a refused command has changed something"
}

outlives_its_cgroup() {
	before=$(dying)
	gone a
	await dying_is "$before"
	grep -q '^session=a.second ' $sessions || fail "the session is gone with its cgroup"
	number_of root sessions
	await record children "root=$value" stage=killed objects=1
	session close a.second || fail "the session cannot be closed"
	await not record children "root=$value" stage=killed
	await grep -qx 'caches=2 objects=3' $sessions
}

# Opens two files of the Rust sample in the cgroup b, and then leaves b.
visitor() {
	echo 0 >"$cgroups/b/cgroup.procs"
	exec 7<$rust
	# The worker that creates the child has a reference meanwhile, which counts as an object.
	eventually record children "root=$root" "owner=$group" stage=active objects=0
	read -r line <&7
	echo "$line" >"$scratch/first"
	exec 8<$rust
	read -r line <&8
	echo "$line" >"$scratch/second"
	echo 0 >/sys/fs/cgroup/cgroup.procs
	: >"$scratch/outside"
	eventually test -e "$scratch/leave"
}

files_of_rust() {
	path b
	number_of group "$path"
	group=$value
	number_of root sessions_rust
	root=$value
	visitor &
	await test -e "$scratch/outside"
	grep -qx 'session=1 pid=[1-9][0-9]* caches=2 objects=1' "$scratch/first" || fail "first: $(cat "$scratch/first")"
	grep -qx 'session=2 pid=[1-9][0-9]* caches=2 objects=2' "$scratch/second" || fail "second: $(cat "$scratch/second")"
	! rmmod sessions_rust 2>/dev/null || fail "unloaded with open files"
	before=$(dying)
	gone b
	await dying_is "$before"
	await record children "root=$root" stage=killed objects=1
	: >"$scratch/leave"
	wait
	await not record children "root=$root" stage=killed
}

all_unload() {
	grep -q '^session=' $sessions || fail "no session is left to be freed"
	# The roots are closed before the samples close them.
	put roots destroy sessions async
	put roots destroy sessions_rust async
	rmmod sessions || fail "the C sample cannot be unloaded"
	rmmod sessions_rust || fail "the Rust sample cannot be unloaded"
	eventually not record roots || fail "a root is left: $(cat $control/roots)"
	put cgroups detach
	rmmod $module || fail "$module cannot be unloaded"
	modprobe $module || fail "$module cannot be loaded again"
}

tests "the samples load, and have root caches" both_load \
	"I9 the module cannot be unloaded while others call it" kept \
	"C: the sessions of each cgroup are in its own cache" caches_of_cgroups \
	"C: an invalid command changes nothing" wrong_commands \
	"I4 C: a session outlives its cgroup" outlives_its_cgroup \
	"I4 Rust: an open file outlives its cgroup" files_of_rust \
	"I9 all unload with sessions open and roots that were closed before" all_unload
