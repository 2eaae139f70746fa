/* SPDX-License-Identifier: GPL-2.0 */
/* The destruction of a root: protocol/destroy.rs, and protocol/gate/destroyer.rs. */

/* Entered::next: the first listed child from c on, with an Arc of it; NC is none. */
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

/* As that, for the destroyer: after the drain nobody else changes the list or drops a child. */
inline next_listed(c)
{
	do
	:: c < NC && !listed[c] -> c++
	:: else -> break
	od
}

/*
 * What the drain has to have waited for (I1). Of a root that was closing, not what the close has
 * killed: it may do so at any moment after its look at the phase. That callback queues nothing, and
 * who looks at the count finds it above zero.
 */
#define OF_CHILDREN (OFF(0) | OFF(1) | OFF(NC - 1) | (before == CLOSING -> 0 : KILL(1) | KILL(NC - 1)))

inline drain(c)
{
#ifdef MUTANT_flush_before_barrier
	flush_workqueue();
	rcu_barrier();
#else
#ifndef MUTANT_no_rcu_barrier
	rcu_barrier();
#endif
#ifndef MUTANT_b1_no_flush
	flush_workqueue();
#endif
#endif
#if !defined(MUTANT_b3_no_kill_barrier) && !defined(MUTANT_no_second_barrier)
	/* has_children */
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
	atomic {
		assert(I1 || (queued == 0 && worked == 0));
		assert(I1 || !(callbacks & OF_CHILDREN));
		drained = true; c = 0; root_drained(0) }
}

/* Dying::begin to the end; ok: it was destroyed. */
inline destroy(c)
{
	ENTER
		if
		:: admitted ->
			before = phase; phase = DYING; root_dying(0)
		:: else -> ok = (phase == DESTROYED); LEAVE_AND(ended)
		fi
	LEAVE;
	drain(c);

	/* Drained::destroy */
	do
	:: atomic { next_listed(c);
		if :: c == NC -> break :: else fi };
	   condemn(c, DYING);
	   if
	   /* Who closes may have been faster. */
	   :: ok -> percpu_ref_kill(c); atomic { ok = false; c++ }
	   :: else -> c++
	   fi
	od;
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
#ifndef MUTANT_not_parted
	/* Out of the lookup, all of them; Entered::part */
	do
	:: atomic { next_listed(c);
		if :: c == NC -> c = 0; break :: else fi;
		if
		:: slot[home[c]] == c -> slot[home[c]] = NONE; gp_slot[c] = reader; ok = true
		:: else -> c++
		fi };
	   if
	   :: ok -> ENTER kept[c] = true LEAVE; atomic { ok = false; c++ }
	   :: else
	   fi
	od;
#endif
	do
	:: atomic { next_listed(c);
		if :: c == NC -> break :: else -> arc[c]++ fi };
	   shut_down(c);
	   c = 0
	od;
	/* Somebody who closes may have the last hold on one, for a moment. */
#ifdef MUTANT_end_not_awaited
	atomic { gate == 0 ->
#else
	atomic { gate == 0 && undestroyed == 0 ->
#endif
		assert(I2 || (!cache[0] && !cache[1] && !cache[NC - 1]));
		/* One that has begun has nothing left to do. */
		assert(I1 || (queued == 0 && worked == 0 && !(callbacks & ~running)));
		phase = DESTROYED; drained = false; root_destroy(0); c = 0 }
}

inline hand_back(c)
{
	do
	:: atomic { next_listed(c);
		if :: c == NC -> break :: else fi };
	   if
	   :: atomic { refs[c] > 0 -> refs[c]++; held_one = true }
	   :: atomic { refs[c] == 0 -> skip };
	      /* wait_released */
	      atomic { gate == 0 && stage[c] == SUPPRESSED -> MAY_SLEEP }
	   fi;
	   acquit(c);
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
	clear_dying(c)
}

/* Entered::acquit */
inline acquit(c)
{
	ENTER
		ok = false;
		if
#ifdef MUTANT_not_revived
		:: condemned[c] && stage[c] == SUPPRESSED -> skip
#endif
		:: !condemned[c]
		:: condemned[c] && before == CLOSING ->
			if
			:: stage[c] == SUPPRESSED
			:: else -> stage[c] = KILLED
			fi
		:: condemned[c] && before != CLOSING && stage[c] == SUPPRESSED ->
			if
#ifndef MUTANT_revived_though_parted
			:: kept[c]
#endif
			:: else -> stage[c] = ACTIVE; unreleased++; ok = true
			fi
		:: condemned[c] && before != CLOSING && stage[c] != SUPPRESSED -> ok = true
		fi;
		condemned[c] = false;
		if :: ok -> child_resurrect(c) :: else fi
	LEAVE
}

/* Entered::clear_dying, and resume */
inline clear_dying(c)
{
	ENTER
#ifndef MUTANT_b5_dying_stays
		phase = before;
#endif
		drained = false; root_busy(0);
#ifndef MUTANT_not_resumed
		c = 0;
		do
		:: c < NC ->
			if
			:: listed[c] && admitted && stage[c] == SUPPRESSED -> arc[c]++; shutdown(c)
			:: listed[c] && admitted && stage[c] == PARKED && kept[c] ->
				kept[c] = false; deactivation(c)
			:: else
			fi;
			c++
		:: else -> break
		od;
#endif
		c = 0
	LEAVE
}

/* close; ok: this call began it. */
inline close(c)
{
	ENTER
		if
		:: phase == LIVE -> phase = CLOSING; root_close(0)
		:: else -> LEAVE_AND(ended)
		fi
	LEAVE;
	do
	:: next(c);
	   if
	   :: c == NC -> break
	   :: else
	   fi;
	   condemn_if_closing(c);
	   ok = false;
	   drop_child(c);
	   c++
	od
}

/* Releases::quiesce */
inline quiesce()
{
#ifndef MUTANT_quiesce_no_barrier
	rcu_barrier();
#endif
#ifndef MUTANT_quiesce_no_flush
	flush_workqueue();
#endif
#ifndef MUTANT_quiesce_no_synchronize
	synchronize_rcu()
#endif
}
