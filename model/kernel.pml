/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The kernel as the protocol sees it: the guarantees that it gives, and no more.
 *
 * Every process stands for one flow of control: a task, a worker, a softirq, an interrupt. They
 * interleave without limit, as on as many CPUs as there are processes, which includes two. No other
 * process can see the inside of an atomic block.
 */

/* ---- Contexts. ctx is a constant of each process. ---- */
#define TASK    1
#define WORKER  2
#define SOFTIRQ 3
#define HARDIRQ 4

#define MINE (1 << _pid)

/*
 * A failed assertion names the invariant: these are never set, and print as their names. Kernel is
 * for what the kernel itself demands of its callers (its own WARN_ON), Table for the tables in
 * protocol/stage.rs.
 */
bit I1, I2, I3, I4, I5, I6, I8, I9, Kernel, Table;

/* ---- Spinlocks: the gate of the root, and the tree of groups. 0 is free, else the holder. ---- */
byte gate, tree;

#define GATE_LOCK gate == 0 -> gate = _pid + 1
#define GATE_UNLOCK gate = 0
#define TREE_LOCK tree == 0 -> tree = _pid + 1
#define TREE_UNLOCK tree = 0

/*
 * A section under the gate. With -DFINE the lock is taken and left in steps of their own, so that
 * others are seen to wait for it, and an interrupt may find it taken. Without, the section is one
 * step: nothing that the gate protects is read without it, so nothing else can be seen.
 */
#ifdef FINE
#define ENTER atomic { GATE_LOCK }; atomic {
#else
#define ENTER atomic { GATE_LOCK;
#endif
#define LEAVE ; GATE_UNLOCK }
#define LEAVE_AND(label) GATE_UNLOCK; goto label

/* A call that sleeps: not in an interrupt, not with a lock held. */
#define MAY_SLEEP assert(I5 || ((ctx == TASK || ctx == WORKER) && gate != _pid + 1 && tree != _pid + 1))

/* ---- The interrupt preempts a process, which stands still until it is over. ---- */
#ifdef INTERRUPT
byte preempted = 255;
#ifdef MUTANT_plain_spinlock
#define irqs_on(p) true
#else
#define irqs_on(p) (gate != (p) + 1 && tree != (p) + 1)
#endif
#define RUNS provided (preempted != _pid)
#elif defined(REPLAY)
#define RUNS provided (at != 255)
#else
#define RUNS
#endif

/* ---- RCU ---- */
/*
 * A grace period is the set of the readers that were there when it began, less those that have
 * left since. It may end as soon as that is empty, or any time later.
 */
short reader;
short gp_call[NC], gp_kill[NC];	/* of the callbacks: call_rcu(), and that of percpu_ref_kill() */
short gp_slot[NC];		/* of what was taken out of a slot (Retired) */
short gp_sync;			/* of synchronize_rcu() */

/*
 * Callbacks that were queued and have not returned. A child has three: of its deactivation, of its
 * shutdown, and of its count. The first two are never queued at once: gp_call serves both.
 */
#define CB_DEACTIVATE(c) (1 << (c))
#define CB_SHUTDOWN(c)   (1 << (NC + (c)))
#define CB_KILL(c)       (1 << (2 * NC + (c)))
#define CB_CALLED(c)     (CB_DEACTIVATE(c) | CB_SHUTDOWN(c))
#define CB_ANY(c)        (CB_CALLED(c) | CB_KILL(c))
short callbacks;
short running;			/* of these, those that have begun */
short barrier;			/* of these, those that rcu_barrier() waits for */

#define SEEN(gp) gp = gp & ~MINE
inline rcu_read_lock() { reader = reader | MINE }
inline rcu_read_unlock()
{
	SEEN(reader);
	SEEN(gp_call[1]); SEEN(gp_kill[1]); SEEN(gp_slot[1]);
	SEEN(gp_call[0]); SEEN(gp_kill[0]); SEEN(gp_slot[0]);
#if NC > 2
	SEEN(gp_call[2]); SEEN(gp_kill[2]); SEEN(gp_slot[2]);
#endif
	SEEN(gp_sync)
}

/* Waits for the callbacks that are queued now; for no grace period where there is none. */
#ifdef MUTANT_release_not_awaited
#define AWAITED (callbacks & ~(CB_SHUTDOWN(0) | CB_SHUTDOWN(1) | CB_SHUTDOWN(NC - 1)))
#else
#define AWAITED callbacks
#endif
inline rcu_barrier()
{
	atomic { MAY_SLEEP; barrier = AWAITED;
		printf("note %d rcu_barrier() waits for %d\n", _pid, barrier); barrier == 0 }
}

inline callback_returns(cb)
{
	callbacks = callbacks & ~(cb); running = running & ~(cb); barrier = barrier & ~(cb)
}

inline synchronize_rcu()
{
	atomic { MAY_SLEEP; gp_sync = reader; printf("note %d synchronize_rcu()\n", _pid); gp_sync == 0 }
}

/*
 * ---- The workqueues: an item runs in one worker at a time, and may be queued while it runs. The two
 * items of a child are different ones, so they may run at once. Creations have a queue of their own. ----
 */
