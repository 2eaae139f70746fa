/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The protocol: each inline is the function of that name in protocol/, step by step. One root, its
 * own cache (child 0, looked up in slot 0), and children of groups, whose ids are used again.
 */

/* ---- What the gate protects (gate.rs: Inside; child.rs: Life) ---- */
#define LIVE      0
#define CLOSING   1
#define DYING     2
#define DESTROYED 3
byte phase, before;
byte unreleased, undestroyed;
bit listed[NC];			/* in Inside::children */

#define ACTIVE       0
#define PARKED       1
#define DEACTIVATING 2
#define KILLED       3
#define SUPPRESSED   4
#define RELEASED     5
byte stage[NC];
bit condemned[NC], kept[NC];

/* ---- What the tree protects (group.rs) ---- */
#define TOP 0
bit online[NG + 1];
byte parent[NG + 1];
byte owner[NC];			/* Identity::owner */
bit owned[NC];			/* in Node::children of its owner */

/* ---- The lookup (root.rs) ---- */
#define NONE 255
byte slot[NG + 1];
bit requested[NG + 1];
byte home[NC];			/* Child::slot */

/* ---- The child itself ---- */
byte arc[NC];			/* how many Arc<Child> there are */
bit cache[NC];			/* its kmem_cache exists */
bit adopted[NC];
byte objects[NC];		/* what was allocated from it, and not freed */
bit drained;			/* the drain has returned; the destroy has not */

#define admitted (phase == LIVE || phase == CLOSING)
#ifdef MUTANT_request_not_admitted
#define admitted_request true
#else
#define admitted_request (phase == LIVE)
#endif
#ifdef MUTANT_adopt_not_admitted
#define admitted_adoption true
#else
#define admitted_adoption (phase == LIVE)
#endif

/* ---- Gate ---- */

inline queue_child(c)
{
	assert(I1 || !drained);
	queue_work(CHILD_WORK(c));
	printf("note %d queue_work(child %d)\n", _pid, c)
}

/* Admission::deactivate: the callback owns what the slot owned. */
inline deactivation(c)
{
	stage[c] = DEACTIVATING;
	child_offline(c);
	printf("note %d call_rcu(child %d)\n", _pid, c);
	call_rcu(c);
#ifdef MUTANT_no_offline_grace_period
	gp_off[c] = 0
#endif
}

/* Admission::shut_down: the callback owns what the count owned. */
inline shutdown(c)
{
	stage[c] = RELEASED;
	child_release(c);
	printf("note %d call_rcu(child %d)\n", _pid, c);
#ifdef MUTANT_release_not_awaited
	of_releases = of_releases | OFF(c);
#endif
	call_rcu(c)
}

/* Entered::release. Its Arc is not the last one: the list of the root has one, as this may not sleep. */
inline release(c)
{
#ifdef MUTANT_b6_release
	ENTER ok = admitted; unreleased--; printf("note %d asks: flag set? leaves the gate\n", _pid);
		if :: ok -> stage[c] = RELEASED; child_release(c)
		:: else -> stage[c] = SUPPRESSED; child_suppress(c) fi LEAVE;
	if
	:: atomic { ok -> printf("note %d call_rcu(child %d)\n", _pid, c);
		call_rcu(c); ok = false; rcu_read_unlock() }
	:: atomic { !ok -> arc[c]--; assert(I5 || arc[c] > 0); rcu_read_unlock() }
	fi
#else
	ENTER
		unreleased--;
		if
		:: admitted -> shutdown(c)
		:: else ->
			stage[c] = SUPPRESSED; child_suppress(c);
			arc[c]--; assert(I5 || arc[c] > 0)
		fi
	LEAVE_RELEASE
#endif
}

/* Entered::offline: of a Retired. */
inline offline_child(c)
{
#ifdef MUTANT_b6_offline
	ENTER ok = admitted && stage[c] == ACTIVE; printf("note %d asks: flag set? leaves the gate\n", _pid);
		if
		:: stage[c] != ACTIVE -> kept[c] = true
		:: else -> if :: ok -> stage[c] = DEACTIVATING
			:: else -> stage[c] = PARKED; child_park(c); kept[c] = true fi
		fi LEAVE;
	if
	:: atomic { ok -> deactivation(c); ok = false }
	:: !ok
	fi
#else
	ENTER
		if
		:: stage[c] != ACTIVE -> kept[c] = true
		:: else ->
			if
			:: admitted -> deactivation(c)
			:: else -> stage[c] = PARKED; child_park(c); kept[c] = true
			fi
		fi
	LEAVE
#endif
}

