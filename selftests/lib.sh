# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=busybox disable=SC2034
# Common code of the tests of rust_kmemcg. A test program sources this file first and ends with tests().
#
# A test is a function. It runs in a subshell, against the live module, and fails by calling fail(),
# often through a helper. After each test reset() must get the module empty again. No test waits with
# a bare sleep: await() polls, for a bounded time.

module=rust_kmemcg
control=/sys/kernel/debug/$module
tracing=/sys/kernel/tracing
trace=$tracing/instances/$module.selftest
slab=/sys/kernel/slab
# The tests make their cgroups below this one.
cgroups=/sys/fs/cgroup/$module.selftest
skipped=4

here=$(cd "$(dirname "$0")" && pwd)
# A kernel with checkers (KASAN, lockdep) is slower by this factor.
slow=$(cat "$here/slow" 2>/dev/null || echo 1)
patience=$((20 * slow))
build=/lib/modules/$(uname -r)/build
for ktap in "${KSELFTEST:-$here/..}" "$build/tools/testing/selftests" "$build/source/tools/testing/selftests" none; do
	[ ! -r "$ktap/kselftest/ktap_helpers.sh" ] || break
done
if [ "$ktap" != none ]; then
	# shellcheck source=/dev/null
	. "$ktap/kselftest/ktap_helpers.sh"
else
	# There is no kernel source. These are the functions of ktap_helpers.sh that are used below.
	KTAP_TESTNO=1 KTAP_FAILED=0
	ktap_print_header() { echo "TAP version 13"; }
	ktap_set_plan() { echo "1..$1"; }
	ktap_skip_all() { echo "1..0 # SKIP $*"; }
	ktap_result() { echo "$1 $KTAP_TESTNO $2"; KTAP_TESTNO=$((KTAP_TESTNO + 1)); }
	ktap_test_pass() { ktap_result ok "$1"; }
	ktap_test_skip() { ktap_result ok "$1 # SKIP"; }
	ktap_test_fail() { ktap_result "not ok" "$1"; KTAP_FAILED=1; }
	ktap_finished() { exit "$KTAP_FAILED"; }
fi

# ---- results ------------------------------------------------------------------------------------

say() { printf '# %s\n' "$*"; }

# flush: prints an empty comment. A runner that prefixes lines with sed is one line behind.
flush() { say; }

# fail TEXT: ends the test, and prints the state files and the end of the trace.
fail() {
	say "FAILED: $*"
	flush
	show_state
	[ ! -r "$trace/trace" ] || grep -v '^#' "$trace/trace" | tail -n 60 | sed 's/^/#   /'
	exit 1
}

# skip TEXT: ends the test.
skip() {
	say "skipped: $*"
	exit $skipped
}

skip_all() {
	ktap_print_header
	ktap_skip_all "$@"
	exit $skipped
}

# ---- waiting ------------------------------------------------------------------------------------

# eventually COMMAND…: polls until the command succeeds. It is false after $patience seconds.
eventually() {
	local begin now
	read -r begin _ </proc/uptime
	until "$@"; do
		read -r now _ </proc/uptime
		[ $((${now%.*} - ${begin%.*})) -le $patience ] || return 1
		sleep 0.02
	done
}

# await COMMAND…: polls until the command succeeds. The test fails after $patience seconds.
await() { eventually "$@" || fail "not within $patience s: $*"; }

# stays_false COMMAND…: the command must fail for half a second. A kernel that is right always
# passes, but one that is wrong fails only when it is fast enough: the test needs a second check.
stays_false() {
	local i
	for i in 1 2 3 4 5 6 7 8 9 10; do
		if "$@"; then
			skip_if_hold_expired
			fail "it happened: $*"
		fi
		sleep 0.05
	done
}

not() { ! "$@"; }

# ---- the contexts that objects are freed in -------------------------------------------------------

# On PREEMPT_RT kmem_cache_free() takes locks that sleep, so no object may be freed in a hard interrupt.
# There a test uses a softirq instead; a test of nothing else calls needs_hardirq(). RCU callbacks
# run in a thread there.
case $(uname -v) in
*PREEMPT_RT*) hardirq=softirq contexts="task softirq" callback=task ;;
*) hardirq=hardirq contexts="task softirq hardirq" callback=softirq ;;
esac

needs_hardirq() {
	[ $hardirq = hardirq ] || skip "PREEMPT_RT forbids frees in a hard interrupt"
}

# context_for NUMBER: $context cycles through task, softirq and hard interrupt.
context_for() {
	case $(($1 % 3)) in
	0) context=task ;;
	1) context=softirq ;;
	2) context=$hardirq ;;
	esac
}

# ---- the other parts ------------------------------------------------------------------------------

