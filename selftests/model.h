/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A model of the files of rust_kmemcg, written from docs/knobs.md and not from the
 * code: what a command answers, and what the files show afterwards. It is for one
 * process that writes; what workers do (children) is not modelled.
 *
 * The table knobs[] has a row for each file. A file with two commands that turn
 * something on and off (a switch) needs no more than its row.
 */
#ifndef MODEL_H
#define MODEL_H

#include "knobs.h"

#define MAX_COMMAND 512
#define MAX_NAME 32
#define MAX_SIZE (1 << 20)
#define MAX_ALIGN 4096
#define MAX_OBJECTS (1 << 16)
#define ENTRIES 96

/* The answers of a write, as bits of a set. */
enum answer {
	DONE = 1 << 0,
	INVALID = 1 << 1,
	RANGE = 1 << 2,
	TOO_BIG = 1 << 3,
	NO_ENTRY = 1 << 4,
	EXISTS = 1 << 5,
	BUSY = 1 << 6,
	NOT_SUPPORTED = 1 << 7,
	BAD_ADDRESS = 1 << 8,
	UNDOCUMENTED = 1 << 9,
};

static inline unsigned int answer_of(int error)
{
	switch (-error) {
	case 0: return DONE;
	case EINVAL: return INVALID;
	case ERANGE: return RANGE;
	case E2BIG: return TOO_BIG;
	case ENOENT: return NO_ENTRY;
	case EEXIST: return EXISTS;
	case EBUSY: return BUSY;
	case EOPNOTSUPP: return NOT_SUPPORTED;
	case EFAULT: return BAD_ADDRESS;
	}
	return UNDOCUMENTED;
}

/* A root that is closing exists until its last object is freed. */
struct root {
	bool used, closing, account;
	char name[MAX_NAME + 1];
	long size, align, objects;
};

/* parent is an index, or -1 for a group at the top. */
struct group {
	bool used;
	char name[MAX_NAME + 1];
	int parent;
};

struct handle {
	bool used;
	char name[MAX_NAME + 1];
	int root;
	long objects;
};

enum knob {
	ROOTS,
	GROUPS,
	OBJECTS,
	CHILDREN,
	STATS,
	CGROUPS,
	GRACE_PERIOD,
	WORKQUEUE,
	KNOBS
};

struct model {
	struct root roots[ENTRIES];
	struct group groups[ENTRIES];
	struct handle handles[ENTRIES];
	bool on[KNOBS], rt;
};

enum operation {
	NOTHING,
	CREATE_ROOT,
	DESTROY_ROOT,
	CLOSE_ROOT,
	CREATE_GROUP,
	OFFLINE_GROUP,
	ALLOC,
	FREE,
	SWITCH
};

/* A command as the model understands it. */
struct command {
	enum operation operation;
	unsigned int errors; /* The errors that apply; none: the command must succeed. */
	char name[MAX_NAME + 1];
	int index, other; /* Of the entry that the command names; of its root or parent. */
	long size, align, count;
	bool account;
	/* It names a cgroup, and cgroups are not modelled: it may succeed, too. */
	bool unsure;
	enum knob file; /* Of a switch. */
	bool on_after;
};

/* The index of the entry of that name, or -1. */
#define find(entries, wanted, condition)                                                    \
	({                                                                                  \
		int at_ = ENTRIES - 1;                                                      \
		while (at_ >= 0 && !((entries)[at_].used && (condition(&(entries)[at_])) && \
				     !strcmp((entries)[at_].name, wanted)))                 \
			at_--;                                                              \
		at_;                                                                        \
	})
#define any(entry) ((void)(entry), true)
#define has_name(root) (!(root)->closing)

/* The index of an unused entry; -1: the model is full. */
#define unused(entries)                                 \
	({                                              \
		int at_ = ENTRIES - 1;                  \
		while (at_ >= 0 && (entries)[at_].used) \
			at_--;                          \
		at_;                                    \
	})

static inline bool is_name(const char *word)
{
	return *word && strlen(word) <= MAX_NAME && !strchr(".-", *word) &&
	       strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") ==
		       strlen(word);
}

static inline void want_name(struct command *command, const char *word)
{
	if (!is_name(word))
		command->errors |= INVALID;
}

static inline long want_number(struct command *command, const char *word, long max)
{
	size_t length = strlen(word);

	if (!length || strspn(word, "0123456789") != length) {
		command->errors |= INVALID;
		return 1;
	}
	word += strspn(word, "0");
	if (!*word || strlen(word) > 9 || atol(word) > max) {
		command->errors |= RANGE;
		return 1;
	}
	return atol(word);
}

