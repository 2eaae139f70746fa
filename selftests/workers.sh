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

# adds_up: frees and destroys what the workers have left. There must have been children, and no event may be lost.
# After the test tests() runs trace-check: every life must be complete, and in the right order.
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
	# The end of a closing root does not wait for a creation, which finds that it came too late.
	await not any_cache
	events "root_create: .*"
	roots=$count
	events "child_create: .*"
	say "roots: $roots, children: $count"
	[ $roots -gt 0 ] && [ $count -gt 0 ] || fail "nothing was tested"
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
