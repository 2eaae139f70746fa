/* SPDX-License-Identifier: GPL-2.0 */
/* The destruction of a root: protocol/destroy.rs. */

/* Inside::next: the first listed child from c on, with an Arc of it; NC is none. */
inline next(c)
{
	ENTER
		do
		:: c < NC && !listed[c] -> c++
		:: else -> break
		od;
		if :: c < NC -> arc[c]++ :: else fi
	LEAVE
}

/* The same for the destroyer: after the drain nobody else changes the list or drops a child. */
inline next_listed(c)
{
	do
	:: c < NC && !listed[c] -> c++
	:: else -> break
	od
}

/*
 * The callbacks that the drain must have waited for (I1). Of a root that was closing, the close may
 * kill counts at any later moment, as it looked at the phase before. That callback queues nothing,
 * and the count is above zero until it has run.
 */
#define OF_CHILDREN (CB_CALLED(0) | CB_CALLED(1) | CB_CALLED(NC - 1) | \
	(was_closing -> 0 : CB_KILL(1) | CB_KILL(NC - 1)))

/* Queues::flush */
inline flush()
{
#ifndef MUTANT_creations_not_flushed
	flush_workqueue(CREATIONS);
#endif
#ifndef MUTANT_works_not_flushed
	flush_workqueue(WORKS)
#else
	skip
#endif
}

/* Dying::drain */
inline drain(c)
{
#ifdef MUTANT_flush_before_barrier
	flush();
	rcu_barrier();
#else
#ifndef MUTANT_no_rcu_barrier
	rcu_barrier();
#endif
#ifndef MUTANT_b1_no_flush
	flush();
#endif
#endif
#if !defined(MUTANT_b3_no_kill_barrier) && !defined(MUTANT_no_second_barrier)
	/* Inside::has_children */
	ENTER
		c = 1;
		do
		:: c < NC && !listed[c] -> c++
		:: else -> break
		od
	LEAVE;
	if
	:: c < NC -> rcu_barrier()
	:: else
	fi;
#endif
	ENTER
		assert(I1 || (queued == 0 && worked == 0));
		assert(I1 || !(callbacks & OF_CHILDREN));
		c = 0; root_drained(0)
	LEAVE
}

/* From Dying::begin to the end; ok: it was destroyed. */
inline destroy(c)
{
	ENTER
		if
		:: admitted -> root_dying(0)
		:: else -> ok = (phase == OVER); LEAVE_AND(ended)
		fi
	LEAVE;
	drain(c);

	/* Drained::destroy */
	do
	:: atomic { next_listed(c);
		if :: c == NC -> break :: else fi };
	   kill_for_destroy(c);
	   atomic { ok = false; c++ }
	od;
#ifndef MUTANT_left_to_close
	/* A close has marked a count, and not killed it yet. */
	atomic { gate == 0 && killing == 0 -> MAY_SLEEP };
#endif
#if !defined(MUTANT_b3_no_kill_barrier) && !defined(MUTANT_no_kill_barrier)
	rcu_barrier();
#endif
	c = 0;
	do
	:: atomic { next_listed(c);
		if :: c == NC -> break :: else fi };
	   if
	   /* Only an exact count can be compared with zero. */
	   :: atomic { refs[c] > 0 -> assert(I6 || mode[c] == ATOMIC);
		refs[c]++; busy = true };
	      PUT(c, skip, skip);
	      c++
	   :: atomic { refs[c] == 0 -> c++ }
	   fi
	od;
	c = 0;
	if
	:: busy -> hand_back(c)
	:: else -> everything(c)
	fi;
	ok = !busy; busy = false
}

/* The rest of Drained::destroy: no reference is left, and none can be taken. */
inline everything(c)
{
#ifndef MUTANT_releases_not_awaited
	atomic { gate == 0 && unreleased == 0 -> MAY_SLEEP };
#endif
#ifndef MUTANT_not_unpublished_first
	do
	:: atomic { next_listed(c);
		if :: c == NC -> c = 0; break :: else fi };
	   empty_slot(c);
	   c++
	od;
#endif
	do
	:: atomic { next_listed(c);
		if :: c == NC -> break :: else -> arc[c]++ fi };
	   shut_down(c);
	   c = 0
	od;
	/* A concurrent close, walking the list, may hold the last Arc of one. */
#ifdef MUTANT_end_not_awaited
	atomic { gate == 0 ->
#else
	atomic { gate == 0 && undestroyed == 0 ->
#endif
		GATE_LOCK;
		assert(I2 || (!cache[0] && !cache[1] && !cache[NC - 1]));
		/* A callback that has begun has nothing left to do. */
		assert(I1 || (queued == 0 && worked == 0 && !(callbacks & ~running)));
		root_destroy(0); c = 0
	LEAVE
}

/* Drained::hand_back */
inline hand_back(c)
{
	do
	:: atomic { next_listed(c);
		if :: c == NC -> break :: else fi };
	   if
	   :: atomic { refs[c] > 0 -> refs[c]++; held_one = true }
	   :: atomic { refs[c] == 0 -> skip };
	      /* Its release is over, or on its way. */
	      atomic { gate == 0 && (stage[c] == RELEASE_DEFERRED || stage[c] == RELEASE_DEFERRED_MARKED) -> MAY_SLEEP }
	   fi;
	   hand_back_child(c);
	   if
	   :: atomic { ok && held_one -> ok = false };
	      percpu_ref_resurrect(c);
	      PUT(c, held_one = false, skip)
	   :: atomic { ok && !held_one -> ok = false; percpu_ref_start(c) }
	   :: atomic { !ok && !held_one -> skip }
	   :: atomic { !ok && held_one -> skip };
	      PUT(c, held_one = false, skip)
	   fi;
	   c++
	od;
	ENTER
#ifndef MUTANT_b5_dying_stays
		root_busy(0);
#endif
		c = 0
	LEAVE;
#ifndef MUTANT_not_resumed
	do
	:: next(c);
	   if
	   :: c == NC -> break
	   :: else
	   fi;
	   resume(c);
	   drop_child(c);
	   c++
	od;
#endif
	c = 0
}

/* ---- An asynchronous destroy ---- */

inline close(c)
{
	ENTER
		if
		:: phase == LIVE -> root_close(0)
		:: else -> LEAVE_AND(ended)
		fi
	LEAVE;
	do
	:: next(c);
	   if
	   :: c == NC -> break
	   :: else
	   fi;
	   kill_if_closing(c);
	   ok = false;
	   drop_child(c);
	   c++
	od
}

/* ---- Unload: Queues::quiesce ---- */
inline quiesce()
{
#ifndef MUTANT_quiesce_no_barrier
	rcu_barrier();
#endif
#ifndef MUTANT_quiesce_no_flush
	flush();
#endif
#ifndef MUTANT_quiesce_no_synchronize
	synchronize_rcu()
#endif
}
