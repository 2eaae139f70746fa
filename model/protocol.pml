/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The protocol: the steps of a child (steps.rs), its creation (create.rs), and the groups (group.rs).
 * Each inline is the function of that name in protocol/, step by step. One root, its own cache (child
 * 0, looked up in slot 0), and children of groups, whose ids are used again.
 *
 * The stage of a child and the phase of the root are those of protocol/stage.rs. Only the events
 * change them: child_offline(c) is the transition of that name, with the check that the table has it.
 */

/* ---- What the gate protects (gate.rs: Inside; child.rs: Life) ---- */
#define phase life_root[0]
#define stage life_child
byte unreleased, undestroyed, killing;
bit listed[NC];			/* in Inside::children */
bit stashed[NC];		/* the Retired of an offline child that was not deactivated */

/* ---- What the tree protects (group.rs) ---- */
#define TOP 0
bit online[NG + 1];
/* The record (Owner) of a group has the number of the group, and is never used again. */
byte above[NG + 1];		/* the record of the parent */
byte heads[NG + 1];		/* the end of the chain of records that it leads to */
byte number[NG + 1];		/* of a head: the group that owns; else stale */
byte count[NG + 1];		/* of a head: how many children that group owns */
byte records[NG + 1];		/* of a head: how many were merged into it, itself among them */
bit owned[NC];			/* in the list of the group that published it */
#define head(r) heads[r]
#define owner(c) number[head(home[c])]

/* ---- The lookup (slots.rs) ---- */
#define NONE 255
byte slot[NG + 1];
bit requested[NG + 1];
byte home[NC];			/* the slot of the child, and the group that published it */

/* ---- The child itself ---- */
byte arc[NC];			/* how many Arc<Child> there are */
bit cache[NC];			/* its kmem_cache exists */
byte objects[NC];		/* allocated from it, and not freed */

#define admitted (phase == LIVE || phase == CLOSING)
#define drained (phase == DRAINED || phase == CLOSING_DRAINED)
#define was_closing (phase == CLOSING_DYING || phase == CLOSING_DRAINED)
#ifdef MUTANT_request_not_admitted
#define admitted_request true
#else
#define admitted_request (phase == LIVE)
#endif
#ifdef MUTANT_link_not_admitted
#define admitted_link true
#else
#define admitted_link (phase == LIVE)
#endif

/* An Arc is dropped that is not the last one. */
inline drop_not_last(c) { assert(I5 || arc[c] > 1); arc[c]-- }

/* Admission::call: the callback owns the Arc. */
inline call(cb, c)
{
	printf("note %d call_rcu(child %d)\n", _pid, c);
	assert(I1 || !drained);
	call_rcu(cb, c)
}

/* ---- Link and publication ---- */

/* ok: the root lists the child, and its count is started; this process holds a reference then. */
inline link(c)
{
	ENTER
		if
		:: admitted_link ->
			unreleased++; undestroyed++; listed[c] = true; arc[c]++;
			ok = true
		:: else -> ok = false
		fi
	LEAVE;
	if
	:: !ok
	:: ok ->
#ifndef MUTANT_b2_published_first
	   atomic { percpu_ref_start(c) };
#ifndef MUTANT_made_without_reference
	   /* A close may have killed the count already. */
	   if
	   :: atomic { is_dead(c) -> ok = false }
	   :: atomic { !is_dead(c) -> refs[c]++ }
	   fi
#endif
#else
	   skip
#endif
	fi
}

/* The child cannot be published. */
inline give_up(c)
{
	/* A close may have killed it already. */
	ENTER if :: stage[c] == NEW -> child_kill(c) :: else fi LEAVE;
	percpu_ref_kill(c)
}

/* ---- Offline ---- */

/* The callback owns what the slot owned. */
inline start_deactivation(c)
{
	call(CB_DEACTIVATE(c), c);
#ifdef MUTANT_no_offline_grace_period
	gp_call[c] = 0
#endif
}

#define stash(c) assert(I2 || !stashed[c]); stashed[c] = true

#ifdef MUTANT_resurrected_though_offline
#define OFFLINE_IS_NOTED(c) (stage[c] == ACTIVE || stage[c] == ACTIVE_MARKED)
#else
#define OFFLINE_IS_NOTED(c) (stage[c] == ACTIVE || stage[c] == ACTIVE_MARKED || stage[c] == RELEASE_DEFERRED_MARKED)
#endif

