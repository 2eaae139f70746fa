#!/usr/bin/awk -f
# SPDX-License-Identifier: GPL-2.0
# NAME
#     transitions.awk - the table of transitions, as Promela
#
# SYNOPSIS
#     awk -f protocol/transitions.awk protocol/stage.rs | awk -f model/transitions.awk
#
# DESCRIPTION
#     Writes a constant for each state, in capitals, and an inline for each event. The inline is the
#     transition itself: it sets life_child[x], life_root[x] or life_group[x] to the state that the table
#     has for the event. Where the table has no such row, where it does not allow the context, or where
#     the running process does not hold the locks that the row names, the assertion Table fails.
#
#     "-" is NEW, the state before the first event, and 0. "." is OVER.

function name(state) {
	if (state == "-")
		return "NEW"
	if (state == ".")
		return "OVER"
	gsub(/-/, "_", state)
	return toupper(state)
}

function number(state) {
	if (!(state in numbers)) {
		numbers[state] = states
		order[states++] = state
	}
}

function any_of(text, variable,    i, n, part, out) {
	n = split(text, part, ",")
	for (i = 1; i <= n; i++)
		out = out (i > 1 ? " || " : "") variable " == " name(part[i])
	return out
}

# A worker is a task, too.
function where(context) {
	if (context == "any")
		return ""
	return " && (" any_of(context, "ctx") (context ~ /task/ && context !~ /worker/ ? " || ctx == WORKER" : "") ")"
}

function what_is_held(locks,    i, n, part, out) {
	n = split(locks, part, "+")
	for (i = 1; i <= n; i++)
		if (part[i] != "nothing")
			out = out " && " part[i] " == _pid + 1"
	return out
}

BEGIN { number("-") }

{ sub(/#.*/, "") }
NF >= 6 {
	if (!($2 in rows))
		events[++n] = $2
	life = "life_" $1 "[x]"
	guard = "true" where($5) what_is_held($6)
	if ($3 != "*") {
		m = split($3, from, ",")
		for (i = 1; i <= m; i++)
			number(from[i])
		guard = guard " && (" any_of($3, life) ")"
	}
	if ($4 != "*")
		number($4)
	rows[$2] = rows[$2] "\t:: " guard " -> " ($4 != "*" ? life " = " name($4) : "skip") "\n"
}

END {
	print "/* From the tables in protocol/stage.rs. */"
	for (i = 0; i < states; i++)
		printf "#define %s %d\n", name(order[i]), i
	for (i = 1; i <= n; i++)
		printf "#define EV_%s %d\n", events[i], i
	for (i = 1; i <= n; i++) {
		event = events[i]
		printf "inline %s(x)\n{\n\tif\n%s\t:: else -> assert(Table || !EV_%s)\n\tfi;\n\tSAY(EV_%s, x);\n\tprintf(\"event %%d %s %%d %%d\\n\", _pid, x, ctx)\n}\n", event, rows[event], event, event, event
	}
}
