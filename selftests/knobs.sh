#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=busybox disable=SC2016,SC2030,SC2031,SC2086
# Invalid writes to every knob fail with the documented errno and change nothing.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

# furnished: a root, groups, a child and objects, so that an invalid command has something to damage.
furnished() {
	knob_files | grep -qx roots || fail "no knobs are found in $control"
	put roots create r 64
	put groups create parent
	put groups create g parent
	put objects alloc h r g 3
	await event "child_create: .*"
	# An object of the child: a destroy that fails may shut down a child without objects.
	put objects alloc i r g
	objects_from i 0 1
}

malformed() {
	for file in $(knob_files); do
		refused EINVAL $file
		refused EINVAL $file ''
		refused EINVAL $file ' '
		refused EINVAL $file frobnicate
		refused EINVAL $file Create x 8
		refused EINVAL $file CREATE
		refused EINVAL $file 1
		refused EINVAL $file one two three four five six seven
	done
	# An empty write never reaches the module.
	send roots ''
}
test_malformed() { furnished; unchanged malformed; }

binary() {
	for file in $(knob_files); do
		refused_bytes EINVAL $file '\n\n'
		refused_bytes EINVAL $file '\000'
		refused_bytes EINVAL $file '\377\376\200'
	done
	refused_bytes EINVAL roots 'create x\000 64\n'
	refused_bytes EINVAL roots 'create x 64\000'
	refused_bytes EINVAL roots 'create\tx\t64\n'
	refused_bytes EINVAL roots 'create x 64\r\n'
	refused_bytes EINVAL roots 'create x 64\ncreate y 64\n'
	refused_bytes EINVAL roots 'create x\303\244 64\n'
	refused_bytes EINVAL roots 'create x\303 64\n'
	refused_bytes EINVAL groups 'create \033[31m\n'
	refused_bytes EINVAL groups 'offline g\n\n'
	refused_bytes EINVAL grace_period 'hold\000'
	refused_bytes EINVAL workqueue 'block block\n'
}
test_binary() { furnished; unchanged binary; }

too_long() {
	for file in $(knob_files); do
		refused_bytes E2BIG $file '%513s' ''
		refused_bytes EINVAL $file '%512s' ''
		refused_bytes EINVAL $file '%511s\n' ''
	done
	head -c 100000 /dev/zero | tr '\000' x >"$scratch/long"
	for file in $(knob_files); do must_fail E2BIG send_long $file; done
	# A valid command with blanks behind it, one byte too long: it must not be truncated.
	refused_bytes E2BIG roots 'create x 64%502s' ''
}
# send_long FILE: 100,000 bytes in one write.
send_long() {
	if dd if="$scratch/long" of="$control/$1" bs=100000 2>"$scratch/error.$me"; then
		errno=
	else
		errno_of_message
	fi
}
test_too_long() { furnished; unchanged too_long; }

longest() {
	name=abcdefghijklmnopqrstuvwxyz_.-AZ0
	send roots 'create %s 64%468s' $name '' || fail "$errno: a command of 512 bytes"
	must roots name=$name size=64
	send groups '  create    %s  ' $name || fail "$errno: no newline, many spaces"
	put objects alloc $name $name $name
	put objects free $name
}

roots() {
	for size in 64x x 1.5 -1 +8 0x40 1e3 '*' 8,8; do refused EINVAL roots create x "$size"; done
	for size in 0 00 1048577 4294967296 18446744073709551615 18446744073709551616 99999999999999999999; do
		refused ERANGE roots create x "$size"
	done
	for align in 3 5 6 4095 -8 8.0 x; do refused EINVAL roots create x 64 "$align"; done
	for align in 0 4097 8192 99999999999999999999; do refused ERANGE roots create x 64 "$align"; done
	refused EINVAL roots create
	refused EINVAL roots create x
	refused EINVAL roots create x 64 8 8
	refused EINVAL roots create x account
	refused EINVAL roots create x 64 account 8
	refused EINVAL roots create x 64 8 account account
	refused EINVAL roots create x 64 8 Account
	refused EINVAL roots destroy
	refused EINVAL roots destroy r r
	refused EINVAL roots destroy r async now
	refused EINVAL roots destroy r async account
	refused EINVAL roots destroy r Async
	refused EINVAL roots destroy r uncounted now
	refused ENOENT roots destroy nobody uncounted
	refused ENOENT roots destroy nobody async
	refused ENOENT roots destroy nobody
	refused ENOENT roots destroy R
	refused ENOENT roots destroy g
	refused EEXIST roots create r 64
	refused EEXIST roots create r 128 8
	refused EBUSY roots destroy r
	refused EBUSY roots destroy r uncounted
}
# A destroy that has begun and fails emits trace events, but must not change the state.
test_roots() { furnished; unchanged roots; }

