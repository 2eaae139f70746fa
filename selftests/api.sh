#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=busybox disable=SC2154
# Tests of include/rust_kmemcg.h, by the module kmemcg_api_test, which has a test of each name below; and of
# include/rust_kmemcg.rs, by kmemcg_api_rust.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=cgroups.sh
. "$here/cgroups.sh"

module_of_tests=kmemcg_api_test

loaded() { [ -d /sys/module/$module_of_tests ] || modprobe $module_of_tests; }

# in_kernel NAME: runs that test of the module.
in_kernel() {
	loaded || fail "$module_of_tests does not load"
	dmesg -c >/dev/null
	control=/sys/kernel/debug/$module_of_tests try run "$1" && return
	[ "$errno" != EOPNOTSUPP ] || skip "$1 is not possible here"
	dmesg | sed -n "s/^.*$module_of_tests: /# /p"
	fail "$1: $errno"
}

all_are_run() {
	loaded || fail "$module_of_tests does not load"
	control=/sys/kernel/debug/$module_of_tests
	while read -r name; do
		grep -qw "in_kernel $name" "$here/api.sh" || fail "$name is not run"
	done <$control/list
	refused ENOENT run nothing
}

names_sizes_flags() { in_kernel names_sizes_flags; }
no_pointers() { in_kernel no_pointers; }
layouts() { in_kernel layouts; }
groups() { in_kernel groups; }
cache_of_a_group() { in_kernel cache_of_a_group; }
offline_requests_nothing() { in_kernel offline_requests_nothing; }
optional_memory() {
	kmalloc=$tracing/instances/$module.kmalloc
	mkdir $kmalloc
	echo 1 >$kmalloc/events/kmem/kmalloc/enable
	(in_kernel optional_memory)
	status=$?
	found=$(grep -E "kmalloc: .*__GFP_NOFAIL" $kmalloc/trace)
	seen=$(grep -c "kmalloc: .*gfp_flags=GFP_NOWAIT" $kmalloc/trace)
	rmdir $kmalloc
	[ $status = 0 ] || exit $status
	[ "$seen" -ge 2 ] || fail "$seen allocations with GFP_NOWAIT, not those of the slot and of the request"
	[ -z "$found" ] || fail "the flags of the object: $found"
}
busy() { in_kernel busy; }
closed() {
	in_kernel closed
	await not record roots
	in_order "root_close: .* name=api" "root_create: .* name=api" "child_release: .* child=[1-9][0-9]*" \
		"child_free: .* child=[1-9][0-9]*" "root_destroy: .* name=api"
}
# The root is closed here, while the test in the kernel has an object of it.
closing_busy() {
	(
		me=runner
		in_kernel closing_busy && : >"$scratch/passed"
	) &
	await event "child_create: .*"
	number_of root api
	root=$value
	number_of group api
	is_published "$root" "$value" || fail "no child"
	await record children "child=$child" objects=1
	put roots destroy api async
	await test -e "$scratch/passed"
	in_order "root_close: .* root=$root .*" "root_dying: .* root=$root .*" "root_busy: .* root=$root .*" \
		"child_free: .* child=$child" "root_destroy: .* root=$root .*"
	has_events 1 "root_dying: .* root=$root .*" || fail "the last free has not destroyed the root"
}
hardirq_free() { in_kernel hardirq_free; }

# limited: makes the cgroup a, which is a group and may use 4 MiB.
limited() {
	make_with_memory a
	attach
	loaded || fail "$module_of_tests does not load"
	echo $((4 * 1024 * 1024)) >$cgroups/a/memory.max
	path a
	printf %s "$path" >/sys/module/$module_of_tests/parameters/cgroup
}

the_group_pays() {
	limited
	in_kernel the_group_pays
}

the_current_task_pays() {
	limited
	inside a in_kernel the_current_task_pays
}

surface_for_rust() {
	dmesg -c >/dev/null
	if ! modprobe kmemcg_api_rust 2>/dev/null; then
		dmesg | sed -n "s/^.*kmemcg_api_rust: /# /p"
		fail "kmemcg_api_rust does not load"
	fi
	must roots name=rust account=yes state=live
	! rmmod $module 2>/dev/null || fail "unloaded while another module calls it"
	rmmod kmemcg_api_rust || fail "rmmod kmemcg_api_rust"
	await not record roots
	in_order "root_close: .* name=rust_outlived" "child_free: .* child=[1-9][0-9]*" "root_destroy: .* name=rust_outlived"
}

unloads() {
	! rmmod $module 2>/dev/null || fail "unloaded while another module calls it"
	rmmod $module_of_tests || fail "rmmod $module_of_tests"
	[ -z "$(cat $control/roots $control/groups)" ] || fail "the module has left something behind"
}

tests "every test in the module's list is run, and an unknown one is refused" all_are_run \
	"invalid names, sizes, alignments and flags are refused" names_sizes_flags \
	"NULL and ERR_PTR are refused by every function" no_pointers \
	"objects have their size and alignment, and are zeroed on request" layouts \
	"groups are created, found by name and taken offline" groups \
	"I4 a free by address, the last one, destroys the cache of an offline group" cache_of_a_group \
	"a group that is offline requests no cache" offline_requests_nothing \
	"I12 the memory of a request is not charged, and nothing is reclaimed for it" optional_memory \
	"I6 the destroy of a busy root fails with -EBUSY and changes nothing" busy \
	"a closed root is destroyed by its last free" closed \
	"I6 a failed destroy of a closing root leaves it closing" closing_busy \
	"I5 the last free may happen in a hard interrupt" hardirq_free \
	"KMEMCG_ACCOUNT: objects of a group are charged to its cgroup" the_group_pays \
	"KMEMCG_ACCOUNT: objects of the current group are charged to the current cgroup" the_current_task_pays \
	"Rust: groups, objects and destroy work, and an object outlives its group and root" surface_for_rust \
	"the module of the tests unloads and leaves nothing behind" unloads
