/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Shared by the actors of torture: counters, checks, and objects with a name.
 */
#ifndef TORTURE_H
#define TORTURE_H

#include "knobs.h"

enum counter {
	ROOTS_CREATED,
	ROOTS_DESTROYED,
	ROOTS_CLOSED,
	ROOTS_BUSY,
	GROUPS_CREATED,
	GROUPS_OFFLINE,
	ALLOCATIONS,
	OBJECTS_ALLOCATED,
	FREES_TASK,
	FREES_SOFTIRQ,
	FREES_HARDIRQ,
	REFUSALS,
	CGROUPS_MADE,
	ATTACHED,
	HOLDS,
	BLOCKS,
	READS,
	PRESSURES,
	HOTPLUGS,
	RELOADS,
	COUNTERS
};

static const char *const counters[COUNTERS] = {
	"roots", "destroyed", "closed", "busy", "groups", "offline", "allocations", "objects",
	"frees in task", "in softirq", "in hardirq", "refused", "cgroups", "attached", "holds",
	"blocks", "reads", "pressures", "hotplugs", "reloads",
};

/* Shared by all processes. */
struct shared {
	bool stop, rt;
	int slow;
	unsigned long errors, longest_free;
	unsigned long counts[COUNTERS], acts[16];
};

#define HANDLES 12

struct handle {
	bool used;
	int objects;
	char root[24];
};

/* The state of one actor. The parent reads it when the actor is stuck. */
struct self {
	int number, pid;
	bool finish;
	char name[24], command[80];
	unsigned int groups, names;
	struct handle handles[HANDLES];
};

static struct shared *shared;

static inline void count_many(enum counter counter, unsigned long n)
{
	__atomic_fetch_add(&shared->counts[counter], n, __ATOMIC_RELAXED);
}

static inline void count(enum counter counter)
{
	count_many(counter, 1);
}

static inline bool failed(void)
{
	return READ_ONCE(shared->errors);
}

/* The number of operations: an allocation of several objects is one. */
static inline unsigned long total(void)
{
	unsigned long sum = 0;

	for (int i = 0; i < COUNTERS; i++)
		sum += i == OBJECTS_ALLOCATED ? 0 : shared->counts[i];
	return sum;
}

__attribute__((format(printf, 2, 3))) static inline void check(bool kept, const char *format, ...)
{
	char text[200];
	va_list args;

	if (kept || __atomic_fetch_add(&shared->errors, 1, __ATOMIC_RELAXED) > 10)
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	ksft_print_msg("FAILED: %s\n", text);
}

/* Mostly no pause, sometimes a short one, rarely a long one. */
static inline void pace(void)
{
	switch (pick(16)) {
	case 0: nap(pick(20000)); break;
	case 1 ... 3: nap(pick(1000)); break;
	}
}

/* order: writes a command, and records it as the one that the actor is in. */
#define order(self, file, ...)                                                   \
	({                                                                       \
		snprintf((self)->command, sizeof((self)->command), __VA_ARGS__); \
		knob(file, "%s", (self)->command);                               \
	})

/* must: writes a command that must succeed. */
#define must(self, file, ...)                                                                   \
	({                                                                                      \
		int error_ = order(self, file, __VA_ARGS__);                                    \
		check(!error_, "%s: %s: %s", (self)->name, (self)->command, strerror(-error_)); \
		!error_;                                                                        \
	})

static inline int a_context(void)
{
	return pick(shared->rt ? 2 : 3);
}

static const char *const contexts[] = { "task", "softirq", "hardirq" };

/* Copies the record that contains KEY=VALUE; false where there is none. */
static inline bool record(const char *file, const char *key, const char *value, char *to,
			  size_t size)
{
	char *text = knob_read(file), found[64];
	bool there = false;

	for (char *line, *rest = text; !there && rest && (line = strtok_r(rest, "\n", &rest));) {
		there = field(line, key, found, sizeof(found)) && !strcmp(found, value);
		if (there)
			snprintf(to, size, "%s", line);
	}
	free(text);
	return there;
}

/* ---- objects ---- */

/*
 * Allocates with handle i of the actor; returns the error. In an interrupt -ENOMEM is
 * allowed: it cannot reclaim memory.
 */
static inline int alloc_as(struct self *self, int i, const char *root, const char *group)
{
	int objects = once_in(20) ? 1 + pick(300) : 1 + pick(8), context = a_context(), error;
	struct handle *handle = &self->handles[i];
	char name[32], line[256];
	long from;

	error = order(self, "objects", "alloc h%d.%d %s %s %d %s", self->number, i, root, group,
		      objects, contexts[context]);
	if (error == -ENOMEM && context) {
		count(REFUSALS);
		return error;
	}
	if (error)
		return error;
	*handle = (struct handle){ .used = true, .objects = objects };
	snprintf(handle->root, sizeof(handle->root), "%s", root);
	count(ALLOCATIONS);
	count_many(OBJECTS_ALLOCATED, objects);
	if (!once_in(8))
		return 0;
	/* I3: the objects exist, and each was allocated from a cache of that root. */
	snprintf(name, sizeof(name), "h%d.%d", self->number, i);
	check(record("objects", "handle", name, line, sizeof(line)), "%s: there is no %s",
	      self->name, name);
	from = number_field(line, "from_root") + number_field(line, "from_children");
	check(number_field(line, "objects") == objects && from == objects,
	      "%s: %s does not have %d objects: %s", self->name, name, objects, line);
	return 0;
}

static inline void free_of(struct self *self, int i)
{
	int context = a_context();
	char name[32], line[256];
	double begin = now();
	unsigned long taken;

	if (!self->handles[i].used)
		return;
	self->handles[i].used = false;
	must(self, "objects", "free h%d.%d %s", self->number, i, contexts[context]);
	count(FREES_TASK + context);
	/* I5: a free waits neither for a grace period nor for the workqueue. */
	taken = (now() - begin) * 1e6;
	if (taken > shared->longest_free)
		shared->longest_free = taken;
	check(taken < 10000000ul * shared->slow, "%s: %s took %lu ms", self->name, self->command,
	      taken / 1000);
	snprintf(name, sizeof(name), "h%d.%d", self->number, i);
	check(!once_in(16) || !record("objects", "handle", name, line, sizeof(line)),
	      "%s: %s is still there", self->name, name);
}

static inline void free_all(struct self *self)
{
	for (int i = 0; i < HANDLES; i++)
		free_of(self, i);
}

static inline void take_offline(struct self *self, const char *group)
{
	char line[256];

	if (!must(self, "groups", "offline %s", group))
		return;
	count(GROUPS_OFFLINE);
	/* I4: the group is gone, whether or not it has live objects. */
	check(!once_in(8) || !record("groups", "name", group, line, sizeof(line)),
	      "%s: group %s is still there", self->name, group);
}

#endif
