# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=busybox disable=SC2034
# What the tests of rust_kmemcg share: source it first, end with a call of tests().
#
# A test is a function, run in a subshell. It fails by fail(), or by a helper that calls it. It runs
# against the live module: a first reset() makes sure that nothing is there, the one after it that
# the test left nothing. Nothing waits by a bare sleep: await() polls, for a bounded time.

module=rust_kmemcg
control=/sys/kernel/debug/$module
tracing=/sys/kernel/tracing
trace=$tracing/instances/$module.selftest
slab=/sys/kernel/slab
# The cgroups that tests make are below this one.
cgroups=/sys/fs/cgroup/$module.selftest
skipped=4

here=$(cd "$(dirname "$0")" && pwd)
# On a kernel full of checkers everything takes longer.
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
	# No kernel source here: the few of its functions that are used below.
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

# On PREEMPT_RT kmem_cache_free() takes locks that sleep, so nobody may free in a hard interrupt: what a
# test does there it does in a softirq instead; one that is about nothing else is
# skipped. And RCU callbacks run in a thread.
case $(uname -v) in
*PREEMPT_RT*) hardirq=softirq contexts="task softirq" callback=task ;;
*) hardirq=hardirq contexts="task softirq hardirq" callback=softirq ;;
esac

needs_hardirq() {
	[ $hardirq = hardirq ] || skip "PREEMPT_RT forbids frees in a hard interrupt"
}

say() { printf '# %s\n' "$*"; }

# flush: where the runner prefixes lines by sed, that is one line behind.
flush() { say; }

# fail TEXT: ends the test, and shows what there was to see.
fail() {
	local file
	say "FAILED: $*"
	flush
	for file in roots children groups objects cgroups grace_period workqueue; do
		[ ! -r "$control/$file" ] || head -n 30 "$control/$file" | sed "s/^/#   $file: /"
	done
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

# eventually COMMAND…: polls until it succeeds; false when that takes too long.
eventually() {
	local begin now
	read -r begin _ </proc/uptime
	until "$@"; do
		read -r now _ </proc/uptime
		[ $((${now%.*} - ${begin%.*})) -le $patience ] || return 1
		sleep 0.02
	done
}

# await COMMAND…: the same, and the test fails when it takes too long.
await() { eventually "$@" || fail "not within $patience s: $*"; }

# stays_false COMMAND…: for half a second. Who is right passes always; who is wrong is caught when
# he is quick, so something else must tell too.
stays_false() {
	local i=0
	while [ $i -lt 10 ]; do
		if "$@"; then
			too_slow_to_hold
			fail "it happened: $*"
		fi
		sleep 0.05
		i=$((i + 1))
	done
}

not() { ! "$@"; }

# ---- the knobs ----------------------------------------------------------------------------------

me=main

# Does the shell's own echo tell why a write failed?
case $({ echo x >/dev/full; } 2>&1) in
*"No space left"*) tells_errno=yes ;;
*) tells_errno= ;;
esac

# try FILE COMMAND: writes a command. $errno says how it went: empty, or the name of the error.
# False for an error.
try() {
	local file=$1
	shift
	if [ ! $tells_errno ]; then
		send "$file" '%s\n' "$*"
	elif { echo "$*" >"$control/$file"; } 2>"$scratch/error.$me"; then
		errno=
	else
		errno_of_message
	fi
}

# send FILE FORMAT [ARGUMENT]…: the same, for one write of what printf makes of it.
send() {
	local file=$1 format=$2
	shift 2
	# shellcheck disable=SC2059
	if printf "$format" "$@" | dd of="$control/$file" bs=1M 2>"$scratch/error.$me"; then
		errno=
	else
		errno_of_message
	fi
}

errno_of_message() {
	local message=
	read -r message <"$scratch/error.$me"
	case $message in
	*"Invalid argument"*) errno=EINVAL ;;
	*"No such file"*) errno=ENOENT ;;
	*"File exists"*) errno=EEXIST ;;
	*"resource busy"*) errno=EBUSY ;;
	*"Argument list too long"*) errno=E2BIG ;;
	*"esult"*) errno=ERANGE ;;
	*"No such device"*) errno=ENODEV ;;
	*"Cannot allocate"*) errno=ENOMEM ;;
	*"not supported"*) errno=EOPNOTSUPP ;;
	*"ermission denied"* | *"not permitted"*) errno=EACCES ;;
	*) errno="unknown: $message" ;;
	esac
	return 1
}

# put FILE COMMAND: a command that must work.
put() { try "$@" || fail "$errno: $*"; }

# refused ERRNO FILE COMMAND: a command that must fail with that error.
refused() {
	local expected=$1
	shift
	! try "$@" || fail "accepted instead of $expected: $*"
	[ "$errno" = "$expected" ] || fail "$errno instead of $expected: $*"
}

