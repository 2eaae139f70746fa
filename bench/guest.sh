#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=busybox
# The part of scripts/test/bench that runs in the virtual machine: carries out each measurement, and prints
# each result on a line "bench: NAME VALUE".
#
# guest.sh MODULE MEASUREMENT...

module=$1
shift
control=/sys/kernel/debug/rust_kmemcg_bench

fail() { echo "bench failed: $*"; exit 1; }

# Prints the bytes of slab memory in use, those of the module's and the benchmark's own caches excluded.
slab_bytes() {
	awk '/^slabinfo|^#|^kmemcg:|^bench:|^twin:/ { next } { bytes += $2 * $4 } END { printf "%d\n", bytes }' /proc/slabinfo
}

# keep KIND NUMBER: prints the slab memory that one of NUMBER takes.
keep() {
	local slab
	echo 3 >/proc/sys/vm/drop_caches
	# Let RCU callbacks free what they have to.
	sleep 2
	slab=$(slab_bytes)
	echo "keep $1 $2" >$control/run || fail "keep $1 $2"
	sleep 2
	echo "bench: slab_$1 $((($(slab_bytes) - slab) / $2))"
	echo "keep nothing" >$control/run || fail "keep nothing"
}

# Allocate in a memory cgroup other than the root.
echo +memory >/sys/fs/cgroup/cgroup.subtree_control || fail "no memory controller"
mkdir /sys/fs/cgroup/bench || fail "no cgroup"
echo $$ >/sys/fs/cgroup/bench/cgroup.procs || fail "not in the cgroup"

insmod "/$module.ko" || fail "insmod"
for measurement; do
	case $measurement in
	keep*)
		# shellcheck disable=SC2086
		$measurement ;;
	*)
		echo "$measurement" >$control/run || fail "$measurement"
		sed 's/^/bench: /' $control/result ;;
	esac
done
rmmod "$module" || fail "rmmod"
