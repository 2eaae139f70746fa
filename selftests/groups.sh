#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=busybox disable=SC2016,SC2030,SC2031,SC2086
# Groups: the tree, reparenting, and creations that race with it.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

# offline NAME: takes the group offline. It must be freed at once, although objects of its children are alive.
offline() {
	number_of group "$1"
	put groups offline "$1"
	event "group_free: ctx=task group=$value parent=[0-9]+ name=$1" || fail "$1 is not freed"
}

several_levels() {
	put roots create r 64
	number_of root r
	root=$value
	new_group a
	a=$group
	new_group b a
	b=$group
	put groups create c b
	make_child c r
	put objects alloc h r c 5
	offline c
	must children "child=$child" "owner=$b"
	must groups name=b children=1
	offline b
	must children "child=$child" "owner=$a"
	must groups name=a children=1
	offline a
	must children "child=$child" owner=0
	# Only the group that had published it reparents it by itself: it moves with what that one's parent owns.
	event "child_reparent: ctx=task root=$root group=$b child=$child" || fail "not reparented"
	has_events 1 "child_reparent: .*" || fail "reparented $count times"
	has_events 1 "child_offline: .* child=$child" || fail "deactivated $count times"
	await has_stage "$child" killed
	objects_from h 0 5
	put objects free h
	await event "child_free: ctx=task root=$root group=0 child=$child"
}

# Each of three levels has a child; the middle group goes offline first.
middle_first() {
	put roots create r 64
	put groups create a
	make_child a r
	child_a=$child a=$group
	put groups create b a
	make_child b r
	child_b=$child
	put groups create c b
	make_child c r
	child_c=$child c=$group
	for name in a b c; do put objects alloc "h$name" r $name; done
	offline b
	must groups name=c "parent=$a"
	must groups name=a children=2
	must children "child=$child_b" "owner=$a"
	must children "child=$child_c" "owner=$c" stage=active
	offline a
	must groups name=c parent=0
	must children "child=$child_a" owner=0
	must children "child=$child_b" owner=0
	await has_stage "$child_a" killed
	await has_stage "$child_b" killed
	must children "child=$child_c" "owner=$c" stage=active
	put objects alloc more r c
	objects_from more 0 1
	for name in ha hb hc more; do put objects free $name softirq; done
	await event "child_free: .* child=$child_a"
	await event "child_free: .* child=$child_b"
	must children "child=$child_c" stage=active
}

# Each of three groups below a has inherited nothing, a has then inherited their children, and top from a.
inherited_is_not_touched() {
	put roots create r 64
	put groups create top
	make_child top r
	number_of group top
	above=$group
	put groups create a top
	make_child a r
	own=$child
	for name in b c d; do
		put groups create $name a
		make_child $name r
		put objects alloc "h$name" r $name
		put groups offline $name
	done
	must groups name=a children=4
	put objects alloc h r a
	events "child_reparent: .*"
	before=$count
	put groups offline a
	must groups name=top children=5
	has_events $((before + 1)) "child_reparent: .*" || fail "reparented $((count - before)) children, not one"
	event "child_reparent: ctx=task root=[0-9]+ group=$above child=$own" || fail "its own is not reparented"
	count children "owner=$above "
	[ "$count" = 5 ] || fail "$count children belong to $above"
	for name in h hb hc hd; do put objects free $name; done
	await record groups name=top children=1
}

# A group that inherited more than its parent did: the parent's record is merged into that of the group.
more_below_than_above() {
	put roots create r 64
	new_group p
	p=$group
	make_child p r
	before=$child
	new_group g p
	g=$group
	children=
	for name in s t u; do
		put groups create $name g
		make_child $name r
		put objects alloc "h$name" r $name
		put groups offline $name
		children="$children $child"
		must children "child=$child" "owner=$g"
	done
	put groups create left g
	make_child left r
	left=$child
	put objects alloc hleft r left
	must groups name=g children=3
	offline g
	must groups name=p children=4
	must groups name=left "parent=$p" children=1
	must children "child=$before" "owner=$p" stage=active
	for child in $children; do must children "child=$child" "owner=$p"; done
	# What is made after that has the same owners.
	put roots create r2 64
	make_child p r2
	must children "child=$child" "owner=$p" stage=active
	children="$children $child $before"
	must groups name=p children=5
	new_group late p
	event "group_create: ctx=task group=$group parent=$p name=late" || fail "late is below another"
	for root in r r2; do put objects alloc "h$root" $root p; done
	offline p
	for child in $children; do must children "child=$child" owner=0; done
	must groups name=left parent=0 children=1
	must groups name=late parent=0 children=0
	offline left
	must children "child=$left" owner=0
	for name in hs ht hu hleft hr hr2; do put objects free $name; done
	await record roots name=r children=0
	await record roots name=r2 children=0
}

