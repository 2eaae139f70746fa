/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What fuzz writes: commands, mutilated commands, words, noise.
 */
#ifndef INPUTS_H
#define INPUTS_H

#include "model.h"

static const char *const verbs[] = {
	"create", "destroy", "offline", "alloc", "free", "hold", "release", "stall", "resume",
	"async", "attach", "detach", "account", "current", "/", "/x", "task", "softirq",
	"hardirq", "-", "0", "1", "8", "64", "4096", "1048577", "-1", "99999999999999999999",
};

static const char *a_name(char kind)
{
	static char names[8][16];
	static int next;
	char *name = names[next++ % 8];

	snprintf(name, sizeof(names[0]), "%c%u", kind, pick(kind == 'h' ? 16 : 8));
	return name;
}

static const char *a_context(void)
{
	static const char *const contexts[] = { "task", "softirq", "hardirq" };

	return contexts[pick(3)];
}

/* A command, with or without its newline. */
static size_t a_command(enum knob file, char *to)
{
	static const int sizes[] = { 1, 7, 8, 24, 64, 100, 192, 512, 1000, 4096, 8192 };
	static const char * const others[] = { "-", "-", "current", "/" };
	size_t length = 0;

	switch (file) {
	case ROOTS:
		switch (pick(4)) {
		case 0:
			length = sprintf(to, "create %s %d", a_name('r'), sizes[pick(11)]);
			if (once_in(2))
				length += sprintf(to + length, " %d", 1 << pick(13));
			if (once_in(4))
				length += sprintf(to + length, " account");
			break;
		case 1: length = sprintf(to, "destroy %s", a_name('r')); break;
		default: length = sprintf(to, "destroy %s async", a_name('r'));
		}
		break;
	case GROUPS:
		switch (pick(4)) {
		case 0: length = sprintf(to, "create %s", a_name('g')); break;
		case 1: length = sprintf(to, "create %s %s", a_name('g'), a_name('g')); break;
		default: length = sprintf(to, "offline %s", a_name('g'));
		}
		break;
	case OBJECTS:
		if (once_in(2)) {
			length = sprintf(to, "alloc %s %s %s", a_name('h'), a_name('r'),
					 once_in(5) ? others[pick(4)] : a_name('g'));
			if (once_in(2)) {
				length += sprintf(to + length, " %u", 1 + pick(20));
				if (once_in(2))
					length += sprintf(to + length, " %s", a_context());
			}
		} else {
			length = sprintf(to, "free %s", a_name('h'));
			if (once_in(2))
				length += sprintf(to + length, " %s", a_context());
		}
		break;
	case CGROUPS: length = sprintf(to, once_in(2) ? "attach" : "detach"); break;
	case GRACE_PERIOD: length = sprintf(to, once_in(2) ? "hold" : "release"); break;
	case WORKQUEUE: length = sprintf(to, once_in(2) ? "stall" : "resume"); break;
	default: length = sprintf(to, "%s", verbs[pick(ARRAY_SIZE(verbs))]);
	}
	if (!once_in(4))
		to[length++] = '\n';
	return length;
}

static size_t mutilated(enum knob file, char *to)
{
	size_t length = a_command(file, to), at;
	int times = 1 + pick(3);

	while (times--) {
		at = pick(length + 1);
		switch (pick(6)) {
		case 0:
			if (at < length)
				to[at] ^= 1 << pick(8);
			break;
		case 1:
			memmove(to + at + 1, to + at, length - at);
			to[at] = pick(256);
			length++;
			break;
		case 2: length = at; break;
		case 3:
			memmove(to + at + 1, to + at, length - at);
			to[at] = ' ';
			length++;
			break;
		case 4:
			if (at < length) {
				memmove(to + at, to + at + 1, length - at - 1);
				length--;
			}
			break;
		case 5: length += sprintf(to + length, " %s", verbs[pick(ARRAY_SIZE(verbs))]);
		}
	}
	return length;
}

static size_t words(char *to)
{
	static const char kinds[] = "rgh";
	size_t length = 0;
	int count = pick(8);

	while (count--)
		length += sprintf(to + length, "%s%s", length ? " " : "",
				  once_in(3) ? a_name(kinds[pick(3)]) :
					       verbs[pick(ARRAY_SIZE(verbs))]);
	return length;
}

static size_t noise(char *to, size_t length, bool printable)
{
	for (size_t i = 0; i < length; i++)
		to[i] = printable ? ' ' + pick(95) : pick(256);
	return length;
}

#define HUGE_WRITE 100000

static size_t something(enum knob file, char *to)
{
	size_t length;

	switch (pick(32)) {
	case 0 ... 7: return a_command(file, to);
	case 8 ... 15: return mutilated(file, to);
	case 16 ... 21: return words(to);
	case 22: return noise(to, pick(64), true);
	case 23: return noise(to, pick(MAX_COMMAND + 2), false);
	case 24: return noise(to, MAX_COMMAND + 1 + pick(64), true);
	case 25: return 0;
	case 26: return sprintf(to, "\n");
	case 27:
		length = a_command(file, to);
		memset(to + length, ' ', MAX_COMMAND + 2 - length);
		return MAX_COMMAND - 2 + pick(4);
	case 28:
		if (!once_in(50))
			return a_command(file, to);
		memset(to, 'x', HUGE_WRITE);
		return 1 + pick(HUGE_WRITE);
	case 29:
		length = a_command(file, to);
		to[length++] = 0;
		return length;
	case 30: length = a_command(file, to); return length + a_command(file, to + length);
	default: return a_command((enum knob)pick(KNOBS), to);
	}
}

#endif
