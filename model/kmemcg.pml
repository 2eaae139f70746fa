/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The release protocol of rust_kmemcg, to be searched to the end: one root, its groups, and the
 * processes that act on them. model/instances says which parts (-D...) an instance has.
 */
#ifndef NG
#define NG 2			/* groups; the second is below the first, if NESTED */
#endif
#ifndef NC
#define NC (NG + 1)		/* ids for children, that of the root's own cache among them */
#endif
#ifndef NU
#define NU 2			/* users, each with one object at a time */
#endif

#ifdef REPLAY
/*
 * The search follows a trace: each event must be the next one of it (MATCH, from model/trace.awk), in
 * its context, or the run ends there. Where the end is reached, the trace is one of the model.
 */
byte at;
bit Trace;
#define SAY(event, x) \
	if \
	:: MATCH(event, x) -> at++; \
		c_code { static int far; if (now.at > far) { far = now.at; printf("reached %d\n", far); } }; \
		assert(Trace || at < LENGTH) \
	:: else -> at = 255; false \
	fi
#include "trace.pml"
#else
#define SAY(event, x) skip
#endif
bit unloaded;
byte life_child[NC], life_root[1], life_group[NG + 1];

#include "kernel.pml"
#include "transitions.pml"
#include "protocol.pml"
#include "destroy.pml"

byte held[NU];			/* the cache of a user's object */
byte given;			/* objects that an interrupt is to free */
byte at_work;			/* how many users, offliners and closers have not ended */
bit busy_worker;

/* ---- Users: protocol/alloc.rs ---- */

#ifdef MUTANT_put_before_free
#define FREE(i) \
	atomic { c = held[i] }; \
	PUT(c, skip, skip); \
	atomic { assert(I3 || cache[c]); objects[c]--; held[i] = NONE; c = 0; \
		printf("note %d an object is freed\n", _pid) }
#else
#define FREE(i) \
	atomic { c = held[i]; assert(I3 || (cache[c] && objects[c] > 0)); objects[c]--; \
		printf("note %d an object of child %d is freed\n", _pid, c) }; \
	PUT(c, held[i] = NONE, skip); \
	c = 0
#endif

/* A reader has found child c: its memory is there, and was initialised. */
#define LOOK(c) assert(I2 || cache[c]); assert(I8 || mode[c] != IDLE)

inline allocate_from(c, i)
{
	/* The reference keeps it alive from here. */
	atomic { LOOK(c); percpu_ref_get_seen_alive(c); rcu_read_unlock();
		printf("note %d an object of child %d is allocated\n", _pid, c);
		objects[c]++; held[i] = c; c = 0 }
}

inline alloc(i, g)
{
	atomic { c = slot[g];
		if
		:: c != NONE -> rcu_read_lock()
		:: else
		fi };
	if
	:: atomic { c == NONE -> c = 0 };
#ifdef CREATE
	   request(g)
#else
	   skip
#endif
	:: c != NONE ->
		if
		:: atomic { !is_dead(c) -> LOOK(c) };
		   allocate_from(c, i);
		   goto served
		:: atomic { is_dead(c) -> LOOK(c); rcu_read_unlock(); c = 0 }
		fi
	fi;
	atomic { c = slot[0];
		if
		:: c != NONE -> rcu_read_lock()
		:: else -> c = 0; goto served
		fi };
	if
	:: atomic { !is_dead(c) -> LOOK(c) };
	   allocate_from(c, i)
	:: atomic { is_dead(c) -> LOOK(c); rcu_read_unlock(); c = 0 }
	fi
}

#ifdef REPLAY
/*
 * A trace does not show objects: a user may have one or none at any moment, of any cache. A user that
 * requests a child may have looked before there was one.
 */
#define ALLOCATES(g) \
	atomic { held[i] == NONE && slot[g] != NONE && mode[slot[g]] == PERCPU -> \
		held[i] = slot[g]; objects[slot[g]]++; refs[slot[g]]++ }
#define ASKS(g) \
	atomic { gate == 0 && !requested[g] && admitted_request -> GATE_LOCK; \
		requested[g] = true; child_request(g); queue_work(WORK_CREATE(g)); GATE_UNLOCK }
#define LAST (mode[held[i]] == ATOMIC && refs[held[i]] == 1)

