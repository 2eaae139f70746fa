/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Shared by the programs that drive rust_kmemcg: its files in debugfs, random
 * numbers that a seed repeats, the time.
 */
#ifndef KNOBS_H
#define KNOBS_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "kselftest.h"

/* For a variable that another process may change. */
#define READ_ONCE(x) __atomic_load_n(&(x), __ATOMIC_RELAXED)

#define MODULE "rust_kmemcg"
#define CONTROL "/sys/kernel/debug/" MODULE "/"

#define MAX_KNOBS 32

/* The files that there are, by name, in alphabetical order. */
struct knobs {
	int count;
	char names[MAX_KNOBS][32];
};

static inline int by_name(const void *a, const void *b)
{
	return strcmp(a, b);
}

static inline struct knobs list_knobs(void)
{
	struct knobs knobs = {};
	DIR *folder = opendir(CONTROL);
	struct dirent *entry;

	while (folder && knobs.count < MAX_KNOBS && (entry = readdir(folder))) {
		if (*entry->d_name != '.')
			snprintf(knobs.names[knobs.count++], sizeof(knobs.names[0]), "%.31s",
				 entry->d_name);
	}
	if (folder)
		closedir(folder);
	qsort(knobs.names, knobs.count, sizeof(knobs.names[0]), by_name);
	return knobs;
}

static inline const char *knob_path(const char *knob)
{
	static char path[sizeof(CONTROL) + 32];

	snprintf(path, sizeof(path), CONTROL "%s", knob);
	return path;
}

/* Writes a command; 0, or a negative errno. */
static inline int knob_write(const char *knob, const char *command, size_t length)
{
	int fd = open(knob_path(knob), O_WRONLY | O_CLOEXEC), result = 0;
	ssize_t written;

	if (fd < 0)
		return -errno;
	written = write(fd, command, length);
	if (written < 0)
		result = -errno;
	else if ((size_t)written != length)
		result = -EPROTO;
	close(fd);
	return result;
}

__attribute__((format(printf, 2, 3))) static inline int knob(const char *knob, const char *format,
							     ...)
{
	char command[600];
	va_list args;
	int length;

	va_start(args, format);
	length = vsnprintf(command, sizeof(command), format, args);
	va_end(args);
	return knob_write(knob, command, length);
}

/* Reads a whole file; returns a string that the caller frees, or NULL. */
static inline char *read_file(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t size = 1 << 14, length = 0;
	char *text = malloc(size);
	ssize_t got = -1;

	while (fd >= 0 && text) {
		got = read(fd, text + length, size - length - 1);
		if (got <= 0)
			break;
		length += got;
		if (size - length < 4096) {
			char *more = realloc(text, size *= 2);

			if (!more)
				break;
			text = more;
		}
	}
	if (fd >= 0)
		close(fd);
	if (!text || got) {
		free(text);
		return NULL;
	}
	text[length] = 0;
	return text;
}

static inline char *knob_read(const char *knob)
{
	return read_file(knob_path(knob));
}

/* Copies the value of KEY= in a record; false where the record has no such key. */
static inline bool field(const char *record, const char *key, char *value, size_t size)
{
	size_t length = strlen(key), n = 0;

	for (; record; record = strchr(record, ' ')) {
		record += *record == ' ';
		if (!strncmp(record, key, length) && record[length] == '=') {
			record += length + 1;
			while (*record && *record != ' ' && *record != '\n' && n + 1 < size)
				value[n++] = *record++;
			value[n] = 0;
			return true;
		}
	}
	return false;
}

static inline long number_field(const char *record, const char *key)
{
	char value[32];

	return field(record, key, value, sizeof(value)) ? atol(value) : -1;
}

static inline int unload(int flags)
{
	return syscall(SYS_delete_module, MODULE, flags) ? -errno : 0;
}

static inline bool is_loaded(void)
{
	return !access("/sys/module/" MODULE, F_OK);
}

static inline bool load(void)
{
	return !system("modprobe " MODULE " 2>/dev/null") && !access(CONTROL "roots", F_OK);
}

static inline bool is_rt(void)
{
	struct utsname name;

	return !uname(&name) && strstr(name.version, "PREEMPT_RT");
}

/* ---- random numbers: xorshift64*, one state for each process ---- */

static uint64_t random_state;

static inline void seed_random(uint64_t seed)
{
	/* splitmix64, so that neighbouring seeds give different sequences. */
	seed += 0x9e3779b97f4a7c15;
	seed = (seed ^ seed >> 30) * 0xbf58476d1ce4e5b9;
	seed = (seed ^ seed >> 27) * 0x94d049bb133111eb;
	random_state = (seed ^ seed >> 31) | 1;
}

static inline uint32_t random_u32(void)
{
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return random_state * 0x2545f4914f6cdd1d >> 32;
}

/* Below n. */
static inline uint32_t pick(uint32_t n)
{
	return (uint64_t)random_u32() * n >> 32;
}

/* True once in n times. */
static inline bool once_in(uint32_t n)
{
	return !pick(n);
}

/* A number from the environment. */
static inline uint64_t setting(const char *name, uint64_t otherwise)
{
	const char *value = getenv(name);

	return value && *value ? strtoull(value, NULL, 10) : otherwise;
}

/* ---- time ---- */

static inline double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}

static inline void nap(unsigned int microseconds)
{
	struct timespec time = { microseconds / 1000000, microseconds % 1000000 * 1000 };

	nanosleep(&time, NULL);
}

#endif