/* The child was taken out of its slot. */
inline unpublish(c)
{
#ifdef MUTANT_b6_offline
	ENTER
		ok = admitted && stage[c] == ACTIVE;
		printf("note %d asks: flag set? leaves the gate\n", _pid);
		if
		:: ok -> child_offline(c)
		:: !ok && OFFLINE_IS_NOTED(c) -> child_defer_offline(c); stash(c)
		:: else -> stash(c)
		fi
	LEAVE;
	if
	:: atomic { ok -> start_deactivation(c); ok = false }
	:: !ok
	fi
#else
	ENTER
		if
		:: stage[c] == ACTIVE && admitted -> child_offline(c); start_deactivation(c)
		:: !(stage[c] == ACTIVE && admitted) && OFFLINE_IS_NOTED(c) -> child_defer_offline(c); stash(c)
		:: else -> stash(c)
		fi
	LEAVE
#endif
}

/* ---- Release: the last reference is gone ---- */

/*
 * Where the root is dying, the Arc of the count is dropped. It is not the last one, as this may not
 * sleep: the list of the root has one.
 */
inline release(c)
{
#ifdef MUTANT_b6_release
	ENTER
		ok = admitted; unreleased--;
		printf("note %d asks: flag set? leaves the gate\n", _pid);
		if
		:: ok -> child_release(c)
		:: else -> child_defer_release(c)
		fi
	LEAVE;
	if
	:: atomic { ok -> call(CB_SHUTDOWN(c), c); ok = false; rcu_read_unlock() }
	:: atomic { !ok -> drop_not_last(c); rcu_read_unlock() }
	fi
#else
	ENTER
		unreleased--;
		if
		:: admitted -> child_release(c); call(CB_SHUTDOWN(c), c)
		:: else -> child_defer_release(c); drop_not_last(c)
		fi
	LEAVE_RELEASE
#endif
}

/* ---- Shutdown ---- */

/* The cache is gone. The id may be used again. */
inline destroyed(c)
{
	ENTER
		undestroyed--;
#ifndef MUTANT_last_child_forgotten
		if
		:: phase == CLOSING && undestroyed == 0 -> root_destroy(0)
		:: else
		fi;
#endif
		stage[c] = NEW
	LEAVE
}

/* An Arc<Child> is dropped. The last one is the kmem_cache_destroy(). */
inline drop_child(c)
{
	if
	:: atomic { arc[c] > 1 -> arc[c]-- }
	:: atomic { arc[c] == 1 ->
		MAY_SLEEP;
		assert(I2 || (cache[c] && objects[c] == 0));
		assert(I2 || (refs[c] == 0 && phase_of[c] == P_IDLE));
		assert(I2 || !(queued & WORK_ANY(c)));
		assert(I2 || !(callbacks & CB_ANY(c) & ~running));
		assert(I2 || (gp_slot[c] == 0 && slot[home[c]] != c && !listed[c] && !owned[c] && !stashed[c]));
		cache[c] = false; arc[c] = 0;
		/* One that the root refused to list was never one of its children. */
		if :: stage[c] != NEW -> child_free(c) :: else fi };
	   if :: stage[c] == OVER -> destroyed(c) :: else fi
	fi
}

/* The Arc that it is given is dropped at the end. */
inline shut_down(c)
{
#ifndef MUTANT_not_unlinked
	atomic { tree == 0 ->
		/* Groups::unlink. The owner must be there, and have counted the child. */
		if
		:: owned[c] ->
			assert(I4 || (online[owner(c)] && count[head(home[c])] > 0));
			count[head(home[c])]--; owned[c] = false; drop_not_last(c)
		:: else
		fi };
#endif
#ifndef MUTANT_not_unpublished
	atomic { if
		:: slot[home[c]] == c -> slot[home[c]] = NONE; gp_slot[c] = reader; ok = true
		:: else -> ok = false
		fi };
#else
	ok = false;
#endif
	ENTER
#ifdef MUTANT_retired_not_awaited
		if :: ok -> drop_not_last(c); ok = false :: else fi;
		if :: stashed[c] -> stashed[c] = false; drop_not_last(c) :: else fi;
		gp_slot[c] = 0;
#else
		if
		:: stashed[c] -> stashed[c] = false; assert(I2 || !ok); ok = true
		:: else
		fi;
#endif
		if :: listed[c] -> listed[c] = false; drop_not_last(c) :: else fi;
		child_shutdown(c)
	LEAVE;
	/* The readers of the lookup. */
	if
	:: atomic { ok && gp_slot[c] == 0 -> MAY_SLEEP; drop_not_last(c); ok = false }
	:: !ok
	fi;
	drop_child(c)
}