static inline void want_context(const struct model *model, struct command *command,
				const char *word)
{
	if (!strcmp(word, "hardirq")) {
		if (model->rt)
			command->errors |= NOT_SUPPORTED;
	} else if (strcmp(word, "task") && strcmp(word, "softirq")) {
		command->errors |= INVALID;
	}
}

static inline void parse_roots(struct model *model, struct command *command, char **word, int words)
{
	if (words > 3 && !strcmp(word[0], "create") && !strcmp(word[words - 1], "account")) {
		command->account = true;
		words--;
	}
	if (words >= 3 && words <= 4 && !strcmp(word[0], "create")) {
		command->operation = CREATE_ROOT;
		command->size = want_number(command, word[2], MAX_SIZE);
		command->align = words == 4 ? want_number(command, word[3], MAX_ALIGN) : 8;
		if (command->align & (command->align - 1))
			command->errors |= INVALID;
		want_name(command, word[1]);
		if (find(model->roots, word[1], has_name) >= 0)
			command->errors |= EXISTS;
	} else if (words >= 2 && words <= 3 && !strcmp(word[0], "destroy")) {
		bool uncounted = words == 3 && !strcmp(word[2], "uncounted");

		command->operation = words == 3 && !uncounted ? CLOSE_ROOT : DESTROY_ROOT;
		want_name(command, word[1]);
		if (words == 3 && !uncounted && strcmp(word[2], "async"))
			command->errors |= INVALID;
		command->index = find(model->roots, word[1], has_name);
		if (command->index < 0)
			command->errors |= NO_ENTRY;
		else if (command->operation == DESTROY_ROOT && model->roots[command->index].objects)
			command->errors |= BUSY;
	} else {
		command->errors = INVALID;
	}
	if (words > 1)
		snprintf(command->name, sizeof(command->name), "%.32s", word[1]);
}

static inline void parse_groups(struct model *model, struct command *command, char **word,
				int words)
{
	if (words >= 2 && words <= 3 && !strcmp(word[0], "create")) {
		command->operation = CREATE_GROUP;
		want_name(command, word[1]);
		/* Reserved: the cgroup of the task that writes. */
		if (!strcmp(word[1], "current"))
			command->errors |= INVALID;
		if (find(model->groups, word[1], any) >= 0)
			command->errors |= EXISTS;
		command->other = -1;
		if (words == 3) {
			want_name(command, word[2]);
			command->other = find(model->groups, word[2], any);
			if (command->other < 0)
				command->errors |= NO_ENTRY;
		}
	} else if (words == 2 && !strcmp(word[0], "offline")) {
		command->operation = OFFLINE_GROUP;
		want_name(command, word[1]);
		command->index = find(model->groups, word[1], any);
		if (command->index < 0)
			command->errors |= NO_ENTRY;
	} else {
		command->errors = INVALID;
	}
	if (words > 1)
		snprintf(command->name, sizeof(command->name), "%.32s", word[1]);
}

static inline void parse_objects(struct model *model, struct command *command, char **word,
				 int words)
{
	if (words >= 4 && words <= 6 && !strcmp(word[0], "alloc")) {
		command->operation = ALLOC;
		want_name(command, word[1]);
		want_name(command, word[2]);
		command->other = find(model->roots, word[2], has_name);
		if (command->other < 0)
			command->errors |= NO_ENTRY;
		if (*word[3] == '/') {
			command->errors |= NO_ENTRY;
			command->unsure = model->on[CGROUPS];
		} else if (strcmp(word[3], "-") && strcmp(word[3], "current")) {
			want_name(command, word[3]);
			if (find(model->groups, word[3], any) < 0)
				command->errors |= NO_ENTRY;
		}
		command->count = words > 4 ? want_number(command, word[4], MAX_OBJECTS) : 1;
		if (words > 5)
			want_context(model, command, word[5]);
		if (find(model->handles, word[1], any) >= 0)
			command->errors |= EXISTS;
		command->unsure &= command->errors == NO_ENTRY && command->other >= 0;
	} else if (words >= 2 && words <= 3 && !strcmp(word[0], "free")) {
		command->operation = FREE;
		want_name(command, word[1]);
		command->index = find(model->handles, word[1], any);
		if (command->index < 0)
			command->errors |= NO_ENTRY;
		if (words > 2)
			want_context(model, command, word[2]);
	} else {
		command->errors = INVALID;
	}
	if (words > 1)
		snprintf(command->name, sizeof(command->name), "%.32s", word[1]);
}