# start NAME FILE COMMAND: writes a command in the background. $pid is who does it.
start() {
	local name=$1
	shift
	rm -f "$scratch/done.$name"
	(
		me=$name
		try "$@"
		echo "${errno:-ok}" >"$scratch/ending.$name"
		mv "$scratch/ending.$name" "$scratch/done.$name"
	) &
	pid=$!
}

is_done() { [ -e "$scratch/done.$1" ]; }

# finish NAME: waits for it; $result is ok, or the name of the error.
finish() {
	await is_done "$1"
	read -r result <"$scratch/done.$1"
}

# asleep PID: does it wait in the kernel?
asleep() {
	local stat
	read -r stat <"/proc/$1/stat" || return
	case ${stat##*) } in D* | S*) ;; *) return 1 ;; esac
}

# destroy ROOT: must work. In the background, so that a hang is a failure and not the end of it all.
destroy() {
	start "destroy.$1" roots destroy "$1"
	finish "destroy.$1"
	[ "$result" = ok ] || fail "destroy $1: $result"
}

hold() {
	put grace_period hold
	read -r held_since _ </proc/uptime
}
release() {
	if ! try grace_period release; then
		too_slow_to_hold
		fail "$errno: release"
	fi
	held_since=
}
held_since=

# too_slow_to_hold: skips the test where its grace period ended by itself, after 10 s.
too_slow_to_hold() {
	local now
	[ "$held_since" ] || return 0
	read -r now _ </proc/uptime
	[ $((${now%.*} - ${held_since%.*})) -lt 10 ] ||
		skip "a grace period is held for 10 s at most, and this machine has taken longer"
}

stall() { put workqueue stall; }
resume() { put workqueue resume; }

# ---- the state files ----------------------------------------------------------------------------

# record FILE KEY=VALUE…: $record is the first record of FILE that has all of these; false where there
# is none.
record() {
	local file=$1 line word
	shift
	record=
	while read -r line; do
		for word; do
			case " $line " in *" $word "*) ;; *) continue 2 ;; esac
		done
		record=$line
		return 0
	done <"$control/$file"
	return 1
}

