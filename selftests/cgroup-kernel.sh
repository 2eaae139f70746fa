#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=busybox disable=SC2016,SC2030,SC2031,SC2086
# The kernel tree's own tests of cgroups say the same with the module attached and busy as without it.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

# said PROGRAM: its results, without what differs from run to run. Some of them take long, and say nothing
# meanwhile.
said() {
	(
		while :; do
			sleep 10
			say "running $1"
		done >&2
	) &
	heart=$!
	(cd / && "$kernel_tests/$1" 2>&1) | grep -E '^(not )?ok '
	kill $heart
}

# compare PROGRAM: without the module, then with it.
compare() {
	[ -x "$kernel_tests/$1" ] || skip "there is no $1: build tools/testing/selftests/cgroup"
	rmmod $module || fail "no unload"
	said "$1" >"$scratch/without"
	grep -q '^ok' "$scratch/without" || fail "$1 has no results without the module"
	load || fail "it does not load"
	watch_events
	echo 16384 >"$trace/buffer_size_kb"
	put roots create r 64
	put roots create paid 64 account
	put cgroups attach
	busy &
	said "$1" >"$scratch/with"
	: >"$scratch/enough"
	await test -e "$scratch/ended"
	wait
	rm "$scratch/enough" "$scratch/ended"
	say "$1: $(grep -c . "$scratch/with") results, $(cat "$scratch/rounds") rounds of others meanwhile"
	cmp -s "$scratch/without" "$scratch/with" || fail "$1 differs: $(diff "$scratch/without" "$scratch/with")"
	[ "$(cat "$scratch/rounds")" -gt 3 ] || fail "nothing else has run"
}

# busy: every cgroup that there is gets objects, those of the test too. Only ours pays: the tests add up
# what theirs pay for, and expect nobody else there.
busy() {
	me=busy
	i=0
	mkdir $cgroups
	until [ -e "$scratch/enough" ]; do
		i=$((i + 1))
		sed -n 's/.* name=\([^ ]*\) .* cgroup=.*/\1/p' $control/groups >"$scratch/paths"
		while read -r path; do
			try objects alloc a r "$path" 5
			try objects alloc b paid "${cgroups#/sys/fs/cgroup}" 5
			try objects free a hardirq
			try objects free b softirq
		done <"$scratch/paths"
		sleep 0.1
	done
	echo $i >"$scratch/rounds"
	: >"$scratch/ended"
}

kernel_tests=${KSELFTEST:-$here/..}/cgroup
[ -d "$kernel_tests" ] || kernel_tests=$here/../cgroup

core() { compare test_core; }
kmem() { compare test_kmem; }

tests "test_core says the same with the module attached and busy" core \
	"test_kmem says the same with the module attached and busy" kmem