/* Entered::condemn; ok: it is to be killed. */
inline condemn(c, during)
{
	ENTER
		if
		:: during == DYING && phase == DYING && is_live(c) &&
#ifdef MUTANT_parked_not_condemned
		   stage[c] == ACTIVE ->
#else
		   (stage[c] == ACTIVE || stage[c] == PARKED) ->
#endif
			child_condemn(c); condemned[c] = true; ok = true
		:: during == CLOSING && phase == CLOSING && is_live(c) && stage[c] == ACTIVE ->
			child_condemn(c); stage[c] = KILLED; ok = true
#ifndef MUTANT_marked_not_killed
		/* A close has marked it, and has not come to the kill. */
		:: during == DYING && phase == DYING && is_live(c) && stage[c] == KILLED -> ok = true
#endif
		:: else -> ok = false
		fi
	LEAVE
}

inline condemn_if_closing(c)
{
	condemn(c, CLOSING);
	if :: ok -> percpu_ref_kill(c) :: else fi
}

/* Entered::destroyed, from the drop of Identity. The id may be used again. */
inline destroyed(c)
{
	ENTER
		undestroyed--;
#ifndef MUTANT_last_child_forgotten
		if
		:: phase == CLOSING && undestroyed == 0 -> phase = DESTROYED; root_destroy(0)
		:: else
		fi;
#endif
		adopted[c] = false; life_child[c] = T_before
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
		assert(I2 || !(queued & CHILD_WORK(c)));
		assert(I2 || !(callbacks & (OFF(c) | KILL(c)) & ~running));
		assert(I2 || (gp_slot[c] == 0 && slot[home[c]] != c && !listed[c] && !owned[c] && !kept[c]));
		cache[c] = false; arc[c] = 0;
		if :: adopted[c] -> child_free(c) :: else fi };
	   if :: adopted[c] -> destroyed(c) :: else fi
	fi
}

/* As that, where somebody else has one. */
inline drop_not_last(c) { assert(I5 || arc[c] > 1); arc[c]-- }

/* ---- Shutdown (child.rs) ---- */

/* Child::shut_down; the Arc that it is given is dropped at the end. */
inline shut_down(c)
{
#ifndef MUTANT_not_disowned
	atomic { tree == 0 ->
		/* Groups::disown looks for the owner by its number: it must be there. */
		if
		:: owned[c] -> assert(I4 || online[owner[c]]); owned[c] = false; drop_not_last(c)
		:: else
		fi };
#endif
#ifndef MUTANT_lookup_kept
	atomic { if
		:: slot[home[c]] == c -> slot[home[c]] = NONE; gp_slot[c] = reader; ok = true
		:: else -> ok = false
		fi };
#else
	ok = false;
#endif
#ifdef MUTANT_retired_not_awaited
	ENTER
		if :: kept[c] -> kept[c] = false; drop_not_last(c) :: else fi;
		if :: ok -> drop_not_last(c); ok = false :: else fi; gp_slot[c] = 0
	LEAVE;
#else
	ENTER
		if
		:: kept[c] -> kept[c] = false; assert(I2 || !ok); ok = true
		:: else
		fi
	LEAVE;
	if
	:: atomic { ok && gp_slot[c] == 0 -> MAY_SLEEP; drop_not_last(c); ok = false }
	:: atomic { !ok -> skip }
	fi;
#endif
	ENTER
		if :: listed[c] -> listed[c] = false; drop_not_last(c) :: else fi
	LEAVE;
	atomic { child_shutdown(c) };
	drop_child(c)
}

/* WorkItem for Child */
inline child_work(c)
{
	if
	:: stage[c] == DEACTIVATING ->
#ifdef MUTANT_kill_before_stage
		percpu_ref_kill(c); assert(Kernel || ok);
		ENTER stage[c] = KILLED; child_kill(c) LEAVE;
#else
		ENTER stage[c] = KILLED; child_kill(c) LEAVE;
#ifndef MUTANT_not_killed
		percpu_ref_kill(c); assert(Kernel || ok); ok = false;
#endif
#endif
		drop_child(c)
	:: stage[c] == RELEASED -> shut_down(c)
	:: else -> drop_child(c)
	fi
}

/* ---- Creation (create.rs) ---- */

