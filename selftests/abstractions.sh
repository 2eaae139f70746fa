#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=busybox
# The tests of abstractions/, which run in the kernel: each name in the list of the module
# rust_kmemcg_test is one. RUST_KMEMCG_TEST_KO says where the module is.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

module=rust_kmemcg_test
control=/sys/kernel/debug/$module
files=$control.files
keep=yes
marker="$module: begin"

load() {
	if [ "$RUST_KMEMCG_TEST_KO" ]; then
		insmod "$RUST_KMEMCG_TEST_KO"
	else
		modprobe $module 2>/dev/null || insmod /$module.ko 2>/dev/null ||
			insmod "$here/abstractions/$module.ko" 2>/dev/null
	fi
}

# Instead of the one in lib.sh, which is for the other module.
prepare() {
	[ "$(id -u)" = 0 ] || skip_all "must be run as root"
	[ -d /sys/kernel/debug/tracing ] || mount -t debugfs debugfs /sys/kernel/debug 2>/dev/null
	grep -q " /sys/kernel/debug debugfs" /proc/mounts || skip_all "debugfs is not mounted"
	if ! is_loaded; then
		load || skip_all "the module $module is not there"
	fi
	[ -r $control/list ] || skip_all "there is no $control/list"
	scratch=$(mktemp -d)
	trap clean_up EXIT
	trap 'exit 1' INT TERM HUP
}

# The module under test has no trace events.
trace_is_allowed() { :; }

clean_up() {
	! is_loaded || rmmod $module 2>/dev/null
	rm -r "$scratch"
}

# mark NAME: what comes after it in the kernel's log is this test's.
mark() { echo "<6>$marker $1" >/dev/kmsg; }

# log: the kernel's log since the last mark, without the time.
log() {
	dmesg | awk -v marker="$marker" '
		index($0, marker) { n = 0; next }
		{ sub(/^(<[0-9]+>)*\[[^]]*\] */, ""); text[n++] = $0 }
		END { for (i = 0; i < n; i++) print text[i] }'
}

# The kernel says nothing that it says when something is wrong.
quiet() {
	local text
	text=$(log)
	[ "$text" ] || return 0
	text=$(echo "$text" | grep -E "$complaints" | head -n 3)
	[ ! "$text" ] || fail "$text"
}
complaints='^(BUG|WARNING|INFO: |UBSAN|ODEBUG|Oops|refcount_t|general protection|rust_kernel: panicked|'
complaints=$complaints'list_(add|del) corruption|.*Objects remaining|kmem_cache_destroy|.*still has objects)'

# in_kernel NAME: one of the list.
in_kernel() {
	mark "$1"
	if ! try run "$1"; then
		log | sed -n "s/^$module: /# /p" | head -n 20
		case $errno in
		EOPNOTSUPP) skip "$1" ;;
		esac
		fail "$errno"
	fi
	quiet
}

# ---- reading and writing --------------------------------------------------------------------------

lists_are_right() {
	local twice
	[ "$(wc -l <$control/list)" -ge 100 ] || fail "only $(wc -l <$control/list) tests"
	twice=$(sort $control/list | uniq -d)
	[ ! "$twice" ] || fail "two tests of one name: $twice"
	refused ENOENT run nothing
	refused ENOENT run ""
	refused ENOENT run "$(head -n 1 $control/list) "
}

# One generation, all lines, in order: what pieces of $1 bytes make of it.
large_file() {
	local size
	for size in 1 4096 4097 65536 1000000; do
		# A byte at a time takes long: only the first piece of the file.
		if [ $size = 1 ]; then
			dd if=$files/large bs=1 count=2000 2>/dev/null
		else
			dd if=$files/large bs=$size 2>/dev/null
		fi >"$scratch/large"
		awk -v size=$size '
			NR == 1 { generation = $1 }
			size == 1 && length($0) < 63 { next }
			length($0) != 63 || $1 != generation || $2 != NR - 1 { print "line " NR ": " $0; bad = 1; exit 1 }
			END { if (!bad && size != 1 && NR != 5000) { print NR " lines"; exit 1 } }' \
			"$scratch/large" >"$scratch/bad" || fail "in pieces of $size: $(cat "$scratch/bad")"
	done
	[ -z "$(cat $files/empty)" ] || fail "the empty file is not"
}

# A reader that was there first, and one that comes later.
two_readers() {
	local first second rest
	exec 5<$files/large 6<$files/large
	read -r first _ <&5
	read -r second _ <&6
	[ "$first" != "$second" ] || fail "two opens, one snapshot"
	rest=$(awk -v generation="$first" '$1 != generation' <&5 | head -n 3)
	[ ! "$rest" ] || fail "another generation than $first: $rest"
	exec 5<&- 6<&-
}

