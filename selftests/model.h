/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A model of rust_kmemcg as its files show it, written from their description
 * and not from their code: what a command must answer, and what is there then.
 * One process writes; what the module does by itself (children) is not modelled.
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

/* What a write may answer: a set. */
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

/* A root that is closing lives as long as its objects. */
struct root {
	bool used, closing, account;
	char name[MAX_NAME + 1];
	long size, align, objects;
};

/* A parent of -1 is the top. */
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

struct model {
	struct root roots[ENTRIES];
	struct group groups[ENTRIES];
	struct handle handles[ENTRIES];
	bool held, stalled, attached, rt;
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
	LEVER
};

/* A command as the model understands it. */
struct command {
	enum operation operation;
	unsigned int errors; /* Those that apply; none: it must be done. */
	char name[MAX_NAME + 1];
	int index, other; /* Of an entry that it is about; of the root or the parent. */
	long size, align, count;
	bool account;
	/* Whether it can be done is not modelled: it is about a cgroup. */
	bool unsure;
	bool *lever, lever_after;
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

/* The index of an entry that is not used; -1: the model is full, so do not ask for more. */
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
		command->operation = words == 3 ? CLOSE_ROOT : DESTROY_ROOT;
		want_name(command, word[1]);
		if (words == 3 && strcmp(word[2], "async"))
			command->errors |= INVALID;
		command->index = find(model->roots, word[1], has_name);
		if (command->index < 0)
			command->errors |= NO_ENTRY;
		else if (words == 2 && model->roots[command->index].objects)
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
		/* That means a cgroup. */
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
			command->unsure = model->attached;
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

static inline void parse_lever(struct command *command, const char *text, bool *lever,
			       const char *pull, const char *let_go)
{
	command->operation = LEVER;
	command->lever = lever;
	command->lever_after = !strcmp(text, pull);
	if (strcmp(text, pull) && strcmp(text, let_go))
		command->errors = INVALID;
	else if (*lever == command->lever_after)
		command->errors = BUSY;
}

/* What one write() means. */
static inline struct command parse(struct model *model, enum knob file, const char *bytes,
				   size_t length)
{
	struct command command = {};
	char text[MAX_COMMAND + 1], *word[8], *rest = text;
	size_t i;
	int words = 0;

	if (length > MAX_COMMAND) {
		command.errors = file == CHILDREN || file == STATS ? INVALID | TOO_BIG : TOO_BIG;
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
	if (file == GRACE_PERIOD) {
		parse_lever(&command, text, &model->held, "hold", "release");
		return command;
	}
	if (file == CGROUPS) {
		parse_lever(&command, text, &model->attached, "attach", "detach");
		return command;
	}
	if (file == WORKQUEUE) {
		parse_lever(&command, text, &model->stalled, "stall", "resume");
		return command;
	}
	while (words < 8 && (word[words] = strtok_r(rest, " ", &rest)))
		words++;
	if (words && file == ROOTS)
		parse_roots(model, &command, word, words);
	else if (words && file == GROUPS)
		parse_groups(model, &command, word, words);
	else if (words && file == OBJECTS)
		parse_objects(model, &command, word, words);
	else
		command.errors = INVALID;
	return command;
}

/* May it be asked for? Not what waits for a lever, nor more than there is room or memory for. */
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
	/* To attach and detach wait for what is on its way. */
	case LEVER:
		return command->lever != &model->attached || !(model->held || model->stalled);
	case DESTROY_ROOT: return command->index < 0 || !(model->held || model->stalled);
	default: return true;
	}
}

/* It was done. */
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
	case LEVER: *command->lever = command->lever_after; break;
	case NOTHING: break;
	}
}

/* Prints the entries as records, in no order; the caller compares sorted lines. */
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
	fprintf(out, "cgroups %s\ngrace_period %s\nworkqueue %s\n",
		model->attached ? "attached" : "detached", model->held ? "held" : "free",
		model->stalled ? "stalled" : "free");
}

#endif
