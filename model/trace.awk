#!/usr/bin/awk -f
# SPDX-License-Identifier: GPL-2.0
# NAME
#     trace.awk - the events of one root in a trace, for the model to follow
#
# SYNOPSIS
#     awk -f model/trace.awk -v list=1 TRACE
#     awk -f model/trace.awk -v only=ROOT TRACE
#
# DESCRIPTION
#     With list=1 prints a line for each root that the trace shows from its creation on: its number, and
#     how many events, children and groups it has, where a group that inherits a child counts as two more:
#     the model that follows has all groups at the top. Else writes the macro MATCH for root ROOT, with
#     children and groups numbered from 1 in the order in which they appear, and after it, in comments,
#     the events. Left out are root_create and group_create, as the model begins after them, and group_free,
#     as the model does not count the references of a group.

function field(name,    i) {
	for (i = 1; i <= NF; i++)
		if (index($i, name "=") == 1)
			return substr($i, length(name) + 2)
	return ""
}

function number(kind, id) {
	if (!((kind, root, id) in known))
		known[kind, root, id] = ++count[kind, root]
	return known[kind, root, id]
}

function add(root, event, x, ctx) {
	n[root]++
	events[root, n[root]] = event
	whose[root, n[root]] = x
	contexts[root, n[root]] = ctx
	text[root, n[root]] = $0
}

!match($0, / (child|root|group)_[a-z_]+: ctx=/) { next }

{
	event = substr($0, RSTART + 1, RLENGTH)
	sub(/:.*/, "", event)
	ctx = toupper(field("ctx"))
	if (ctx == "TASK" && $1 ~ /^kworker/)
		ctx = "WORKER"
	root = field("root")
	child = field("child")
	group = field("group")
}

event == "root_create" { created[root] = 1; order[++roots] = root; next }
event == "group_offline" { offline[group] = 1 }
event ~ /^group_(create|free)$/ { next }

# A group matters to the roots that know it.
event == "group_offline" {
	for (i = 1; i <= roots; i++) {
		root = order[i]
		if (("group", root, group) in known && !ended[root])
			add(root, event, known["group", root, group], ctx)
	}
	next
}

!created[root] { next }
event ~ /^child_(request|abort)$/ { add(root, event, number("group", group), ctx); next }
event == "child_reparent" && group != 0 { inherits[root] = 2 }
event ~ /^child_/ { add(root, event, child == 0 ? 0 : number("child", child), ctx); next }
event ~ /^root_/ { add(root, event, 0, ctx); if (event == "root_destroy") ended[root] = 1 }

END {
	for (i = 1; list && i <= roots; i++) {
		root = order[i]
		print root, n[root] + 0, count["child", root] + 0, count["group", root] + inherits[root]
	}
	if (list)
		exit
	printf "#define LENGTH %d\n", n[only]
	printf "#define MATCH(event, x) (0"
	for (i = 1; i <= n[only]; i++)
		printf " || (at == %d && event == EV_%s && x == %d && ctx == %s)", i - 1,
			events[only, i], whose[only, i], contexts[only, i]
	print ")"
	for (i = 1; i <= n[only]; i++)
		printf "/* %d: %s */\n", i, text[only, i]
}