/* ---- valid commands, for the fuzzer to begin with ---- */

static inline const char *a_name(char kind)
{
	static char names[8][16];
	static int next;
	char *name = names[next++ % 8];

	snprintf(name, sizeof(names[0]), "%c%u", kind, pick(kind == 'h' ? 16 : 8));
	return name;
}

static inline const char *a_context(void)
{
	static const char *const contexts[] = { "task", "softirq", "hardirq" };

	return contexts[pick(3)];
}

static inline size_t generate_roots(char *to)
{
	static const int sizes[] = { 1, 7, 8, 24, 64, 100, 192, 512, 1000, 4096, 8192 };
	size_t length;

	switch (pick(4)) {
	case 0: break;
	case 1: return sprintf(to, "destroy %s%s", a_name('r'), once_in(2) ? " uncounted" : "");
	default: return sprintf(to, "destroy %s async", a_name('r'));
	}
	length = sprintf(to, "create %s %d", a_name('r'), sizes[pick(11)]);
	if (once_in(2))
		length += sprintf(to + length, " %d", 1 << pick(13));
	if (once_in(4))
		length += sprintf(to + length, " account");
	return length;
}

static inline size_t generate_groups(char *to)
{
	switch (pick(4)) {
	case 0: return sprintf(to, "create %s", a_name('g'));
	case 1: return sprintf(to, "create %s %s", a_name('g'), a_name('g'));
	default: return sprintf(to, "offline %s", a_name('g'));
	}
}

static inline size_t generate_objects(char *to)
{
	static const char * const others[] = { "-", "-", "current", "/" };
	bool alloc = once_in(2);
	size_t length;

	if (alloc)
		length = sprintf(to, "alloc %s %s %s", a_name('h'), a_name('r'),
				 once_in(5) ? others[pick(4)] : a_name('g'));
	else
		length = sprintf(to, "free %s", a_name('h'));
	if (!once_in(2))
		return length;
	if (alloc) {
		length += sprintf(to + length, " %u", 1 + pick(20));
		if (once_in(2))
			return length;
	}
	return length + sprintf(to + length, " %s", a_context());
}

/* ---- the files ---- */

struct knob_model {
	const char *name;
	/* A file with commands of several words; without them and without a switch: read only. */
	void (*parse)(struct model *model, struct command *command, char **word, int words);
	size_t (*generate)(char *to);
	/* A switch: its two commands, and the two words that the file shows. */
	const char *on, *off, *shown_on, *shown_off;
	/* The word is that of "state=" in a record. */
	bool is_record;
	/* The fuzzer writes fewer valid commands: they are slow. */
	bool slow;
	/* While on, callbacks or work wait; a command of a knob that waits for these would hang. */
	bool delays, waits;
	/* Seconds after which it may be off by itself. */
	int expires;
};

static const struct knob_model knobs[KNOBS] = {
	[ROOTS] = { "roots", parse_roots, generate_roots, .slow = true },
	[GROUPS] = { "groups", parse_groups, generate_groups },
	[OBJECTS] = { "objects", parse_objects, generate_objects },
	[CHILDREN] = { "children" },
	[STATS] = { "stats" },
	[CGROUPS] = { "cgroups", .on = "attach", .off = "detach", .shown_on = "attached",
		      .shown_off = "detached", .is_record = true, .slow = true, .waits = true },
	[GRACE_PERIOD] = { "grace_period", .on = "hold", .off = "release", .shown_on = "held",
			   .shown_off = "free", .slow = true, .delays = true, .expires = 8 },
	[WORKQUEUE] = { "workqueue", .on = "block", .off = "unblock", .shown_on = "blocked",
			.shown_off = "free", .slow = true, .delays = true },
};

static inline bool is_read_only(enum knob file)
{
	return !knobs[file].parse && !knobs[file].on;
}

static inline void parse_switch(const struct model *model, struct command *command, enum knob file,
				const char *text)
{
	command->operation = SWITCH;
	command->file = file;
	command->on_after = !strcmp(text, knobs[file].on);
	if (!command->on_after && strcmp(text, knobs[file].off))
		command->errors = INVALID;
	else if (model->on[file] == command->on_after)
		command->errors = BUSY;
}

/* True while a test knob makes callbacks or work wait. */
static inline bool is_delayed(const struct model *model)
{
	bool delayed = false;

	for (int i = 0; i < KNOBS; i++)
		delayed |= knobs[i].delays && model->on[i];
	return delayed;
}