proctype user(byte i; byte g) RUNS
{
	byte c, ctx = TASK;
	bit ok;

	do
	:: ALLOCATES(0)
	:: ALLOCATES(1)
	:: ASKS(1)
#if NG > 1
	:: ALLOCATES(2)
	:: ASKS(2)
#endif
	:: atomic { held[i] != NONE && !LAST ->
		objects[held[i]]--; refs[held[i]]--; held[i] = NONE }
	:: atomic { held[i] != NONE && LAST ->
		if
		:: ctx = TASK
		:: ctx = SOFTIRQ
		:: ctx = HARDIRQ
		fi;
		c = held[i]; objects[c]--; held[i] = NONE; refs[c] = 0; phase_of[c] = P_IDLE; rcu_read_lock() };
	   release(c);
	   atomic { c = 0; ctx = TASK }
	od
}
#else
proctype user(byte i; byte g) RUNS
{
	byte c, allocations = ALLOCS, ctx = TASK;
	bit ok;

	do
#ifdef INTERRUPT
	:: held[i] != NONE -> FREE(i)
	:: atomic { held[i] != NONE -> given = given | (1 << i) };
	   held[i] == NONE
#else
	/* In an interrupt of some CPU: it goes on by itself, as any other process here. */
	:: atomic { held[i] != NONE -> ctx = HARDIRQ };
	   FREE(i);
	   ctx = TASK
#endif
	:: atomic { held[i] == NONE && allocations > 0 -> allocations-- };
	   alloc(i, g);
served:	   skip
	:: atomic { held[i] == NONE && allocations == 0 -> at_work--; break }
	od
}

#endif

#ifdef INTERRUPT
proctype irq()
{
	byte c, i, ctx = HARDIRQ;
	bit ok;

end:	do
	:: atomic { given ->
		if
		:: given & 1 -> i = 0
#if NU > 1
		:: given & 2 -> i = 1
#endif
		fi;
		given = given & ~(1 << i);
		if
		:: irqs_on(2) -> preempted = 2
		:: irqs_on(3) -> preempted = 3
		:: irqs_on(4) -> preempted = 4
		:: irqs_on(5) -> preempted = 5
		:: irqs_on(6) -> preempted = 6
		:: irqs_on(7) -> preempted = 7
		fi
	   };
	   FREE(i);
	   atomic { i = 0; preempted = 255 }
	od
}
#endif

/* ---- RCU callbacks ---- */
#define READY(cb, gp) ((callbacks & (cb)) && !(running & (cb)) && (gp) == 0)

/*
 * The work owns what the callback owned. It needs no admission: the callback had one. Each kind of
 * callback queues the work of its kind.
 */
#ifdef TAILS
#define RETURNED ; } atomic {
#else
#define RETURNED ;
#endif

inline queue_from_callback(w, c)
{
#ifdef MUTANT_callback_asks
	if
	:: !admitted -> drop_not_last(c)
	:: else ->
#endif
		assert(I1 || !drained);
		queue_work(w);
		printf("note %d queue_work(child %d)\n", _pid, c)
#ifdef MUTANT_callback_asks
	fi
#endif
}

inline deactivation_callback(c)
{
	ENTER child_rcu(c) LEAVE;
	atomic { queue_from_callback(WORK_DEACTIVATE(c), c) RETURNED callback_returns(CB_DEACTIVATE(c)); c = 0 }
}

inline shutdown_callback(c)
{
	atomic { queue_from_callback(WORK_SHUTDOWN(c), c) RETURNED callback_returns(CB_SHUTDOWN(c)); c = 0 }
}