# shellcheck source=lib-control.sh
. "$here/lib-control.sh"
# shellcheck source=lib-trace.sh
. "$here/lib-trace.sh"
# shellcheck source=lib-steps.sh
. "$here/lib-steps.sh"

# ---- the module ---------------------------------------------------------------------------------

is_loaded() { [ -d /sys/module/$module ]; }

load() {
	# Enable the events of the module while it is loaded, so that the trace has the first one.
	{ echo ":mod:$module" >$trace/set_event; } 2>/dev/null
	modprobe $module 2>/dev/null && return
	insmod "${KMEMCG_MODULE:-$here/../$module.ko}" 2>/dev/null
}

# ---- running ------------------------------------------------------------------------------------

# prepare: sets up what the tests need. Skips them all where that is impossible.
prepare() {
	[ "$(id -u)" = 0 ] || skip_all "must be run as root"
	[ -d /sys/kernel/debug/tracing ] || mount -t debugfs debugfs /sys/kernel/debug 2>/dev/null
	grep -q " /sys/kernel/debug debugfs" /proc/mounts || skip_all "debugfs is not mounted"
	[ -d $tracing/instances ] || mount -t tracefs tracefs $tracing 2>/dev/null
	[ -d $tracing/instances ] || skip_all "tracefs is not mounted"
	if ! is_loaded; then
		load || skip_all "the module $module cannot be loaded"
		loaded_here=yes
	fi
	[ -d $control ] || skip_all "there is no $control"
	[ -z "$(cat $control/roots $control/groups)" ] || skip_all "the module is in use"
	scratch=$(mktemp -d)
	trap clean_up EXIT
	# The runner kills a test that hangs.
	trap 'exit 1' INT TERM HUP
	[ ! -d $trace ] || rmdir $trace
	mkdir $trace || skip_all "cannot create a trace instance"
	# One counter for all processors: the order of the events is their order in the file.
	echo counter >$trace/trace_clock
	watch_events
}

clean_up() {
	reset
	[ ! "$loaded_here" ] || rmmod $module 2>/dev/null
	rmdir $trace
	rm -r "$scratch"
}
loaded_here=

# remove_cgroups: removes the cgroups of the tests, children first. A process that has left one may
# keep it busy for a moment.
remove_cgroups() {
	[ ! -d $cgroups ] || eventually try_to_remove_cgroups
}
try_to_remove_cgroups() {
	find $cgroups -depth -type d -exec rmdir {} + 2>/dev/null
	[ ! -d $cgroups ]
}

no_root_is_dying() { not record roots state=dying; }

# reset: brings the module back to its state after loading. It is false where that is impossible.
reset() {
	local line
	is_loaded || load || return
	read -r line <$control/grace_period
	[ "$line" = free ] || try grace_period release
	read -r line <$control/workqueue
	[ "$line" = free ] || try workqueue unblock
	eventually no_root_is_dying || return
	while record objects; do
		value handle
		try objects free "$value" || return
	done
	# A closing root destroys itself.
	while record roots state=live; do
		value name
		start reset roots destroy "$value"
		eventually is_done reset || return
		read -r line <"$scratch/done.reset"
		[ "$line" = ok ] || { say "destroy $value: $line"; return 1; }
	done
	! record cgroups state=attached || try cgroups detach || return
	remove_cgroups || return
	try groups limit 1048576 || return
	while record groups; do
		value name
		try groups offline "$value" || return
	done
	eventually not record roots || return
	eventually not any_cache
}

# With keep=yes the tests of a program are steps of one scenario: none of them is followed by a reset.
keep=

# tests NAME FUNCTION [NAME FUNCTION]…: runs the tests and exits.
tests() {
	local status
	prepare
	ktap_print_header
	ktap_set_plan $(($# / 2))
	while [ $# -gt 0 ]; do
		# The file "only" selects one test by its name.
		if [ -r "$here/only" ] && [ "$1" != "$(cat "$here/only")" ]; then
			ktap_test_skip "$1"
			shift 2
			continue
		fi
		say "begin: $1"
		flush
		if [ ! "$keep" ]; then
			watch_events
			clear_trace
		fi
		("$2")
		status=$?
		if [ ! "$keep" ] && ! (reset); then
			say "FAILED: the module cannot be reset after the test"
			(fail "the test has left this behind")
			ktap_test_fail "$1"
			echo "Bail out! The module is stuck."
			# clean_up() would wait for the stuck module.
			trap - EXIT
			exit 1
		fi
		if [ $status != $skipped ] && ! trace_is_allowed; then
			say "FAILED: $(cat "$scratch/verdict")"
			status=1
		fi
		case $status in
		0) ktap_test_pass "$1" ;;
		"$skipped") ktap_test_skip "$1" ;;
		*) ktap_test_fail "$1" ;;
		esac
		shift 2
	done
	ktap_finished
}