/* The works of a child. */
inline deactivation_work(c)
{
#ifdef MUTANT_kill_before_stage
	percpu_ref_kill(c); assert(Kernel || ok);
	ENTER child_kill(c) LEAVE;
#else
	ENTER child_kill(c) LEAVE;
#ifndef MUTANT_not_killed
	percpu_ref_kill(c); assert(Kernel || ok); ok = false;
#endif
#endif
	drop_child(c)
}

inline shutdown_work(c) { shut_down(c) }

/* ---- What a destroyer of the root does ---- */

inline kill_if_closing(c)
{
	ENTER
		if
		:: phase == CLOSING && is_live(c) && (stage[c] == NEW || stage[c] == ACTIVE) ->
			child_kill(c); killing++; ok = true
		:: else -> ok = false
		fi
	LEAVE;
	if :: ok -> percpu_ref_kill(c); ENTER killing-- LEAVE :: else fi
}

inline kill_for_destroy(c)
{
	if
	:: atomic { !is_live(c) -> skip }
	:: atomic { is_live(c) -> skip };
	   ENTER
		if
		:: stage[c] == ACTIVE -> child_mark_killed(c); ok = true
#ifndef MUTANT_offline_deferred_not_marked
		:: stage[c] == OFFLINE_DEFERRED -> child_mark_killed(c); ok = true
#endif
		:: else -> ok = false
		fi
	   LEAVE;
	   if
	   :: ok -> percpu_ref_kill(c); ok = false
	   :: else
	   fi
	fi
}

/* ok: the count is to be made live again. In a root that was closing, a kill is final. */
inline hand_back_child(c)
{
	ENTER
		if
		:: stage[c] == ACTIVE_MARKED || stage[c] == OFFLINE_DEFERRED_MARKED ->
			if
#ifdef MUTANT_marked_while_closing
			:: was_closing -> ok = false
#else
			:: was_closing -> child_kill(c); ok = false
#endif
			:: else -> child_resurrect(c); ok = true
			fi
#ifndef MUTANT_released_not_resurrected
		:: stage[c] == RELEASE_DEFERRED_MARKED && !was_closing ->
			child_resurrect(c); unreleased++; ok = true
#endif
		:: else -> ok = false
		fi
	LEAVE
}

/* The dying flag is clear again. */
inline resume(c)
{
	ENTER
	if
	:: admitted && (stage[c] == RELEASE_DEFERRED || stage[c] == RELEASE_DEFERRED_MARKED) ->
		arc[c]++; child_release(c); call(CB_SHUTDOWN(c), c)
	:: admitted && stage[c] == OFFLINE_DEFERRED && stashed[c] ->
		stashed[c] = false; child_offline(c); start_deactivation(c)
	:: else
	fi
	LEAVE
}

inline empty_slot(c)
{
	atomic {
		if
		:: slot[home[c]] == c -> slot[home[c]] = NONE; gp_slot[c] = reader; ok = true
		:: else
		fi };
	if
	:: ok -> ENTER stash(c) LEAVE; ok = false
	:: else
	fi
}

/* ---- Creation (create.rs) ---- */

inline request(g)
{
	if
	:: atomic { requested[g] -> skip }
	:: atomic { !requested[g] -> requested[g] = true };
#ifdef MUTANT_b6_request
	   ENTER
		ok = admitted_request;
		printf("note %d asks: flag set? leaves the gate\n", _pid);
		if :: ok -> child_request(g) :: else fi
	   LEAVE;
	   if
	   :: atomic { ok -> assert(I1 || !drained); queue_work(WORK_CREATE(g)); ok = false }
	   :: atomic { !ok -> requested[g] = false }
	   fi
#else
	   ENTER
		if
		:: admitted_request ->
			assert(I1 || !drained);
			child_request(g); queue_work(WORK_CREATE(g))
		:: else -> requested[g] = false
		fi
	   LEAVE
#endif
	fi
}