proctype softirq() RUNS
{
	byte c, ctx = SOFTIRQ;
	bit ok;

end:	do
	:: atomic { READY(CB_KILL(0), gp_kill[0]) -> c = 0; running = running | CB_KILL(0); mode[0] = ATOMIC;
		printf("note %d grace period over: the count of child 0 is exact\n", _pid) };
killed:	   PUT(c, skip, skip);
	   atomic { callback_returns(CB_KILL(c)); c = 0 }
	:: atomic { READY(CB_KILL(1), gp_kill[1]) -> c = 1; running = running | CB_KILL(1); mode[1] = ATOMIC;
		printf("note %d grace period over: the count of child 1 is exact\n", _pid); goto killed }
	:: atomic { READY(CB_DEACTIVATE(1), gp_call[1]) -> c = 1; running = running | CB_DEACTIVATE(1) };
offlined:	   deactivation_callback(c)
	:: atomic { READY(CB_SHUTDOWN(0), gp_call[0]) -> c = 0; running = running | CB_SHUTDOWN(0) };
released:	   shutdown_callback(c)
	:: atomic { READY(CB_SHUTDOWN(1), gp_call[1]) -> c = 1; running = running | CB_SHUTDOWN(1); goto released }
#if NC > 2
	:: atomic { READY(CB_KILL(2), gp_kill[2]) -> c = 2; running = running | CB_KILL(2); mode[2] = ATOMIC;
		printf("note %d grace period over: the count of child 2 is exact\n", _pid); goto killed }
	:: atomic { READY(CB_DEACTIVATE(2), gp_call[2]) -> c = 2; running = running | CB_DEACTIVATE(2); goto offlined }
	:: atomic { READY(CB_SHUTDOWN(2), gp_call[2]) -> c = 2; running = running | CB_SHUTDOWN(2); goto released }
#endif
	od
}

/* ---- Workers ---- */
#define WAITS(w) ((queued & (w)) && !(worked & (w)))

inline work_taken(w)
{
	assert(I1 || !drained); assert(I9 || !unloaded);
	work_begins(w)
}

proctype worker(bit second) RUNS
{
	byte c, g, ctx = WORKER;
	bit ok;

	/* They are alike: the second one is needed only while the first is busy. */
end:	do
	:: atomic { (!second || busy_worker) && WAITS(WORK_DEACTIVATE(1)) -> c = 1;
		work_taken(WORK_DEACTIVATE(1)); busy_worker = busy_worker || !second };
deactivates:	   deactivation_work(c);
	   atomic { work_ends(WORK_DEACTIVATE(c));
		busy_worker = busy_worker && second; c = 0; ok = false }
	:: atomic { (!second || busy_worker) && WAITS(WORK_SHUTDOWN(0)) -> c = 0;
		work_taken(WORK_SHUTDOWN(0)); busy_worker = busy_worker || !second };
shuts_down:	   shutdown_work(c);
	   atomic { work_ends(WORK_SHUTDOWN(c));
		busy_worker = busy_worker && second; c = 0; ok = false }
	:: atomic { (!second || busy_worker) && WAITS(WORK_SHUTDOWN(1)) -> c = 1;
		work_taken(WORK_SHUTDOWN(1)); busy_worker = busy_worker || !second; goto shuts_down }
#if NC > 2
	:: atomic { (!second || busy_worker) && WAITS(WORK_DEACTIVATE(2)) -> c = 2;
		work_taken(WORK_DEACTIVATE(2)); busy_worker = busy_worker || !second; goto deactivates }
	:: atomic { (!second || busy_worker) && WAITS(WORK_SHUTDOWN(2)) -> c = 2;
		work_taken(WORK_SHUTDOWN(2)); busy_worker = busy_worker || !second; goto shuts_down }
#endif
#ifdef CREATE
	:: atomic { (!second || busy_worker) && WAITS(WORK_CREATE(1)) -> g = 1; work_taken(WORK_CREATE(1)) };
create:	   busy_worker = busy_worker || !second;
	   make(g, c);
aborted:   child_abort(g);
made:	   atomic { requested[g] = false; work_ends(WORK_CREATE(g));
		busy_worker = busy_worker && second; c = 0; g = 0; ok = false }
#if NG > 1
	:: atomic { (!second || busy_worker) && WAITS(WORK_CREATE(2)) -> g = 2; work_taken(WORK_CREATE(2)); goto create }
#endif
#endif
	od
}

/* ---- Groups go offline ---- */
#ifndef NO_OFFLINE
proctype offliner(byte g) RUNS
{
	byte ctx = TASK;
	bit ok;

	if
	:: true -> offline_group(g)
	:: true
	fi;
	at_work--
}
#endif

/* ---- The root is closed: an asynchronous destroy ---- */
#ifdef CLOSE
proctype closer() RUNS
{
	byte c, ctx = TASK;
	bit ok;

	close(c);
ended:	atomic { at_work--; c = 0; ok = false }
}
#endif

