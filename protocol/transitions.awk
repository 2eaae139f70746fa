# SPDX-License-Identifier: GPL-2.0
# The tables of stage.rs as text, a row a line:
#
#     life  event  from[,from]  to  context[,context]  held[+held]
#
# A life is one child, one root or one group. "-" is before it begins, "." is after it has ended, "*" is
# any state, which the step keeps. In a trace a child begins with its first event and a root ends with its
# last one: "new" is "-" here, and "destroyed" is ".".
#
#     awk -f protocol/transitions.awk protocol/stage.rs

# A state and its word.
match($0, /^ +[A-Z][A-Za-z]+ = "[a-z_]+"/) {
	split($0, part, "\"")
	word[$1] = part[2]
	next
}

/^ +[a-z_]+ under [a-z ]+ \{$/ {
	event = $1
	held = $3
	for (i = 4; i < NF; i++)
		held = held "+" $i
	next
}

event && / => / {
	sub(/;.*/, "")
	gsub(/ \| /, ",")
	sub(/, /, " ")
	print substr(event, 1, index(event, "_") - 1), event, words($1), words($3), $4, held
	next
}

event && /^    \}$/ { event = "" }

function words(list,    i, n, one, text) {
	n = split(list, one, ",")
	for (i = 1; i <= n; i++)
		text = text (i > 1 ? "," : "") (one[i] == "New" ? "-" : one[i] == "Destroyed" ? "." : one[i] in word ? word[one[i]] : one[i])
	return text
}