# Six children of three levels are shut down in an order that is neither that of the levels nor of the numbers.
shut_down_in_any_order() {
	put roots create r 64
	put groups create top
	put groups create a top
	put groups create b a
	for name in a b; do
		for i in 1 2 3; do
			put groups create $name$i $name
			make_child $name$i r
			put objects alloc h$name$i r $name$i
		done
	done
	for name in b1 a3 b3 b2 a1; do put groups offline $name; done
	must groups name=b children=3
	must groups name=a children=2
	put objects free hb3 softirq
	await record groups name=b children=2
	put groups offline b
	must groups name=a children=4
	put objects free ha1
	await record groups name=a children=3
	put groups offline a
	must groups name=top children=3
	must groups name=a2 children=1
	put groups offline a2
	must groups name=top children=4
	left=4
	for name in b1 a3 a2 b2; do
		put objects free h$name $hardirq
		left=$((left - 1))
		await record groups name=top children=$left
	done
	await has_events 6 "child_free: .*"
	must roots name=r children=0
}

by_name() {
	for i in $(seq 30); do put groups create "name$i"; done
	for i in $(seq 2 2 30); do put groups offline "name$i"; done
	for i in $(seq 30); do
		case $((i % 2)) in
		0)
			refused ENOENT groups offline "name$i"
			put groups create "name$i" ;;
		*) refused EEXIST groups create "name$i" ;;
		esac
	done
	refused ENOENT groups offline name
	refused ENOENT groups offline name1000
	put groups create name
	put groups offline name
	for i in $(seq 30); do
		number_of group "name$i"
		put groups offline "name$i"
		event "group_offline: ctx=task group=$value parent=0 name=name$i" || fail "another group is offline"
	done
	not record groups || fail "a group is left"
}

# A group serves no allocation from a child that it has inherited from a group below.
inherited_does_not_serve() {
	put roots create r 64
	put groups create a
	put groups create b a
	make_child b r
	inherited=$child
	put objects alloc h r b
	offline b
	block
	put objects alloc x r a
	objects_from x 1 0
	unblock
	await event "child_create: .*group=[0-9]+ child=[0-9]+"
	must children "child=$inherited"
	put objects free h
	put objects free x
}

several_roots() {
	put groups create g
	for root in r1 r2 r3; do
		put roots create $root 64
		make_child g $root
		put objects alloc "h$root" $root g 2
	done
	must groups name=g children=3
	offline g
	has_events 3 "child_offline: .*" || fail "$count children offline"
	for root in r1 r2 r3; do must roots name=$root children=1; done
	put objects free hr2 $hardirq
	await record roots name=r2 children=0
	must roots name=r1 children=1
	put objects free hr1
	put objects free hr3
	await record roots name=r1 children=0
	await record roots name=r3 children=0
}

name_again() {
	put roots create r 64
	numbers=
	for i in 1 2 3; do
		put groups create same
		make_child same r
		case " $numbers " in *" $child "*) fail "child $child for two groups" ;; esac
		numbers="$numbers $child"
		put objects alloc "h$i" r same "$i"
		objects_from "h$i" 0 "$i"
		offline same
	done
	for child in $numbers; do await has_stage "$child" killed; done
	put objects free h2
	child=${numbers#* * }
	await event "child_free: .* child=${child%% *}"
	must objects handle=h1 from_children=1
	must objects handle=h3 from_children=3
}

# objects_in CACHE: $objects is the number of its objects in use, without those in per-CPU lists.
objects_in() {
	echo 1 >"$1/shrink"
	read -r objects _ <"$1/objects"
}
has_objects() {
	objects_in "$1"
	[ "$objects" = "$2" ]
}

origin() {
	put roots create r 512
	number_of root r
	own="$slab/kmemcg:r.$value"
	group_with_child g r
	cache_of "$child"
	put objects alloc own r - 70
	put objects alloc child r g 30
	await has_objects "$own" 70
	await has_objects "$cache" 30
	put groups offline g
	await has_stage "$child" killed
	await has_objects "$cache" 30
	put objects alloc more r - 5
	put objects free own $hardirq
	await has_objects "$own" 5
	await has_objects "$cache" 30
	put objects free child softirq
	await not test -e "$cache"
	await has_objects "$own" 5
}