/* ---- The destroyer; in the end the module is unloaded, or not ---- */
proctype destroyer() RUNS
{
	byte c, ctx = TASK, times = DESTROYS;
	bit ok, busy, held_one, unloading;

#ifdef REPLAY
	times = 1;
#endif
	do
#ifdef REPLAY
	:: admitted ->
#else
	:: times > 0 -> times--;
#endif
again:	   destroy(c);
ended:	   atomic { ok = false; c = 0;
		if
		:: unloading -> unloading = false; break
		:: else
		fi }
	:: atomic { times == 0 && at_work == 0 -> unloading = true; goto again }
	:: times == 0 -> goto stays
	od;
	atomic { assert(I6 || phase == OVER); printf("note %d unload\n", _pid) };
	/* Groups::clear */
	atomic { tree == 0 -> assert(I9 || (!owned[1] && !owned[NC - 1])) };
	quiesce();
	atomic { unloaded = true;
		assert(I9 || (queued == 0 && worked == 0 && callbacks == 0));
		assert(I9 || (reader == 0 && given == 0));
		assert(I9 || (!cache[0] && !cache[1] && !cache[NC - 1])) };
stays:	skip
}

/* ---- When nothing moves any more ---- */
/* A child that serves no more, and has no object, is gone. */
#define GONE(c) (!cache[c] || objects[c] > 0 || (phase == LIVE && slot[home[c]] == c && phase_of[c] == P_LIVE))

#ifndef REPLAY
active proctype rest()
{
	timeout ->
	/* No deadlock: a process that is not at its end would wait for ever. */
	assert(I6 || (gate == 0 && tree == 0 && at_work == 0));
	assert(I6 || (queued == 0 && worked == 0 && callbacks == 0));
	assert(I6 || (phase == LIVE || phase == OVER));
	assert(I6 || (GONE(0) && GONE(1) && GONE(NC - 1)));
	assert(I6 || phase != OVER || (!cache[0] && !cache[1] && !cache[NC - 1]));
	/* The root serves as before. */
	assert(I6 || phase != LIVE || (slot[0] == 0 && phase_of[0] == P_LIVE));
	assert(I4 || !owned[1] || online[owner(1)]);
	assert(I4 || !owned[NC - 1] || online[owner(NC - 1)])
}
#endif

inline child_exists(c)
{
	cache[c] = true; listed[c] = true;
	unreleased++; undestroyed++;
	arc[c] = 2; percpu_ref_start(c);
	stage[c] = ACTIVE
}

/* close() has killed it; the grace period is not over. */
inline is_closed(c)
{
	stage[c] = KILLED;
	phase_of[c] = P_KILLED; mode[c] = SWITCHING; callbacks = callbacks | CB_KILL(c)
}

init
{
	atomic {
		online[TOP] = true; records[TOP] = 1;
		phase = LIVE;
		child_exists(0);
		slot[1] = NONE;
		online[1] = true; life_group[1] = ONLINE;
		heads[1] = 1; number[1] = 1; records[1] = 1;
#if NG > 1
		slot[2] = NONE;
		online[2] = true; life_group[2] = ONLINE;
		heads[2] = 2; number[2] = 2; records[2] = 1;
#ifdef NESTED
		above[2] = 1;
#endif
#endif
#ifndef CREATE
		child_exists(1); arc[1]++; owned[1] = true; count[1] = 1; home[1] = 1; slot[1] = 1;
#if NG > 1
		child_exists(2); arc[2]++; owned[2] = true; count[2] = 1; home[2] = 2; slot[2] = 2;
#endif
#endif
		held[0] = NONE;
#if NU > 1
		held[1] = NONE;
#endif
#ifndef CREATE
		/* Each holds an object. */
		held[0] = 1; objects[1]++; refs[1]++;
#if NU > 1
		held[1] = NC - 1; objects[NC - 1]++; refs[NC - 1]++;
#endif
#endif
#ifdef CLOSED
		/* The root was closed just before. */
		phase = CLOSING;
		is_closed(0);
		is_closed(1);
#endif
		at_work = NU;
		run destroyer();
		run worker(0);
		run worker(1);
		run softirq();
		run user(0, 1);
#if NU > 1
		run user(1, NG);
#endif
#ifndef NO_OFFLINE
		at_work++; run offliner(1);
#if NG > 1
		at_work++; run offliner(2);
#endif
#endif
#ifdef CLOSE
		at_work++; run closer();
#endif
#ifdef INTERRUPT
		run irq();
#endif
	}
}
