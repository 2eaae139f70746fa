/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What fuzz writes: valid commands, mutilated commands, words of commands, noise.
 */
#ifndef INPUTS_H
#define INPUTS_H

#include "model.h"

static const char *const verbs[] = {
	"create", "destroy", "offline", "alloc", "free", "async", "uncounted", "account",
	"current", "/", "/x", "task", "softirq", "hardirq", "-", "0", "1", "8", "64",
	"4096", "1048577", "-1", "99999999999999999999",
};

/* A word of some command. */
static const char *a_verb(void)
{
	enum knob file = pick(KNOBS);

	if (knobs[file].on && once_in(2))
		return once_in(2) ? knobs[file].on : knobs[file].off;
	return verbs[pick(ARRAY_SIZE(verbs))];
}

/* A valid command, with or without its newline; for a read-only file, a word. */
static size_t a_command(enum knob file, char *to)
{
	size_t length;

	if (knobs[file].generate)
		length = knobs[file].generate(to);
	else if (knobs[file].on)
		length = sprintf(to, "%s", once_in(2) ? knobs[file].on : knobs[file].off);
	else
		length = sprintf(to, "%s", a_verb());
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
		case 5: length += sprintf(to + length, " %s", a_verb());
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
				  once_in(3) ? a_name(kinds[pick(3)]) : a_verb());
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
