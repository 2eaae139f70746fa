#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=busybox disable=SC2016,SC2030,SC2031,SC2086
# kmemcg-top shows the content of the state files.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

top=$here/kmemcg-top
[ -r "$top" ] || top=$here/../scripts/kmemcg-top
[ -r "$top" ] || skip_all "kmemcg-top is not there"

# shown OPTION…: $scratch/shown is the screen.
shown() { sh "$top" --once --interval 0 "$@" >"$scratch/shown" 2>&1 || fail "status $?: $(cat "$scratch/shown")"; }
# line REGEX: the regex must match a whole line of the screen, with blanks squeezed.
line() {
	tr -s ' ' <"$scratch/shown" | sed 's/ $//' | grep -Exq "$1" || {
		sed 's/^/#   /' "$scratch/shown"
		fail "no such line: $1"
	}
}

empty() {
	shown
	line "roots 0 groups 0 children 0 handles 0 with 0 objects"
	line "grace period free workqueue free cgroups state=detached"
}

furnished() {
	put roots create sessions 96
	group_with_child web sessions
	put groups create idle
	put objects alloc a sessions web 3
	put objects alloc b sessions - 2
	shown
	line "roots 1 groups 2 children 1 handles 2 with 5 objects"
	line "sessions 96 live 5 2 0 0 0 0 0( -){5}"
	line "web 3 1 1 0 0 0 0 0"
	line "idle 0 0 0 0 0 0 0 0"
	[ "$(grep -En '^(web|idle) ' "$scratch/shown" | cut -d : -f 2 | cut -d ' ' -f 1 | tr '\n' ' ')" = "web idle " ] ||
		fail "the group with the most objects is not first"
	shown --lines 1
	line "and 1 more"
}

# A child whose group is gone is owned by the top, and killed; its objects are alive.
left_behind() {
	put roots create sessions 96
	group_with_child web sessions
	put objects alloc a sessions web 3
	put groups offline web
	await has_stage "$child" killed
	shown
	line "\(left behind\) 3 1 0 0 0 1 0 0"
	line "sessions 96 live 3 1 0 0 1 0 0( -){5}"
}

test_knobs() {
	hold
	block
	shown
	line "grace period held workqueue blocked cgroups state=detached"
	release
	unblock
}

# During the interval 40 objects are allocated from the root: the rate is more than 0 a second, and less than 41.
rates() {
	put roots create sessions 96
	(
		sleep 1
		try objects alloc a sessions - 40
	) &
	sh "$top" --once --interval 3 >"$scratch/shown"
	wait
	got=$(awk '$1 == "sessions" { print $11 }' "$scratch/shown")
	case $got in
	'' | - | 0.0) sed 's/^/#   /' "$scratch/shown"; fail "the rate is $got" ;;
	esac
	[ "${got%.*}" -le 40 ] || fail "$got a second"
}

seen() { [ "$(grep -c '^sessions ' "$scratch/shown")" -ge 3 ]; }
# It redraws until it gets a signal.
live() {
	put roots create sessions 96
	sh "$top" --interval 0.2 >"$scratch/shown" 2>&1 &
	pid=$!
	await seen
	kill $pid
	await not kill -0 $pid 2>/dev/null
	grep -q '1049l' "$scratch/shown" || fail "the screen is not restored"
}

options() {
	sh "$top" --help | grep -q '^SYNOPSIS' || fail "no manual"
	for wrong in --what --interval '--interval x' '--lines -1'; do
		sh "$top" $wrong >/dev/null 2>&1
		status=$?
		[ $status = 2 ] || fail "accepted: $wrong"
	done
	sh "$top" --once --control /nowhere 2>"$scratch/said"
	status=$?
	[ $status = 1 ] || fail "status $status without a module"
	grep -q 'is the module loaded' "$scratch/said" || fail "it does not print the reason"
}

tests "an empty module has no rows" empty \
	"roots and groups are listed, those with the most objects first" furnished \
	"children of offline groups are counted as left behind" left_behind \
	"a held grace period and a blocked workqueue are shown" test_knobs \
	"rates are those of the interval" rates \
	"the screen is redrawn, and restored at the end" live \
	"invalid options and a missing module are reported" options
