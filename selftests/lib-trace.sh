# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=busybox disable=SC2034,SC2154
# What the kernel shows of the module: its trace events, and its caches in sysfs. lib.sh sources it.

watch_events() { echo 1 >"$trace/events/$module/enable"; }

clear_trace() { echo >"$trace/trace"; }

# event REGEX: is there an event that the regex matches from its name to its end?
event() { grep -Eq " $1\$" "$trace/trace"; }

# no_event REGEX: there must be none.
no_event() {
	not event "$1" && return
	skip_if_hold_expired
	fail "an event that must not occur: $1"
}

# events REGEX: $count is their number.
events() { count=$(grep -Ec " $1\$" "$trace/trace"); }

# has_events NUMBER REGEX: is this their number? $count is the actual one.
has_events() {
	events "$2"
	[ "$count" = "$1" ]
}

# in_order REGEX…: there must be an event for each regex, in this order.
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

# no_request_left: has every request ended in a child, or been aborted?
no_request_left() {
	local requests
	events "child_request: .*"
	requests=$count
	has_events "$requests" "child_(create|abort): .*"
}

# find_table: $table is the file of the transitions, which a run of one program by hand has to make.
find_table() {
	table=$here/transitions
	[ ! -r "$table" ] || return 0
	table=$scratch/transitions
	awk -f "$here/../protocol/transitions.awk" "$here/../protocol/stage.rs" >"$table"
}

# trace_is_allowed: checks the trace against the protocol. If no root and no group is left, every life
# in it must have ended; work that still runs gets time for that.
trace_is_allowed() {
	find_table
	complete=
	[ -n "$(cat $control/roots $control/groups)" ] || complete=1
	eventually is_checked "$trace/trace"
	return "$verdict"
}
# is_checked FILE: has the trace in it a $verdict, or does something of it still run?
is_checked() {
	awk -f "$here/trace-check" -v "table=$table" -v "complete=$complete" "$1" >"$scratch/verdict"
	verdict=$?
	[ $verdict != 3 ]
}

# ---- the caches in sysfs ------------------------------------------------------------------------

any_cache() { set -- "$slab"/kmemcg:*; [ -e "$1" ]; }

# cache_of CHILD: $cache is the folder of that child's cache. It is false where there is none. Not for child 0.
cache_of() {
	set -- "$slab"/kmemcg:*"($1:"*
	cache=$1
	[ -d "$cache" ]
}