#define WORK_DEACTIVATE(c) (1 << (c))
#define WORK_SHUTDOWN(c)   (1 << (NC + (c)))
#define WORK_CREATE(g)     (1 << (2 * NC + (g)))
#define WORK_ANY(c)        (WORK_DEACTIVATE(c) | WORK_SHUTDOWN(c))
#define CREATIONS          (WORK_CREATE(1) | WORK_CREATE(NG))
#define WORKS              (~CREATIONS)
short queued, worked;		/* pending; running */
short flush_queued, flush_worked;	/* of these, those that flush_workqueue() waits for */

inline queue_work(w)
{
	assert(Kernel || !(queued & (w)));
	queued = queued | (w)
}

inline call_rcu(cb, c)
{
	assert(Kernel || !(callbacks & CB_CALLED(c)));
	callbacks = callbacks | cb; gp_call[c] = reader
}

/* Waits for what is queued or running now, not for what is queued meanwhile. */
inline flush_workqueue(queue)
{
	atomic { MAY_SLEEP; flush_queued = queued & (queue); flush_worked = worked & (queue);
		printf("note %d flush_workqueue() waits for %d\n", _pid, flush_queued | flush_worked);
		flush_queued == 0 && flush_worked == 0 }
}

inline work_begins(w)
{
	queued = queued & ~(w); worked = worked | (w);
	flush_worked = flush_worked | (flush_queued & (w)); flush_queued = flush_queued & ~(w)
}

inline work_ends(w) { worked = worked & ~(w); flush_worked = flush_worked & ~(w) }

/* ---- percpu_ref, in its wrapper (abstractions/sync/percpu_ref.rs) ---- */
/*
 * A live count is per-CPU. After the kill, readers that saw it alive still add to it. So it is
 * summed up a grace period later, and only then it can be seen to be zero.
 */
#define IDLE      0
#define PERCPU    1
#define SWITCHING 2
#define ATOMIC    3
byte mode[NC];
byte refs[NC];			/* the sum, whether or not the kernel could form it now */

/* The phase of the wrapper. */
#define P_IDLE   0
#define P_LIVE   1
#define P_KILLING 2
#define P_KILLED 3
byte phase_of[NC];

#define is_live(c) (phase_of[c] == P_LIVE)
#define is_dead(c) (mode[c] != PERCPU)

inline percpu_ref_start(c)
{
	assert(Kernel || (phase_of[c] == P_IDLE && refs[c] == 0 && is_dead(c)));
	phase_of[c] = P_LIVE; mode[c] = PERCPU; refs[c] = 1;
	arc[c]++
}

/*
 * One reference less. The last one, after the kill, calls release() right there, in a read-side
 * critical section. `both` is done in the same step, `then` too where it was not the last.
 */
#ifdef TAILS
#define RELEASED_TAIL atomic { rcu_read_unlock() }
#define LEAVE_RELEASE LEAVE
#else
/* The rest of the release after the gate is a step of its own only where it matters: unload. */
#define RELEASED_TAIL skip
#define LEAVE_RELEASE ; rcu_read_unlock() LEAVE
#endif

#define PUT(c, both, then) \
	if \
	:: atomic { !(mode[c] == ATOMIC && refs[c] == 1) -> \
		assert(Kernel || refs[c] > 0); refs[c]--; both; then } \
	:: atomic { mode[c] == ATOMIC && refs[c] == 1 -> \
		refs[c] = 0; rcu_read_lock(); phase_of[c] = P_IDLE; \
		printf("note %d last reference of child %d is put\n", _pid, c); both }; \
	   release(c); \
	   RELEASED_TAIL \
	fi

/* Two steps, in a read-side critical section of the caller: it is seen alive, and added to. */
inline percpu_ref_get_seen_alive(c)
{
	assert(Kernel || mode[c] == PERCPU || mode[c] == SWITCHING);
	refs[c]++
}

/*
 * percpu_ref_kill() with the wrapper's own reference around it; ok: this call killed the count. The
 * wrapper's phase and the kill itself change in one step: in between a destroyer would find the
 * reference, as before the kill.
 */
inline percpu_ref_kill(c)
{
	if
	:: atomic { phase_of[c] != P_LIVE -> ok = false }
	:: atomic { phase_of[c] == P_LIVE ->
		phase_of[c] = P_KILLING; };
	   atomic {
#ifdef MUTANT_kernel_no_grace_period
		mode[c] = ATOMIC;
#else
		mode[c] = SWITCHING;
		/* One for the callback, less the first one, and one for the wrapper. */
		refs[c]++;
		assert(Kernel || !(callbacks & CB_KILL(c)));
		callbacks = callbacks | CB_KILL(c); gp_kill[c] = reader;
#endif
		printf("note %d percpu_ref_kill(child %d)\n", _pid, c)
	   };
	   PUT(c, skip, phase_of[c] = P_KILLED);
	   ok = true
	fi
}

/* Waits until the kill has switched the count. */
inline percpu_ref_resurrect(c)
{
	atomic { mode[c] != SWITCHING ->
		MAY_SLEEP;
		assert(Kernel || (phase_of[c] == P_KILLED && refs[c] > 0));
		phase_of[c] = P_LIVE; mode[c] = PERCPU; refs[c]++ }
}
