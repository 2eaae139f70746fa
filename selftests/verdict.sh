#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=busybox disable=SC2016
# What the tests have left behind in the kernel. "verdict.sh before" remembers what is there; run last,
# without an argument, it unloads the module and compares.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

remembered=/tmp/verdict
leaks=/sys/kernel/debug/kmemleak
control_folders=/sys/kernel/debug

# A link is an alias of a merged cache, and stays as long as that: a cache of its own is a folder.
slab_caches() { find $slab -mindepth 1 -maxdepth 1 -type d | sed "s|.*/||" | sort; }
# A workqueue that can reclaim memory has a thread of its own; those of sysfs have a folder.
workqueues() {
	cat /proc/[0-9]*/comm 2>/dev/null | grep '^kworker/R-' | sort
	ls /sys/devices/virtual/workqueue 2>/dev/null
}
debugfs() { (cd $control_folders && ls); }
modules() { cut -d ' ' -f 1 /proc/modules; }
tainted() { cat /proc/sys/kernel/tainted; }

kinds="slab_caches workqueues debugfs modules tainted"

if [ "$1" = before ]; then
	mkdir -p $remembered
	for kind in $kinds; do $kind >"$remembered/$kind"; done
	if [ -e $leaks ]; then
		# What the kernel itself has lost while it booted is not ours.
		echo scan=off >$leaks
		echo clear >$leaks
	fi
	exit
fi

# The same list as before? What somebody else in the kernel does may take a moment.
same() { $1 >"$remembered/now" && cmp -s "$remembered/now" "$remembered/$1"; }
as_before() {
	eventually same "$1" || fail "not as before: $(diff "$remembered/$1" "$remembered/now" | grep '^[+-][^+-]' | tr '\n' ' ')"
}

unloaded() {
	! is_loaded || rmmod $module || fail "it cannot be unloaded"
	as_before modules
}

# 1: a proprietary module, and so on: Documentation/admin-guide/tainted-kernels.rst. A module out of the
# tree (4096), without a signature (8192), or a test (262144), is what we are.
taint() {
	taint=$(tainted)
	[ $((taint & ~(4096 | 8192 | 262144))) = 0 ] || fail "the kernel is tainted: $taint"
}

# What nothing points to for 5 s, in two scans: the first may see what is on its way.
leaked() {
	[ -e $leaks ] || skip "this kernel has no kmemleak"
	sleep 6
	echo scan >$leaks || fail "kmemleak is switched off"
	echo scan >$leaks
	sed 's/^/# /' $leaks
	[ -z "$(cat $leaks)" ] || fail "kmemleak has found something"
}

slabs() { as_before slab_caches; }
queues() { as_before workqueues; }
files() { as_before debugfs; }

[ -d $remembered ] || skip_all "nothing was remembered before"
scratch=$(mktemp -d)
ktap_print_header
ktap_set_plan 6
for test in unloaded taint leaked slabs queues files; do
	case $test in
	unloaded) name="I9 the module can be unloaded" ;;
	taint) name="the kernel is tainted by nothing but a module from outside" ;;
	leaked) name="kmemleak finds nothing" ;;
	slabs) name="I9 the slab caches are those of before" ;;
	queues) name="I9 the workqueues are those of before" ;;
	files) name="I9 debugfs is as before" ;;
	esac
	($test)
	case $? in
	0) ktap_test_pass "$name" ;;
	"$skipped") ktap_test_skip "$name" ;;
	*) ktap_test_fail "$name" ;;
	esac
done
rm -r "$scratch"
ktap_finished
