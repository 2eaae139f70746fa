#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=busybox disable=SC2016
# What have the tests left behind in the kernel? "verdict.sh before" records the state of the kernel, and fails if
# there was a fault while it booted. Without an argument, as the last program, it unloads the module and compares.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

remembered=/tmp/verdict
leaks=/sys/kernel/debug/kmemleak
control_folders=/sys/kernel/debug

# A folder is a cache. A link is an alias of a merged one, and stays as long as that cache.
slab_caches() { find $slab -mindepth 1 -maxdepth 1 -type d | sed "s|.*/||" | sort; }
# A workqueue with WQ_MEM_RECLAIM has a rescuer thread; one with WQ_SYSFS has a folder.
workqueues() {
	cat /proc/[0-9]*/comm 2>/dev/null | grep '^kworker/R-' | sort
	ls /sys/devices/virtual/workqueue 2>/dev/null
}
debugfs() { (cd $control_folders && ls); }
modules() { cut -d ' ' -f 1 /proc/modules; }
tainted() { cat /proc/sys/kernel/tainted; }

# faults: what taints the kernel, but what is expected. See Documentation/admin-guide/tainted-kernels.rst. The module is
# out of tree (4096) and unsigned (8192), and the kernel may run tests (262144).
faults() { echo $(($(tainted) & ~(4096 | 8192 | 262144))); }

kinds="slab_caches workqueues debugfs modules tainted"

if [ "$1" = before ]; then
	[ "$(faults)" = 0 ] || exit 1
	mkdir -p $remembered
	for kind in $kinds; do $kind >"$remembered/$kind"; done
	if [ -e $leaks ]; then
		# Forget the leaks of the kernel itself while it booted.
		echo scan=off >$leaks
		echo clear >$leaks
	fi
	exit 0
fi

# same KIND: is this list the same as before? The rest of the kernel may need a moment.
same() { $1 >"$remembered/now" && cmp -s "$remembered/now" "$remembered/$1"; }
as_before() {
	eventually same "$1" || fail "not as before: $(diff "$remembered/$1" "$remembered/now" | grep '^[+-][^+-]' | tr '\n' ' ')"
}

unloaded() {
	! is_loaded || rmmod $module || fail "the module cannot be unloaded"
	as_before modules
}

taint() { [ "$(faults)" = 0 ] || fail "the kernel is tainted: $(tainted)"; }

# kmemleak reports objects that are older than 5 s. The first scan may see an object whose pointer is in flight.
leaked() {
	[ -e $leaks ] || skip "this kernel has no kmemleak"
	sleep 6
	echo scan >$leaks || fail "kmemleak is switched off"
	echo scan >$leaks
	sed 's/^/# /' $leaks
	[ -z "$(cat $leaks)" ] || fail "kmemleak reports leaks"
}

slabs() { as_before slab_caches; }
queues() { as_before workqueues; }
files() { as_before debugfs; }

[ -d $remembered ] || skip_all "verdict.sh before has not been run"
scratch=$(mktemp -d)
ktap_print_header
ktap_set_plan 6
for test in unloaded taint leaked slabs queues files; do
	case $test in
	unloaded) name="I9 the module can be unloaded" ;;
	taint) name="nothing but the module has tainted the kernel" ;;
	leaked) name="kmemleak reports no leak" ;;
	slabs) name="I9 the slab caches are the same as before" ;;
	queues) name="I9 the workqueues are the same as before" ;;
	files) name="I9 debugfs is the same as before" ;;
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