/* Parses what one write() passes. */
static inline struct command parse(struct model *model, enum knob file, const char *bytes,
				   size_t length)
{
	struct command command = {};
	char text[MAX_COMMAND + 1], *word[8], *rest = text;
	size_t i;
	int words = 0;

	if (length > MAX_COMMAND) {
		command.errors = is_read_only(file) ? INVALID | TOO_BIG : TOO_BIG;
		return command;
	}
	if (!length) {
		command.errors = DONE | INVALID;
		return command;
	}
	memcpy(text, bytes, length);
	length -= text[length - 1] == '\n';
	text[length] = 0;
	for (i = 0; i < length; i++) {
		if (text[i] < ' ' || text[i] > '~')
			command.errors = INVALID;
	}
	if (command.errors)
		return command;
	if (knobs[file].on) {
		parse_switch(model, &command, file, text);
		return command;
	}
	while (words < 8 && (word[words] = strtok_r(rest, " ", &rest)))
		words++;
	if (words && knobs[file].parse)
		knobs[file].parse(model, &command, word, words);
	else
		command.errors = INVALID;
	return command;
}

/*
 * Whether the fuzzer may write the command: not one that would wait for a test knob,
 * nor one that needs more memory than there is, or an entry that the model lacks.
 */
static inline bool is_affordable(struct model *model, const struct command *command)
{
	if (command->errors & ~DONE && command->operation != DESTROY_ROOT && !command->unsure)
		return true;
	switch (command->operation) {
	case CREATE_ROOT: return unused(model->roots) >= 0;
	case CREATE_GROUP: return unused(model->groups) >= 0;
	case ALLOC:
		return unused(model->handles) >= 0 &&
		       command->count * (model->roots[command->other].size + 64) < 1 << 20;
	case SWITCH: return !knobs[command->file].waits || !is_delayed(model);
	case DESTROY_ROOT: return command->index < 0 || !is_delayed(model);
	default: return true;
	}
}

/* Updates the model after a command that succeeded. */
static inline void commit(struct model *model, const struct command *command)
{
	int i = command->index;

	switch (command->operation) {
	case CREATE_ROOT:
		i = unused(model->roots);
		model->roots[i] = (struct root){ .used = true,
						 .account = command->account,
						 .size = command->size,
						 .align = command->align };
		strcpy(model->roots[i].name, command->name);
		break;
	case DESTROY_ROOT: model->roots[i].used = false; break;
	case CLOSE_ROOT:
		model->roots[i].closing = true;
		model->roots[i].used = model->roots[i].objects > 0;
		break;
	case CREATE_GROUP:
		i = unused(model->groups);
		model->groups[i] = (struct group){ .used = true, .parent = command->other };
		strcpy(model->groups[i].name, command->name);
		break;
	case OFFLINE_GROUP:
		model->groups[i].used = false;
		for (int other = 0; other < ENTRIES; other++) {
			if (model->groups[other].used && model->groups[other].parent == i)
				model->groups[other].parent = model->groups[i].parent;
		}
		break;
	case ALLOC:
		i = unused(model->handles);
		model->handles[i] = (struct handle){ .used = true,
						     .root = command->other,
						     .objects = command->count };
		strcpy(model->handles[i].name, command->name);
		model->roots[command->other].objects += command->count;
		break;
	case FREE: {
		struct root *root = &model->roots[model->handles[i].root];

		model->handles[i].used = false;
		root->objects -= model->handles[i].objects;
		root->used = !root->closing || root->objects;
		break;
	}
	case SWITCH: model->on[command->file] = command->on_after; break;
	case NOTHING: break;
	}
}

/* Prints the entries as records. The order means nothing: the caller compares sorted lines. */
static inline void print_model(const struct model *model, FILE *out)
{
	for (int i = 0; i < ENTRIES; i++) {
		const struct root *root = &model->roots[i];
		const struct group *group = &model->groups[i];
		const struct handle *handle = &model->handles[i];

		if (root->used)
			fprintf(out, "root %s size=%ld align=%ld account=%s state=%s\n", root->name,
				root->size, root->align, root->account ? "yes" : "no",
				root->closing ? "closing" : "live");
		if (group->used)
			fprintf(out, "group %s parent=%s\n", group->name,
				group->parent < 0 ? "-" : model->groups[group->parent].name);
		if (handle->used)
			fprintf(out, "handle %s root=%s objects=%ld\n", handle->name,
				model->roots[handle->root].name, handle->objects);
	}
	for (int i = 0; i < KNOBS; i++) {
		if (knobs[i].on)
			fprintf(out, "%s %s\n", knobs[i].name,
				model->on[i] ? knobs[i].shown_on : knobs[i].shown_off);
	}
}

#endif
