# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=busybox disable=SC2034,SC2154
# Cgroups, for the tests whose groups they are. Source it after lib.sh.

attach() { put cgroups attach; }
detach() { put cgroups detach; }

# make CGROUP…: below the one of the tests.
make() {
	[ -d $cgroups ] || mkdir $cgroups
	for one; do mkdir "$cgroups/$one" || fail "no cgroup $one"; done
}

# gone CGROUP…: rmdir must work. Who was in it may be a zombie for a moment.
gone() { for one; do await rmdir "$cgroups/$one" 2>/dev/null; done; }

# inside CGROUP COMMAND…: runs it as a process in there. What it says by fail() counts.
inside() {
	(
		me=inside
		echo 0 >"$cgroups/$1/cgroup.procs" || fail "nobody may enter $1"
		shift
		"$@"
	) || exit 1
}

# path CGROUP: $path is the name of its group.
path() { path=${cgroups#/sys/fs/cgroup}/$1; }

# is_group CGROUP, with its record in $record.
is_group() {
	path "$1"
	record groups "name=$path"
}

# child_for CGROUP ROOT: its child of the root, $child.
child_for() {
	path "$1"
	number_of group "$path"
	group=$value
	number_of root "$2"
	root=$value
	put objects alloc making "$2" "$path"
	await record children "root=$root" "owner=$group" stage=active
	value child
	child=$value
	put objects free making
}

dying() { sed -n 's/^nr_dying_descendants //p' /sys/fs/cgroup/cgroup.stat; }
dying_is() { [ "$(dying)" = "$1" ]; }

# children_are NUMBER: there are so many, the roots' own not counted.
children_are() { count children 'child=[1-9]'; [ "$count" = "$1" ]; }
