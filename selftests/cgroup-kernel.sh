#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=busybox disable=SC2016,SC2030,SC2031,SC2086
# What passes of the kernel tree's own tests of cgroups passes with the module attached and busy, too.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

# results PROGRAM: adds what passes to the file that is named after it. Some of its tests take long, and say
# nothing meanwhile.
results() {
	(
		while :; do
			sleep 10
			say "running $1"
		done
	) &
	heart=$!
	(cd / && "$kernel_tests/$1" 2>&1) >"$scratch/said"
	kill $heart
	grep -qE '^(not )?ok ' "$scratch/said" || fail "$1 has no results: $(tail -n 3 "$scratch/said")"
	sed -n 's/^ok [0-9]* //p' "$scratch/said" >>"$scratch/$2"
	sort -u -o "$scratch/$2" "$scratch/$2"
}

without() {
	rmmod $module || fail "no unload"
	results "$1" without
	load || fail "it does not load"
	watch_events
}

with() {
	echo 16384 >"$trace/buffer_size_kb"
	put roots create r 64
	put roots create paid 64 account
	put cgroups attach
	busy &
	await test -s "$scratch/commands"
	before=$(grep -c '' "$scratch/commands")
	results "$1" with
	meanwhile=$(($(grep -c '' "$scratch/commands") - before))
	: >"$scratch/enough"
	await test -e "$scratch/ended"
	wait
	rm "$scratch/enough" "$scratch/ended" "$scratch/commands"
	[ $meanwhile -gt 3 ] || fail "nothing else has run: $meanwhile commands"
	(reset) || fail "it cannot be cleaned up after"
}

# lacks SIDE OTHER: does nothing pass there, or less than on the other?
lacks() { [ ! -s "$scratch/$1" ] || grep -qvxFf "$scratch/$1" "$scratch/$2"; }

# compare PROGRAM: what passes without the module passes with it. Some of these tests depend on time, and fail
# now and then on a slow machine: each has five chances on either side.
compare() {
	[ -x "$kernel_tests/$1" ] || skip "there is no $1: build tools/testing/selftests/cgroup"
	: >"$scratch/without"
	: >"$scratch/with"
	for i in 1 2 3 4 5; do
		! lacks without with || without "$1"
		! lacks with without || with "$1"
		! cmp -s "$scratch/without" "$scratch/with" || break
	done
	say "$1: $(grep -c . "$scratch/with") tests pass, $meanwhile commands for others meanwhile"
	[ -s "$scratch/without" ] || fail "nothing passes without it"
	! lacks with without || fail "with it these do not pass: $(grep -vxFf "$scratch/with" "$scratch/without")"
}

# busy: every cgroup that there is gets objects, those of the test too. Only ours pays: the tests add up
# what theirs pay for, and expect nobody else there.
busy() {
	me=busy
	mkdir $cgroups
	until [ -e "$scratch/enough" ]; do
		sed -n 's/.* name=\([^ ]*\) .* cgroup=.*/\1/p' $control/groups >"$scratch/paths"
		while read -r path; do
			one alloc a r "$path" 5
			one alloc b paid "${cgroups#/sys/fs/cgroup}" 5
			one free a $hardirq
			one free b softirq
		done <"$scratch/paths"
		sleep 0.1
	done
	: >"$scratch/ended"
}

# one COMMAND: for objects. A line for each that works; it may fail where its cgroup has just gone.
one() {
	! try objects "$@" || echo >>"$scratch/commands"
}

kernel_tests=${KSELFTEST:-$here/..}/cgroup
[ -d "$kernel_tests" ] || kernel_tests=$here/../cgroup

core() { compare test_core; }
kmem() {
	! grep -q "User Mode Linux" /proc/cpuinfo || skip "user-mode Linux takes more than 20 minutes for it"
	compare test_kmem
}

tests "test_core passes with the module attached and busy as without" core \
	"test_kmem passes with the module attached and busy as without" kmem
