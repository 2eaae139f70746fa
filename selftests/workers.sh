# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=busybox disable=SC2154
# Workers on all processors, for the tests of races. Source it after lib.sh.

seconds=3

# over: is the time of this worker up? A slow machine gets more, until a child has been created.
over() {
	read -r now _ </proc/uptime
	[ "${now%.*}" -ge "$end" ] || return 1
	event "child_create: .*" || [ "${now%.*}" -ge $((end + patience / 2)) ]
}

# run FUNCTION…: calls each function again and again until the time is up, in a process of its own, on one of the
# processors. $i is the number of the round.
run() {
	local cpus cpu=0
	cpus=$(grep -c '^processor' /proc/cpuinfo)
	read -r now _ </proc/uptime
	end=$((${now%.*} + seconds))
	number=0
	for worker; do
		number=$((number + 1))
		(
			me=$worker.$number
			i=0
			until over; do
				i=$((i + 1))
				$worker
			done
			echo $i >"$scratch/rounds.$number"
		) &
		taskset -cp $cpu $! >/dev/null 2>&1
		cpu=$(((cpu + 1) % cpus))
	done
	while [ "$number" -gt 0 ]; do
		await test -s "$scratch/rounds.$number"
		say "rounds of worker $number: $(cat "$scratch/rounds.$number")"
		number=$((number - 1))
	done
	wait
	adds_up
}

settled() {
	for stage in deactivating quiescent killed released; do ! record children stage=$stage || return; done
}

# adds_up: frees and destroys what the workers have left; then every child must have had one complete life, in the
# right order, and no event may be lost.
adds_up() {
	while record objects; do
		value handle
		put objects free "$value"
	done
	await settled
	# A closing root destroys itself.
	while record roots state=live; do
		value name
		destroy "$value"
	done
	await not record roots
	for file in "$trace"/per_cpu/cpu*/stats; do
		lost=$(grep -E '^(overrun|commit overrun|dropped events): [1-9]' "$file")
		[ -z "$lost" ] || fail "events were lost: $lost"
	done
	not any_cache || fail "a cache is left"
	awk '
		function wrong(text) { if (errors++ < 10) print "# " text ": " $0 }
		/^#/ { next }
		{ match($0, /[a-z_]+: ctx=/); event = substr($0, RSTART, RLENGTH - 6); rest = substr($0, RSTART + RLENGTH)
		  split(rest, field, /[ =]/); root = field[3]; events++ }
		event == "root_create" { live[root] = 1; roots++ }
		event == "root_close" { closing[root] = 1 }
		event == "root_dying" { if (!(root in live) || root in dying) wrong("dying"); dying[root] = 1 }
		event == "root_busy" { delete dying[root] }
		event == "root_destroy" { if (!(root in dying) && !(root in closing)) wrong("destroyed without dying"); delete live[root]; gone[root] = 1; destroyed++; next }
		# A closing root may be destroyed while another task still has a reference on a child.
		event ~ /^child_/ && root in gone && !(root in closing) { wrong("after root_destroy") }
		event !~ /^child_/ || event == "child_abort" { next }
		{ child = field[7]; id = root "." child }
		child == 0 && event != "child_request" { if (event == "child_free") own[root]++; next }
		event == "child_request" { if (root in dying || root in closing) wrong("requested while dying"); requests++ }
		event == "child_create" { if (id in created) wrong("twice"); created[id] = 1; creations++; life[id] = "active" }
		event == "child_offline" { if (root in dying && life[id] != "deferred") wrong("deactivated while dying"); if (life[id] !~ /^(active|deferred)$/) wrong("offline"); life[id] = "offline" }
		event == "child_defer_offline" { if (!(root in dying) || life[id] != "active") wrong("offline deferred"); life[id] = "deferred" }
		event == "child_rcu" { if (life[id] != "offline") wrong("rcu"); life[id] = "rcu" }
		event == "child_kill" { if (id in created && life[id] != "rcu" && !(root in closing && life[id] ~ /^(active|deferred)$/)) wrong("kill"); life[id] = "killed" }
		event == "child_release" { released[id]++; if (released[id] > 1) wrong("released twice") }
		event == "child_defer_release" { if (!(root in dying)) wrong("release deferred"); deferred[id]++ }
		event == "child_shutdown" { shut[id]++; if (!(id in released) && !(id in deferred)) wrong("shut down without release"); if (shut[id] > 1) wrong("shut down twice") }
		event == "child_free" { freed[id]++; if (freed[id] > 1) wrong("freed twice"); if (id in created) frees++ }
		END {
			if (creations != frees) wrong(creations " children created, " frees " freed")
			if (roots != destroyed) wrong(roots " roots created, " destroyed " destroyed")
			for (root in gone) if (own[root] != 1) wrong("the cache of root " root " was freed " own[root] + 0 " times")
			print "# " events " events, " roots " roots, " creations " children"
			if (!creations || !roots) wrong("nothing was tested")
			exit errors > 0
		}' "$trace/trace" || fail "the trace does not add up"
}

# until_served HANDLE GROUP: allocates for the group until its own child of r serves it, 20 times at most.
until_served() {
	for j in $(seq 20); do
		! record objects "handle=$1" from_root=0 || break
		try objects free "$1"
		try objects alloc "$1" r "$2" 2
	done
}

# A worker that reads all files.
reader() { cat "$control"/* >/dev/null; }

# The events of a few seconds must fit in the buffer.
large_trace() { echo 16384 >"$trace/buffer_size_kb"; }