names() {
	long=abcdefghijklmnopqrstuvwxyz_.-AZ01
	for name in $long .x ..  . -x - --help a/b / /x x/ ../x 'a:b' 'a(b' 'a=b' "a'b" 'a"b' 'a\b' 'a;b' 'a$b' 'a%s' 'a@b' 'a,b' '~'; do
		refused EINVAL roots create "$name" 64
		refused EINVAL roots destroy "$name"
		refused EINVAL groups create "$name"
		refused EINVAL groups offline "$name"
		refused EINVAL groups create x "$name"
		refused EINVAL objects alloc "$name" r g
		refused EINVAL objects alloc x "$name" g
		case $name in
		-) ;;
		# The name of a cgroup.
		/*) refused ENOENT objects alloc x r "$name" ;;
		*) refused EINVAL objects alloc x r "$name" ;;
		esac
		refused EINVAL objects free "$name"
	done
}
test_names() { furnished; unchanged names; }

groups() {
	refused EINVAL groups create
	refused EINVAL groups create a b c
	refused EINVAL groups offline
	refused EINVAL groups offline g g
	refused EINVAL groups create current
	refused EINVAL groups create current parent
	refused ENOENT groups offline current
	refused EEXIST groups create g
	refused EEXIST groups create parent
	refused EEXIST groups create g parent
	refused ENOENT groups create x nobody
	refused ENOENT groups create x x
	refused ENOENT groups offline nobody
	refused ENOENT groups offline r
}
test_groups() { furnished; unchanged groups; }

objects() {
	refused EINVAL objects alloc
	refused EINVAL objects alloc x
	refused EINVAL objects alloc x r
	refused EINVAL objects alloc x r g 1 1
	refused EINVAL objects alloc x r g 1 nmi
	refused EINVAL objects alloc x r g 1 task more
	for number in 1.5 -1 x 0x1 +1 '*'; do refused EINVAL objects alloc x r g "$number"; done
	for number in 0 65537 99999999999999999999; do refused ERANGE objects alloc x r g "$number"; done
	refused ENOENT objects alloc x nobody g
	refused ENOENT objects alloc x r nobody
	refused ENOENT objects alloc x nobody -
	refused EEXIST objects alloc h r g
	refused EEXIST objects alloc h r -
	refused EINVAL objects free
	refused EINVAL objects free h task task
	for context in Task irq nmi '*' 0; do refused EINVAL objects free h "$context"; done
	refused ENOENT objects free nobody
	refused ENOENT objects free nobody $hardirq
	[ $hardirq = hardirq ] || refused EOPNOTSUPP objects free h hardirq
}
test_objects() { furnished; unchanged objects; }

test_knobs() {
	refused EBUSY grace_period release
	refused EBUSY workqueue unblock
	for word in held free block 'hold hold' HOLD 1 'hold x'; do refused EINVAL grace_period "$word"; done
	for word in blocked free hold 'block block' BLOCK 0; do refused EINVAL workqueue "$word"; done
}
cgroups() {
	refused EBUSY cgroups detach
	for word in attached detached hold 'attach attach' ATTACH 1 'attach /'; do refused EINVAL cgroups "$word"; done
}
cgroups_attached() {
	refused EBUSY cgroups attach
	for word in attached 'detach x' DETACH; do refused EINVAL cgroups "$word"; done
}
test_cgroups() {
	[ -e /sys/fs/cgroup/cgroup.procs ] || skip "there is no cgroup v2"
	furnished
	unchanged cgroups
	put cgroups attach
	unchanged cgroups_attached
	put cgroups detach
	unchanged cgroups
}

test_knobs_in_use() {
	refused EBUSY grace_period hold
	refused EBUSY workqueue block
}
test_test_knobs() {
	furnished
	unchanged test_knobs
	hold
	block
	[ "$(cat $control/grace_period)" = held ] || fail "not held"
	[ "$(cat $control/workqueue)" = blocked ] || fail "not blocked"
	unchanged test_knobs_in_use
	release
	unblock
	[ "$(cat $control/grace_period)" = free ] || fail "still held"
	[ "$(cat $control/workqueue)" = free ] || fail "still blocked"
	unchanged test_knobs
}

read_only() {
	refused EINVAL children create x
	refused EINVAL children
	refused_bytes EINVAL children '\377'
	[ ! -e $control/stats ] || refused EINVAL stats 0
	! mkdir $control/x 2>/dev/null || fail "a folder can be created"
}
test_read_only() {
	furnished
	unchanged read_only
	for file in $(state_files); do
		case $file in children | stats) mode=400 ;; *) mode=600 ;; esac
		[ "$(stat -c %a $control/$file)" = $mode ] || fail "$file: mode $(stat -c %a $control/$file)"
	done
}

# A read returns whole records only, while another process writes.
writers() {
	i=0
	until [ -e "$scratch/enough" ]; do
		i=$((i + 1))
		try groups create "w$i"
		try roots create "w$i" 32
		try objects alloc "w$i" r "w$i" 50
		try objects free "w$i" softirq
		try groups offline "w$i"
		try roots destroy "w$i"
	done
	echo $i >"$scratch/rounds"
}
test_read_while_written() {
	furnished
	writers &
	for i in $(seq 15); do
		cat $control/roots >"$scratch/roots"
		cat $control/children >"$scratch/children"
		cat $control/groups >"$scratch/groups"
		cat $control/objects >"$scratch/objects"
		[ ! -e $control/stats ] || cat $control/stats >"$scratch/stats"
		bad=$(grep -Ev '^root=[0-9]+ name=[rw][0-9]*( [a-z_]+=[0-9]+)+$' "$scratch/stats" 2>/dev/null
			grep -Ev '^root=[0-9]+ name=[rw][0-9]* size=[0-9]+ align=8 account=no state=(live|closing|dying|closing_dying|drained|closing_drained|destroyed) children=[0-9]+$' "$scratch/roots"
			grep -Ev '^child=[0-9]+ root=[0-9]+ name=[rw][0-9]* owner=[0-9]+ stage=[a-z_]+( objects=[0-9]+)?$' "$scratch/children"
			grep -Ev '^group=[0-9]+ name=[a-z0-9]+ parent=[0-9]+ children=[0-9]+$' "$scratch/groups"
			grep -Ev '^handle=[hiw][0-9]* root=r objects=[0-9]+ from_root=[0-9]+ from_children=[0-9]+$' "$scratch/objects")
		[ -z "$bad" ] || { : >"$scratch/enough"; wait; fail "not a record: $bad"; }
	done
	: >"$scratch/enough"
	await test -e "$scratch/rounds"
	wait
	read -r rounds <"$scratch/rounds"
	[ "$rounds" -gt 2 ] || fail "the writer has done only $rounds rounds"
}

many_readers() {
	for file in $(state_files); do
		[ "$(dd if=$control/$file bs=1 2>/dev/null)" = "$(cat $control/$file)" ] || fail "$file reads differently byte by byte"
	done
}
test_byte_by_byte() { furnished; many_readers; }

tests "I6 malformed commands fail with EINVAL" test_malformed \
	"I6 control bytes, invalid UTF-8 and two lines fail with EINVAL" test_binary \
	"I6 a command that is too long fails with E2BIG and is not truncated" test_too_long \
	"the longest command and the longest names work" longest \
	"I6 roots: invalid sizes and alignments, and names in use or missing, are refused" test_roots \
	"I6 invalid names are refused wherever a name stands" test_names \
	"I6 groups: unknown words, and names in use or missing, are refused" test_groups \
	"I6 objects: invalid numbers and contexts, and names in use or missing, are refused" test_objects \
	"I6 grace_period and workqueue refuse what is done already" test_test_knobs \
	"I6 cgroups refuses what is done already" test_cgroups \
	"I6 files that are read-only cannot be written" test_read_only \
	"reads return whole records while others write" test_read_while_written \
	"reads byte by byte return the same content" test_byte_by_byte
