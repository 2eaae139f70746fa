# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=busybox disable=SC2034,SC2154
# The files of the module in debugfs: commands that are written, records that are read. lib.sh sources it.

# ---- the files ----------------------------------------------------------------------------------

# state_files: the names of all files.
state_files() { (cd "$control" && ls); }

# knob_files: the names of those that can be written.
knob_files() { (cd "$control" && stat -c '%a %n' -- *) | sed -n 's/^[2367][0-7]* //p'; }

# state: the content of all files but the statistics, which count failed operations, too.
state() {
	local file
	for file in $(state_files); do
		[ "$file" != stats ] || continue
		echo "$file:"
		cat "$control/$file"
	done
}

# show_state: the first lines of each file, as comments. A module without "roots" is not rust_kmemcg.
show_state() {
	local file
	[ -e "$control/roots" ] || return 0
	for file in $(state_files); do head -n 30 "$control/$file" | sed "s/^/#   $file: /"; done
}

# unchanged COMMAND…: runs the command; the state must be the same before and after.
unchanged() {
	state >"$scratch/before"
	"$@"
	state >"$scratch/after"
	! cmp -s "$scratch/before" "$scratch/after" || return 0
	skip_if_hold_expired
	fail "a command that failed has changed something: $(diff "$scratch/before" "$scratch/after" | head -n 20)"
}

# ---- commands -----------------------------------------------------------------------------------

# Names the files that a process keeps in $scratch.
me=main

# Does this shell's builtin echo print why a write failed?
case $({ echo x >/dev/full; } 2>&1) in
*"No space left"*) tells_errno=yes ;;
*) tells_errno= ;;
esac

# try FILE COMMAND: writes a command. $errno is empty, or the name of the error; it is false for an error.
try() {
	local file=$1
	shift
	if [ ! $tells_errno ]; then
		send "$file" '%s\n' "$*"
	elif { echo "$*" >"$control/$file"; } 2>"$scratch/error.$me"; then
		errno=
	else
		errno_of_message
	fi
}

# send FILE FORMAT [ARGUMENT]…: like try, for the output of printf, in one write.
send() {
	local file=$1 format=$2
	shift 2
	# shellcheck disable=SC2059
	if printf "$format" "$@" | dd of="$control/$file" bs=1M 2>"$scratch/error.$me"; then
		errno=
	else
		errno_of_message
	fi
}

errno_of_message() {
	local message=
	read -r message <"$scratch/error.$me"
	case $message in
	*"Invalid argument"*) errno=EINVAL ;;
	*"No such file"*) errno=ENOENT ;;
	*"File exists"*) errno=EEXIST ;;
	*"resource busy"*) errno=EBUSY ;;
	*"Argument list too long"*) errno=E2BIG ;;
	*"esult"*) errno=ERANGE ;;
	*"No space"*) errno=ENOSPC ;;
	*"No such device"*) errno=ENODEV ;;
	*"Cannot allocate"*) errno=ENOMEM ;;
	*"not supported"*) errno=EOPNOTSUPP ;;
	*"ermission denied"* | *"not permitted"*) errno=EACCES ;;
	*) errno="unknown: $message" ;;
	esac
	return 1
}

# put FILE COMMAND: writes a command that must succeed.
put() { try "$@" || fail "$errno: $*"; }

# must_fail ERRNO COMMAND…: try, send or the like must fail with that error.
must_fail() {
	local expected=$1
	shift
	! "$@" || fail "accepted instead of $expected: $*"
	[ "$errno" = "$expected" ] || fail "$errno instead of $expected: $*"
}

# refused ERRNO FILE COMMAND: writes a command that must fail with that error.
refused() {
	local expected=$1
	shift
	must_fail "$expected" try "$@"
}

# refused_bytes ERRNO FILE FORMAT [ARGUMENT]…: the same for the output of printf.
refused_bytes() {
	local expected=$1
	shift
	must_fail "$expected" send "$@"
}

# start NAME FILE COMMAND: writes a command in the background, in the process $pid.
start() {
	local name=$1
	shift
	rm -f "$scratch/done.$name"
	(
		me=$name
		try "$@"
		echo "${errno:-ok}" >"$scratch/ending.$name"
		mv "$scratch/ending.$name" "$scratch/done.$name"
	) &
	pid=$!
}

is_done() { [ -e "$scratch/done.$1" ]; }

# finish NAME: waits for that command. $result is ok, or the name of the error.
finish() {
	await is_done "$1"
	read -r result <"$scratch/done.$1"
}

# finish_with NAME RESULT: the same, and the result must be this one.
finish_with() {
	finish "$1"
	[ "$result" = "$2" ] || fail "$1: $result, not $2"
}

# is_asleep PID: does the process sleep in the kernel?
is_asleep() {
	local stat
	read -r stat <"/proc/$1/stat" || return
	case ${stat##*) } in D* | S*) ;; *) return 1 ;; esac
}

# ---- the grace period and the workqueue -----------------------------------------------------------

hold() {
	put grace_period hold
	read -r held_since _ </proc/uptime
}
release() {
	if ! try grace_period release; then
		skip_if_hold_expired
		fail "$errno: release"
	fi
	held_since=
}
held_since=

# skip_if_hold_expired: skips the test where its grace period may have ended by itself, after 10 s.
skip_if_hold_expired() {
	local now
	[ "$held_since" ] || return 0
	read -r now _ </proc/uptime
	[ $((${now%.*} - ${held_since%.*})) -lt 10 ] ||
		skip "a grace period is held for 10 s at most, and this machine took longer"
}

block() { put workqueue block; }
unblock() { put workqueue unblock; }

# ---- records ------------------------------------------------------------------------------------

# record FILE KEY=VALUE…: $record is the first record of the file with all these fields. It is false
# where there is none.
record() {
	local file=$1 line word
	shift
	record=
	while read -r line; do
		for word; do
			case " $line " in *" $word "*) ;; *) continue 2 ;; esac
		done
		record=$line
		return 0
	done <"$control/$file"
	return 1
}

# value KEY: $value is the value of that field of $record.
value() {
	value=" $record"
	value=${value##* "$1"=}
	value=${value%% *}
}

# must FILE KEY=VALUE…: such a record must exist.
must() { record "$@" || fail "no such record: $*"; }

# number_of KIND NAME: $value is the number of a root or group.
number_of() {
	must "$1s" "name=$2"
	value "$1"
}

# count FILE PATTERN: $count is the number of records that match.
count() { count=$(grep -Ec "$2" "$control/$1"); }

# objects_from HANDLE ROOTS CHILDRENS: the numbers of objects that came from the root's own cache, and
# from children.
objects_from() { must objects "handle=$1" "from_root=$2" "from_children=$3"; }

# has_stage CHILD STAGE
has_stage() { record children "child=$1" "stage=$2"; }

# stat_of ROOT KEY: $value is that counter of the root.
stat_of() {
	must stats "name=$1"
	value "$2"
}

# counted ROOT KEY VALUE: that counter must have this value.
counted() {
	stat_of "$1" "$2"
	[ "$value" = "$3" ] || fail "$2 is $value, not $3"
}