# The object that is left keeps one slab; the slabs of the others are empty when the group goes offline.
shrunk() {
	put roots create r 512
	group_with_child g r
	cache_of "$child" || fail "no cache of child $child"
	put objects alloc many r g 200
	put objects alloc last r g
	put objects free many
	read -r slabs _ <"$cache/slabs"
	[ "$slabs" -gt 1 ] || fail "$slabs slabs before the deactivation"
	put groups offline g
	await has_stage "$child" killed
	read -r slabs _ <"$cache/slabs"
	[ "$slabs" = 1 ] || fail "$slabs slabs after the deactivation"
}

many() {
	number=200
	put roots create r 32
	groups_with_children $number
	must roots name=r children=$number
	for i in $(seq $number); do
		put objects alloc "i$i" r "g$i"
		put groups offline "g$i"
	done
	count objects '^handle=i.* from_root=0 from_children=1$'
	[ "$count" = $number ] || fail "$count of $number groups were served by their children"
	has_events $number "group_free: .*" || fail "$count of $number groups are freed"
	not record groups || fail "a group is left"
	for i in $(seq $number); do
		put objects free "i$i" softirq
	done
	await has_events $number "child_free: .*"
	must roots name=r children=0
}

# Two processors request the same child, for 40 groups.
two_processors() {
	put roots create r 64
	for i in $(seq 40); do
		put groups create "g$i"
	done
	for cpu in 0 1; do
		(
			me=$cpu
			taskset -cp "$cpu" "$(cut -d ' ' -f 4 /proc/self/stat)" >/dev/null 2>&1
			for i in $(seq 40); do
				put objects alloc "a$cpu.$i" r "g$i"
				put objects alloc "b$cpu.$i" r "g$i"
			done
			: >"$scratch/allocated.$cpu"
		) &
	done
	await test -e "$scratch/allocated.0"
	await test -e "$scratch/allocated.1"
	await no_request_left
	must roots name=r children=40
	double=$(sed -n 's/.* child_create: .* \(group=[0-9]*\) .*/\1/p' "$trace/trace" | sort | uniq -d)
	[ -z "$double" ] || fail "more than one child for $double"
}

creation_of_offline() {
	put roots create r 64
	block
	new_group g
	put objects alloc h r g
	event "child_request: .* group=$group child=0" || fail "no request"
	put groups offline g
	no_event "group_free: .*"
	unblock
	await event "child_abort: .* group=$group child=0"
	await event "group_free: .* group=$group parent=0 name=g"
	no_event "child_create: .*"
	must roots name=r children=0
}

creation_races() {
	put roots create r 64
	for i in $(seq 80); do
		put groups create g
		put objects alloc "h$i" r g
		put groups offline g
	done
	await no_request_left
	await has_events 80 "group_free: .*"
	# No child may be published for a group that is offline.
	late=$(awk '/ group_offline: / { sub(/.* group=/, ""); off[$1] = 1 }
		/ child_create: / { sub(/.* group=/, ""); if ($1 in off) print $1 }' "$trace/trace")
	[ -z "$late" ] || fail "a child for offline groups: $late"
	events "child_create: .*"
	created=$count
	has_events "$created" "child_offline: .*" || fail "$created children created, $count went offline"
	for i in $(seq 80); do
		put objects free "h$i" softirq
	done
	await record roots name=r children=0
}

# The indices of the groups that are left may be larger than the limit.
limit_counts_groups() {
	for i in 1 2 3 4; do put groups create g$i; done
	put groups offline g1
	put groups offline g2
	put groups limit 3
	put groups create g5
	refused ENOSPC groups create g6
	put groups limit 4
	put groups create g6
	refused ENOSPC groups create g7
}

tests "I4 over several levels each group is freed, and its child is reparented" several_levels \
	"I4 a group in the middle of the tree may go offline first" middle_first \
	"I10 offline does not touch inherited children" inherited_is_not_touched \
	"I4 children belong to the right group where more was inherited below than above" more_below_than_above \
	"I4 inherited children are shut down in any order, and counted" shut_down_in_any_order \
	"many groups are found by their names" by_name \
	"as many groups can be made as the limit says, whatever indices they have" limit_counts_groups \
	"I3 an inherited child serves no allocation" inherited_does_not_serve \
	"I4 a group that goes offline deactivates its children of all roots" several_roots \
	"I3 a group's name can be used again while objects of the old one are alive" name_again \
	"I3 objects are freed to the cache that they came from" origin \
	"I3 a deactivation frees the empty slabs of the cache" shrunk \
	"I4 200 groups are freed while objects of their children are alive" many \
	"I8 two processors request the same child, and one is created" two_processors \
	"I8 the creation of a child is aborted if its group is offline" creation_of_offline \
	"I8 a creation that races with offline makes no child of an offline group" creation_races