/* create::request */
inline request(g)
{
	if
	:: atomic { requested[g] -> skip }
	:: atomic { !requested[g] -> requested[g] = true };
#ifdef MUTANT_b6_request
	   ENTER ok = admitted_request; printf("note %d asks: flag set? leaves the gate\n", _pid) LEAVE;
	   if
	   :: atomic { ok -> assert(I1 || !drained); child_request(g); queue_work(REQUEST(g)); ok = false }
	   :: atomic { !ok -> requested[g] = false }
	   fi
#else
	   ENTER
		if
		:: admitted_request ->
			assert(I1 || !drained);
			child_request(g); queue_work(REQUEST(g))
		:: else -> requested[g] = false
		fi
	   LEAVE
#endif
	fi
}

/* Request::make; c is an id that is free. */
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
		:: c < NC && (arc[c] > 0 || life_child[c] != T_before || callbacks & (OFF(c) | KILL(c)) ||
			worked & CHILD_WORK(c)) -> c++
		:: else -> break
		od;
#ifdef REPLAY
		if :: c + 1 < NC && arc[c + 1] == 0 && life_child[c + 1] == T_before -> c++ :: true fi;
#endif
		/* More children of a group than the instance has room for: this run ends here. */
		if :: c == NC -> c = 0; goto aborted :: else fi;
		cache[c] = true; arc[c] = 1; stage[c] = ACTIVE; condemned[c] = false;
		home[c] = g; owner[c] = g; mode[c] = IDLE };
	ENTER
		if
		:: admitted_adoption ->
			unreleased++; undestroyed++; adopted[c] = true; listed[c] = true; arc[c]++;
			ok = true
		:: else -> ok = false
		fi
	LEAVE;
	if
	:: !ok -> drop_child(c); atomic { cache[c] = false; goto aborted }
	:: else
	fi;
#ifdef MUTANT_b2_published_first
	publish(g, c);
	atomic { percpu_ref_start(c) };
	refs[c]++;
#else
	atomic { percpu_ref_start(c) };
#ifndef MUTANT_made_without_reference
	if
	:: atomic { is_dead(c) -> ok = false }
	:: atomic { !is_dead(c) -> ok = true; refs[c]++ }
	fi;
	if :: !ok -> drop_child(c); goto aborted :: else fi;
#endif
	publish(g, c);
#endif
	if
	:: atomic { ok -> skip };
#ifndef MUTANT_created_while_closing
	   condemn_if_closing(c);
#endif
	   atomic { ok = true }
	:: atomic { !ok -> skip };
	   ENTER stage[c] = KILLED; child_kill(c) LEAVE;
	   percpu_ref_kill(c);
	   atomic { ok = false }
	fi;
#ifndef MUTANT_made_without_reference
	PUT(c, skip, skip);
#endif
	drop_child(c);
	if :: ok -> goto made :: else -> goto aborted fi
}

/* Groups::publish */
inline publish(g, c)
{
	atomic { tree == 0 ->
		if
#ifdef MUTANT_published_offline
		:: slot[g] == NONE ->
#else
		:: online[g] && slot[g] == NONE ->
#endif
			assert(I8 || (online[g] && !drained && phase != DESTROYED && listed[c]));
			assert(I8 || phase_of[c] != P_IDLE);
			slot[g] = c; owned[c] = true; arc[c] = arc[c] + 2; child_create(c); ok = true
		:: else -> ok = false
		fi }
}

/* ---- Groups ---- */

inline take_over(g, c)
{
	if
	:: atomic { owned[c] && owner[c] == g ->
		if
		:: slot[home[c]] == c ->
			slot[home[c]] = NONE; gp_slot[c] = reader; ok = true
		:: else -> ok = false
		fi };
		if :: ok -> offline_child(c) :: else fi;
#ifdef MUTANT_b4_owner_gone
		skip
#else
		atomic { ok = false; owner[c] = parent[g]; child_reparent(c) }
#endif
	:: atomic { !(owned[c] && owner[c] == g) -> skip }
	fi
}

/* Groups::offline. No step of it waits for anything but a lock. */
inline offline_group(g)
{
	atomic { TREE_LOCK;
		online[g] = false; group_offline(g);
#if NG > 1
		if :: parent[3 - g] == g -> parent[3 - g] = parent[g] :: else fi
#endif
	};
	take_over(g, 1);
#if NC > 2
	take_over(g, 2);
#endif
	TREE_UNLOCK
}
