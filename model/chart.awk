#!/usr/bin/awk -f
# SPDX-License-Identifier: GPL-2.0
# NAME
#     chart.awk - the trail of a model, as a sequence chart
#
# DESCRIPTION
#     Reads the output of "spin -t -p", and writes a line for each event and note of the model: the CPU,
#     of two, the process, and the event. A process stays on its CPU while it can. Where the other CPU is in
#     the middle of a softirq or an interrupt, it takes turns with others on the free one. Each process has
#     a column: read down to follow it, across to see which steps came between.

# The name of each process.
match($0, /proc +[0-9]+ \([A-Za-z:]+/) {
	split(substr($0, RSTART, RLENGTH), part, /[ (]+/)
	name = part[3]
	gsub(/:/, "", name)
	if (!(part[2] in names))
		names[part[2]] = name
}

/^ *(event|note) [0-9]/ {
	n++
	who[n] = $2
	if ($1 == "event") {
		what[n] = $3 " " object($3, $4)
		context[n] = $5
	} else {
		text = $0
		sub(/^ *note [0-9]+ /, "", text)
		sub(/waits for 0$/, "has nothing to wait for", text)
		sub(/waits for [0-9]+$/, "waits", text)
		what[n] = text
	}
	if (!($2 in column)) {
		column[$2] = ++columns
		order[columns] = $2
	}
}

/text of failed assertion/ {
	broken = $0
	sub(/.*assertion: /, "", broken)
}
/invalid end state|<valid end state>/ { next }

function object(event, number) {
	if (event ~ /^root/)
		return ""
	return (event ~ /^group|request|abort/ ? "group " : "child ") number
}

# Where the process runs: the CPU it was on, or the one that is not in the middle of an interrupt.
function place(i, lane,    cpu, other) {
	cpu = lane in at ? at[lane] : (last[0] == "" ? 0 : last[1] == "" ? 1 : hard(last[0], i) ? 1 : 0)
	if (last[cpu] != lane && hard(last[cpu], i))
		cpu = 1 - cpu
	at[lane] = cpu
	last[cpu] = lane
	return cpu
}

# Is it a softirq or an interrupt that has not ended? It ends with its last line before another begins.
function hard(lane, i) { return lane != "" && names[lane] ~ /softirq|irq/ && later[lane] > i }

END {
	for (i = 1; i <= n; i++)
		later[who[i]] = i
	width = columns > 4 ? 24 : 34
	printf "step  CPU  "
	for (c = 1; c <= columns; c++)
		printf "%-" width "s", names[order[c]] (names[order[c]] ~ /worker|user|offliner/ ? " " order[c] : "")
	print ""
	for (i = 1; i <= n; i++) {
		printf "%4d   %d   ", i, place(i, who[i])
		for (c = 1; c < column[who[i]]; c++)
			printf "%-" width "s", "|"
		print what[i]
	}
	print "then this fails: " (broken ? broken : "nothing; it does not end")
}
