# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=busybox disable=SC2034,SC2154
# Cgroups, for the tests of groups that are cgroups. Source it after lib.sh.

attach() { put cgroups attach; }
detach() { put cgroups detach; }

# make CGROUP…: makes cgroups below $cgroups.
make() {
	[ -d $cgroups ] || mkdir $cgroups
	for one; do mkdir "$cgroups/$one" || fail "no cgroup $one"; done
}

# make_with_memory CGROUP…: makes cgroups that have the memory controller.
make_with_memory() {
	grep -qw memory /sys/fs/cgroup/cgroup.controllers || skip "the kernel has no memory controller"
	echo +memory >/sys/fs/cgroup/cgroup.subtree_control
	[ -d $cgroups ] || mkdir $cgroups
	echo +memory >$cgroups/cgroup.subtree_control
	make "$@"
}

# gone CGROUP…: rmdir must succeed. A process that was in there may be a zombie for a moment.
gone() { for one; do await rmdir "$cgroups/$one" 2>/dev/null; done; }

# inside CGROUP COMMAND…: runs the command as a process in that cgroup. The test fails if it fails.
inside() {
	(
		me=inside
		echo 0 >"$cgroups/$1/cgroup.procs" || fail "cannot move a process to $1"
		shift
		"$@"
	) || exit 1
}

# path CGROUP: $path is the name of that group.
path() { path=${cgroups#/sys/fs/cgroup}/$1; }

# is_group CGROUP: is it a group? Its record is in $record.
is_group() {
	path "$1"
	record groups "name=$path"
}

# child_for CGROUP ROOT: makes its child of the root. $child is its number, $group the group's.
child_for() {
	path "$1"
	make_child "$path" "$2"
}

# dying: prints the number of cgroups that were removed but not freed.
dying() { sed -n 's/^nr_dying_descendants //p' /sys/fs/cgroup/cgroup.stat; }
dying_is() { [ "$(dying)" = "$1" ]; }

# children_are NUMBER: is this the number of children, without those of the roots' own?
children_are() { count children 'child=[1-9]'; [ "$count" = "$1" ]; }

# room_for NUMBER: limits the groups to so many more than there are.
room_for() {
	count groups .
	put groups limit $((count + $1))
}

# missed NUMBER: is this the number of cgroups that have no group?
missed() { record cgroups "missed=$1"; }

# walks: $value is the number of walks.
walks() {
	must cgroups state=attached
	value walks
}