/* The work. c becomes an id that is free. */
inline make(g, c)
{
	if
#ifdef MUTANT_online_not_asked
	:: atomic { true -> skip };
#else
	:: atomic { tree == 0 && !online[g] -> goto aborted }
	:: atomic { tree == 0 && online[g] -> skip };
#endif
	fi;
	/* Child::new */
	atomic {
		c = 1;
		do
		:: c < NC && (arc[c] > 0 || stage[c] != NEW || callbacks & CB_ANY(c) || worked & WORK_ANY(c)) -> c++
		:: else -> break
		od;
#ifdef REPLAY
		if :: c + 1 < NC && arc[c + 1] == 0 && stage[c + 1] == NEW -> c++ :: true fi;
#endif
		/* More children of a group than the instance has room for: this run ends here. */
		if :: c == NC -> c = 0; goto aborted :: else fi;
		cache[c] = true; arc[c] = 1;
		home[c] = g; mode[c] = IDLE };
	link(c);
	if
	:: !ok -> drop_child(c); goto aborted
	:: else
	fi;
	publish(g, c);
#ifdef MUTANT_b2_published_first
	atomic { percpu_ref_start(c) };
	refs[c]++;
#endif
	if
	:: atomic { ok -> skip };
#ifndef MUTANT_created_while_closing
	   kill_if_closing(c);
#endif
	   atomic { ok = true }
	:: atomic { !ok -> skip };
	   give_up(c);
	   atomic { ok = false }
	fi;
#ifndef MUTANT_made_without_reference
	PUT(c, skip, skip);
#endif
	drop_child(c);
	if :: ok -> goto made :: else -> goto aborted fi
}

/*
 * Under Groups::while_online: the slot, the list of the group, and steps::publish, which takes the
 * gate. A close may have killed the child already: it stays killed then.
 */
inline publish(g, c)
{
#ifdef MUTANT_created_without_gate
	atomic { TREE_LOCK;
#else
	atomic { tree == 0 && gate == 0 -> TREE_LOCK; GATE_LOCK;
#endif
		if
#ifdef MUTANT_published_offline
		:: slot[g] == NONE ->
#else
		:: online[g] && slot[g] == NONE ->
#endif
			assert(I8 || (online[g] && !drained && phase != OVER && listed[c]));
			assert(I8 || phase_of[c] != P_IDLE);
			slot[g] = c; owned[c] = true; count[head(g)]++;
			arc[c] = arc[c] + 2; child_create(c); ok = true
		:: else -> ok = false
		fi;
#ifndef MUTANT_created_without_gate
		GATE_UNLOCK;
#endif
		TREE_UNLOCK }
}

/* ---- Groups (group.rs) ---- */

/* steps::offline: child c, which group g has published, leaves the lookup. */
inline offline(g, c)
{
	if
	:: atomic { owned[c] && home[c] == g ->
		if
		:: slot[home[c]] == c ->
			slot[home[c]] = NONE; gp_slot[c] = reader; ok = true
		:: else -> ok = false
		fi };
		if :: ok -> unpublish(c) :: else fi;
		atomic { ok = false; child_reparent(c) }
	:: atomic { !(owned[c] && home[c] == g) -> skip }
	fi
}

#define LEAD(r, from, into) if :: heads[r] == from -> heads[r] = into :: else fi

/* Owner::merge: one of two heads leads to the other, which has the number of the parent then. */
inline lead(from, into, owner_of_both)
{
#ifndef MUTANT_head_keeps_number
	number[into] = number[owner_of_both];
#endif
#ifndef MUTANT_inherited_not_counted
	count[into] = count[into] + count[from];
#endif
	records[into] = records[into] + records[from];
	LEAD(0, from, into);
	LEAD(1, from, into)
#if NG > 1
	; LEAD(2, from, into)
#endif
}

inline merge(g)
{
	byte below, parent;
	below = head(g); parent = head(above[g]);
	if
	:: records[below] <= records[parent] -> lead(below, parent, parent)
	:: else -> lead(parent, below, parent)
	fi;
	below = 0; parent = 0
}

/* Groups::offline. No step of it waits for anything but a lock. */
inline offline_group(g)
{
	atomic { TREE_LOCK; online[g] = false; group_offline(g) };
	offline(g, 1);
#if NC > 2
	offline(g, 2);
#endif
	atomic {
#ifndef MUTANT_b4_owner_gone
		merge(g);
#endif
		TREE_UNLOCK }
}