# value KEY: $value is what $record says of it.
value() {
	value=" $record"
	value=${value##* "$1"=}
	value=${value%% *}
}

# must FILE KEY=VALUE…: there is such a record.
must() { record "$@" || fail "no such record: $*"; }

# number_of KIND NAME: $value is the number of a root or group.
number_of() {
	must "$1s" "name=$2"
	value "$1"
}

# count FILE PATTERN: $count is how many records match.
count() { count=$(grep -Ec "$2" "$control/$1"); }

# objects_from HANDLE ROOTS CHILDRENS: where the objects of a handle came from.
objects_from() { must objects "handle=$1" "from_root=$2" "from_children=$3"; }

# state: all that can be read.
state() {
	local file
	for file in roots children groups objects cgroups grace_period workqueue; do
		echo "$file:"
		cat "$control/$file"
	done
}

# has_stage CHILD STAGE
has_stage() { record children "child=$1" "stage=$2"; }

# group_with_child GROUP ROOT: makes the group, and its child of the root. $child is its number.
group_with_child() {
	put groups create "$1"
	make_child "$1" "$2"
}

# make_child GROUP ROOT: makes the child that this group does not have yet; $group is the group's number.
make_child() {
	number_of group "$1"
	group=$value
	number_of root "$2"
	put objects alloc "making.$1" "$2" "$1"
	await record children "root=$value" "owner=$group" stage=active
	child=
	await is_published "$value" "$group"
	put objects free "making.$1"
}

# A killed count is exact, and can reach zero, one grace period after the kill. The destroy of any
# root waits for the callbacks of all of them; the workqueue must not be stalled.
await_exact_counts() {
	put roots create exact 8
	destroy exact
}

# remember VARIABLE…, recall: from one test to a later one.
remember() {
	local name
	for name; do eval "echo \"$name='\$$name'\""; done >>"$scratch/remembered"
}

recall() {
	# shellcheck source=/dev/null
	. "$scratch/remembered" 2>/dev/null || fail "a step before this one failed"
}

# Of several children that the group owns, its own came last.
is_published() {
	child=$(sed -n "s/.* child_create: ctx=task root=$1 group=$2 child=//p" "$trace/trace")
	[ "$child" ]
}

# ---- the trace ----------------------------------------------------------------------------------

# event REGEX: is there such an event? The regex is for the whole event, its name first.
event() { grep -Eq " $1\$" "$trace/trace"; }

# no_event REGEX
no_event() {
	not event "$1" && return
	too_slow_to_hold
	fail "an event that must not be: $1"
}

# events REGEX: $count is how many there are.
events() { count=$(grep -Ec " $1\$" "$trace/trace"); }

# in_order REGEX…: there is an event for each, one after the other.
in_order() {
	local regex list='' unmatched
	for regex; do
		list="$list$regex
"
	done
	unmatched=$(LIST=$list awk '
		BEGIN { n = split(ENVIRON["LIST"], list, "\n") - 1; i = 1 }
		!/^#/ && i <= n && $0 ~ " " list[i] "$" { i++ }
		END { if (i <= n) { print list[i]; exit 1 } }' "$trace/trace") || fail "no such event, or too early: $unmatched"
}

clear_trace() { echo >"$trace/trace"; }

# trace_is_allowed: holds the trace against the protocol. Where nothing is there any more, every life
# in it must have ended; what still runs may take a moment.
trace_is_allowed() {
	complete=
	[ -n "$(cat $control/roots $control/groups)" ] || complete=1
	eventually checked
	return "$verdict"
}
checked() {
	awk -f "$here/trace-check" -v "table=$here/transitions" -v "complete=$complete" "$trace/trace" >"$scratch/verdict"
	verdict=$?
	[ $verdict != 3 ]
}

# ---- the caches in sysfs ------------------------------------------------------------------------

any_cache() { set -- "$slab"/kmemcg:*; [ -e "$1" ]; }

# cache_of CHILD: $cache is the sysfs folder of that child (not 0).
cache_of() {
	set -- "$slab"/kmemcg:*"($1:"*
	cache=$1
	[ -d "$cache" ]
}

# ---- the module ---------------------------------------------------------------------------------

is_loaded() { [ -d /sys/module/$module ]; }

load() {
	# Events are watched from the first one on.
	{ echo ":mod:$module" >$trace/set_event; } 2>/dev/null
	modprobe $module 2>/dev/null && return
	insmod "${KMEMCG_MODULE:-$here/../$module.ko}" 2>/dev/null
}

watch_events() {
	echo 1 >"$trace/events/$module/enable"
}

# ---- running ------------------------------------------------------------------------------------

# prepare: all that the tests need is there, or they are skipped.
prepare() {
	[ "$(id -u)" = 0 ] || skip_all "must be run as root"
	[ -d /sys/kernel/debug/tracing ] || mount -t debugfs debugfs /sys/kernel/debug 2>/dev/null
	grep -q " /sys/kernel/debug debugfs" /proc/mounts || skip_all "debugfs is not mounted"
	[ -d $tracing/instances ] || mount -t tracefs tracefs $tracing 2>/dev/null
	[ -d $tracing/instances ] || skip_all "tracefs is not mounted"
	if ! is_loaded; then
		load || skip_all "the module $module is not there"
		loaded_here=yes
	fi
	[ -d $control ] || skip_all "there is no $control"
	[ -z "$(cat $control/roots $control/groups)" ] || skip_all "somebody uses the module"
	scratch=$(mktemp -d)
	trap clean_up EXIT
	# A test that hangs is ended by the runner.
	trap 'exit 1' INT TERM HUP
	[ ! -d $trace ] || rmdir $trace
	mkdir $trace || skip_all "no trace instance can be made"
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

# remove_cgroups: those of tests, the innermost first. Who is in one may take a moment to be gone.
remove_cgroups() {
	[ ! -d $cgroups ] || eventually try_to_remove_cgroups
}
try_to_remove_cgroups() {
	find $cgroups -depth -type d -exec rmdir {} + 2>/dev/null
	[ ! -d $cgroups ]
}

no_root_changes() { not record roots state=dying; }

# reset: makes the module what it was after loading. False where that is impossible.
reset() {
	local line
	is_loaded || load || return
	read -r line <$control/grace_period
	[ "$line" = free ] || try grace_period release
	read -r line <$control/workqueue
	[ "$line" = free ] || try workqueue resume
	eventually no_root_changes || return
	while record objects; do
		value handle
		try objects free "$value" || return
	done
	# One that is closing goes by itself.
	while record roots state=live; do
		value name
		start reset roots destroy "$value"
		eventually is_done reset || return
		read -r line <"$scratch/done.reset"
		[ "$line" = ok ] || { say "destroy $value: $line"; return 1; }
	done
	! record cgroups state=attached || try cgroups detach || return
	remove_cgroups || return
	while record groups; do
		value name
		try groups offline "$value" || return
	done
	eventually not record roots || return
	eventually not any_cache
}

# With keep=yes the tests of a file are steps of one story: what one leaves, the next one finds.
keep=

# tests NAME FUNCTION [NAME FUNCTION]…: runs them; the end of every file.
tests() {
	local status
	prepare
	ktap_print_header
	ktap_set_plan $(($# / 2))
	while [ $# -gt 0 ]; do
		# For an experiment that is about one test.
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
			say "FAILED: it cannot be cleaned up after"
			(fail "this is left")
			ktap_test_fail "$1"
			echo "Bail out! The module is stuck."
			# To clean up would be to wait for it.
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
