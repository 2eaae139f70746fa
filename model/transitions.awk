#!/usr/bin/awk -f
# SPDX-License-Identifier: GPL-2.0
# NAME
#     transitions.awk - the table of transitions, as Promela
#
# SYNOPSIS
#     awk -f model/transitions.awk selftests/transitions
#
# DESCRIPTION
#     Writes an inline for each event. What the model does is an event of the table, from a state and
#     in a context that the table allows, or the assertion Table fails. child_request and child_abort
#     are no step of a life: only their context is checked.

function name(state) {
	if (state == "-")
		state = "before"
	else if (state == ".")
		state = "over"
	gsub(/-/, "_", state)
	return "T_" state
}

function number(state) {
	if (!(state in numbers)) {
		numbers[state] = ++states
		order[states] = state
	}
}

function any_of(text, variable, prefix,    i, n, part, out) {
	n = split(text, part, ",")
	for (i = 1; i <= n; i++)
		out = out (i > 1 ? " || " : "") variable " == " (prefix ? toupper(part[i]) : name(part[i]))
	return out
}

# A worker is a task, too.
function where(context) {
	if (context == "any")
		return "true"
	return any_of(context, "ctx", 1) (context ~ /task/ && context !~ /worker/ ? " || ctx == WORKER" : "")
}

{ sub(/#.*/, "") }
NF >= 5 {
	if (!($2 in kind)) {
		kind[$2] = $1
		events[++n] = $2
	}
	if ($3 != "*") {
		m = split($3, from, ",")
		for (i = 1; i <= m; i++)
			number(from[i])
	}
	if ($4 != "*")
		number($4)
	guard = "(" where($5) ")" ($3 != "*" ? " && (" any_of($3, "life[x]", 0) ")" : "")
	gsub(/life/, "life_" $1, guard)
	rows[$2] = rows[$2] "\t:: " guard " -> " ($4 != "*" ? "life_" $1 "[x] = " name($4) : "skip") "\n"
}

END {
	print "/* From selftests/transitions. */"
	for (i = 1; i <= states; i++)
		printf "#define %s %d\n", name(order[i]), i - 1
	for (i = 1; i <= n; i++)
		printf "#define EV_%s %d\n", events[i], i
	for (i = 1; i <= n; i++) {
		event = events[i]
		printf "inline %s(x)\n{\n\tif\n%s\t:: else -> assert(Table || !EV_%s)\n\tfi;\n\tSAY(EV_%s, x);\n\tprintf(\"event %%d %s %%d %%d\\n\", _pid, x, ctx)\n}\n", event, rows[event], event, event, event
	}
}
