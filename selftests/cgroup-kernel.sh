#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=busybox disable=SC2016,SC2030,SC2031,SC2086
# The kernel's own tests of cgroups that pass without the module also pass with it, attached and busy.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

# results PROGRAM FILE: runs the program and adds the tests that pass to the file. Some of them print nothing for a
# long time, so a line every 10 s keeps the runner's watchdog quiet.
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
	rmmod $module || fail "the module cannot be unloaded"
	results "$1" without
	load || fail "the module does not load"
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
	[ $meanwhile -gt 3 ] || fail "the module was not busy: $meanwhile commands"
	(reset) || fail "the module cannot be reset"
}

seconds() { cut -d . -f 1 /proc/uptime; }
# When the runner ends this program, less a little.
limit=$(sed -n 's/^timeout=//p' "$here/settings")
program_end=$(($(seconds) + limit - limit / 15))

# side NAME PROGRAM: without or with, unless the runner would end this program before the end of it.
side() {
	local begin took
	begin=$(seconds)
	[ $((begin + longest)) -lt $program_end ] || skip "this machine takes $longest s for a run of $2"
	"$1" "$2"
	took=$(($(seconds) - begin))
	[ $took -le $longest ] || longest=$took
}

# lacks FILE OTHER: is the file empty, or has the other one tests that it does not have?
lacks() { [ ! -s "$scratch/$1" ] || grep -qvxFf "$scratch/$1" "$scratch/$2"; }

# compare PROGRAM: each test that passes without the module must pass with it. Some depend on time and fail
# occasionally on a slow machine, so that the program is run up to five times on each side.
compare() {
	[ -x "$kernel_tests/$1" ] || skip "there is no $1: build tools/testing/selftests/cgroup"
	: >"$scratch/without"
	: >"$scratch/with"
	longest=0
	for i in 1 2 3 4 5; do
		! lacks without with || side without "$1"
		! lacks with without || side with "$1"
		! cmp -s "$scratch/without" "$scratch/with" || break
	done
	say "$1: $(grep -c . "$scratch/with") tests pass, $meanwhile other commands meanwhile"
	[ -s "$scratch/without" ] || fail "no test passes without the module"
	! lacks with without || fail "with the module these do not pass: $(grep -vxFf "$scratch/with" "$scratch/without")"
}

# busy: allocates objects for every cgroup, those of the test, too. They are charged only to the cgroup $cgroups,
# because the tests check the charges of their own.
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

# one COMMAND: writes it to the file objects, and counts it where it succeeds. It may fail after rmdir.
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

tests "test_core passes the same tests with the module, attached and busy, as without" core \
	"test_kmem passes the same tests with the module, attached and busy, as without" kmem
