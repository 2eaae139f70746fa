#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# shellcheck disable=SC2016
# NAME
#     guest.sh - the part of the report that runs in the guest: record a workload and print the trace
#
# SYNOPSIS
#     guest.sh life | torture EVENTS
#
# DESCRIPTION
#     life: two roots and three groups, from the first object to the last, with a free in each context, a
#     destroy that fails with EBUSY, and an asynchronous one. torture: the program of the selftests; only
#     its first EVENTS events are recorded, because it unloads the module.
set -eu

control=/sys/kernel/debug/rust_kmemcg
trace=/sys/kernel/tracing/instances/report

die() {
	printf 'report: %s\n' "$*"
	exit 1
}

# until_true COMMAND: polls until it succeeds, 20 s at most.
until_true() {
	for _ in $(seq 400); do
		if eval "$1" >/dev/null 2>&1; then
			return 0
		fi
		sleep 0.05
	done
	die "timed out: $1"
}

has() { until_true "grep -Eq '$1' $trace/trace"; }

insmod /rust_kmemcg.ko
mkdir $trace
# A clock that orders the events of all CPUs; and grace periods, where the kernel traces them.
echo mono >$trace/trace_clock
[ ! -e $trace/events/rcu/rcu_grace_period ] || echo 1 >$trace/events/rcu/rcu_grace_period/enable
echo 1 >$trace/events/rust_kmemcg/enable
cd $control

life() {
	case $(uname -v) in *PREEMPT_RT*) hard=softirq ;; *) hard=hardirq ;; esac
	echo create sessions 96 >roots
	echo create web >groups
	echo create mail >groups
	echo alloc web1 sessions web >objects
	echo alloc mail1 sessions mail >objects
	until_true '[ "$(grep -c child=[1-9] children)" = 2 ]'
	echo alloc web2 sessions web >objects
	echo alloc mail2 sessions mail >objects
	# The group goes offline while it has objects.
	echo offline web >groups
	has child_kill:
	# The count is exact after a grace period: from then on the last free releases the child.
	sleep 0.5
	echo "free web2 $hard" >objects
	has child_free:
	echo destroy sessions >roots 2>/dev/null && die "a root with objects was destroyed"
	echo offline mail >groups
	has 'child_kill: .*child=2'
	sleep 0.5
	echo free mail2 softirq >objects
	has 'child_free: .*child=2'
	echo free web1 >objects
	echo free mail1 >objects
	echo destroy sessions >roots
	# An asynchronous destroy: the root is destroyed after its last object.
	echo create queue 512 >roots
	echo create batch >groups
	echo alloc first queue batch >objects
	until_true 'grep -q child=[1-9] children'
	echo alloc second queue batch >objects
	echo destroy queue async >roots
	sleep 0.5
	echo free first >objects
	echo "free second $hard" >objects
	has 'root_destroy: .*name=queue'
	echo offline batch >groups
}

case $1 in
life)
	life
	cat $trace/trace >/tmp/trace ;;
torture)
	head -n "$2" $trace/trace_pipe >/tmp/trace &
	recorder=$!
	cd /selftests
	./torture >/tmp/torture.log 2>&1 || { tail -n 20 /tmp/torture.log; die "torture failed"; }
	tail -n 30 /tmp/torture.log
	kill $recorder 2>/dev/null || : ;;
esac
printf 'report: begin\n'
cat /tmp/trace
printf 'report: end\n'