# echo_is BYTES TEXT: what the store function has seen.
echo_is() {
	local seen
	seen=$(cat $files/echo)
	[ "$seen" = "$1 [$2]" ] || fail "it saw $seen"
}

commands_arrive() {
	local long
	control=$files
	send echo 'word' || fail "$errno"
	echo_is 4 word
	send echo 'two words\n' || fail "$errno"
	echo_is 9 "two words"
	send echo '\n' || fail "$errno"
	echo_is 0 ""
	send echo 'x\n\n' || fail "$errno"
	echo_is 2 "x
"
	send echo ' \303\244 ' || fail "$errno"
	echo_is 4 " ä "
	long=$(printf '%0512d' 0)
	send echo "$long" || fail "512 bytes: $errno"
	echo_is 512 "$long"
}

refused_bytes() {
	control=$files
	! send echo '\377' || fail "accepted what is no UTF-8"
	[ "$errno" = EINVAL ] || fail "$errno instead of EINVAL"
	send echo 'same' || fail "$errno"
	! send echo 'a\303' || fail "accepted half a character"
	[ "$errno" = EINVAL ] || fail "$errno instead of EINVAL"
	! send echo "$(printf '%0512d' 0)\n" || fail "accepted 513 bytes"
	[ "$errno" = E2BIG ] || fail "$errno instead of E2BIG"
	! send echo "$(printf '%06000d' 0)" || fail "accepted 6000 bytes"
	[ "$errno" = E2BIG ] || fail "$errno instead of E2BIG"
	echo_is 4 same
}

errors_and_modes() {
	local mode
	control=$files
	! try refuses x || fail "accepted"
	[ "$errno" = ERANGE ] || fail "$errno instead of ERANGE"
	! try neither x || fail "accepted by a file without a store function"
	[ "$errno" = EINVAL ] || [ "$errno" = EACCES ] || fail "$errno"
	! try large x || fail "accepted by a file to be read"
	[ "$errno" = EINVAL ] || [ "$errno" = EACCES ] || fail "$errno"
	! cat $files/refuses 2>/dev/null || fail "read a file without content"
	mode=$(stat -c '%n %a' $files/* | sed 's|.*/||' | tr '\n' ';')
	[ "$mode" = "echo 600;empty 400;large 400;neither 200;own 200;refuses 200;" ] || fail "$mode"
}

# Its file operation is the one that the removal waits for.
store_drops_its_folder() {
	local i
	control=$files
	send own new || fail "$errno"
	control=/sys/kernel/debug/$module.own
	send drop now || fail "$errno"
	for i in 1 2 3 4 5 6 7 8 9 10; do
		[ -e $control ] || return 0
		sleep 0.2
	done
	fail "it is still there after $i looks"
}

# Rather than code that is gone.
open_file_keeps_the_module() {
	exec 5<$control/list
	! rmmod $module 2>/dev/null || fail "unloaded with a file open"
	exec 5<&-
	is_loaded || fail "it is gone"
}

leaves_nothing() {
	local left
	mark unload
	rmmod $module || fail "rmmod"
	! is_loaded || fail "it is still there"
	# A cache that was merged leaves a link to what it was merged with: that is the kernel's way.
	left=$(find $control $files /sys/kernel/slab/kmemcg_test* -maxdepth 0 -type d 2>/dev/null)
	[ ! "$left" ] || fail "left: $left"
	! grep -q kmemcg_test /proc/slabinfo || fail "left in slabinfo: $(grep kmemcg_test /proc/slabinfo)"
	# The rescuers of its queues. (A worker of the system may still bear the name of its last one.)
	left=$(grep -l '^kworker/R-kmemcg_test' /proc/[0-9]*/comm 2>/dev/null | head -n 3)
	[ ! "$left" ] || fail "left threads: $left"
	load || fail "it cannot be loaded again"
	rmmod $module || fail "second rmmod"
	quiet
}

prepare
while read -r name; do
	eval "run_$(echo "$name" | tr . _)() { in_kernel $name; }"
	set -- "$@" "$name" "run_$(echo "$name" | tr . _)"
done <$control/list

tests "debugfs: the list of the tests, and names that are not in it" lists_are_right \
	"debugfs: a large file is one snapshot, in pieces of any size" large_file \
	"debugfs: two readers have a snapshot each" two_readers \
	"debugfs: a write arrives as it is, without one newline at its end" commands_arrive \
	"debugfs: no UTF-8, and more than 512 bytes, are refused and change nothing" refused_bytes \
	"debugfs: errors of a store function, and the modes of files" errors_and_modes \
	"debugfs: a store function drops its own folder" store_drops_its_folder \
	"$@" \
	"debugfs: an open file keeps its module" open_file_keeps_the_module \
	"unloaded, nothing is left, and it can be loaded again" leaves_nothing
