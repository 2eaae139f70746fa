// SPDX-License-Identifier: GPL-2.0
/*
 * Memory fails: for each operation the first allocation, then the second, until
 * it passes untouched. Each time it must answer ENOMEM and have changed nothing,
 * or be done although something has failed. /proc/PID/fail-nth does it to one task;
 * for what workers do, failslab to whatever has the module on its stack.
 */
#include "knobs.h"

#define FAILSLAB "/sys/kernel/debug/failslab/"
#define FAIL_PAGE "/sys/kernel/debug/fail_page_alloc/"

static int errors, slow;

__attribute__((format(printf, 2, 3))) static void check(bool right, const char *format, ...)
{
	char text[400];
	va_list args;

	if (right || errors++ > 20)
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	ksft_print_msg("FAILED: %s\n", text);
}

/* ---- operations ---- */

/* One that cannot be asked for by a knob. */
static int module_file = -1;

static int do_load(void)
{
	return syscall(SYS_finit_module, module_file, "", 0) ? -errno : 0;
}

static int do_unload(void)
{
	return unload(O_NONBLOCK);
}

static int do_read(enum knob file)
{
	static char buffer[1 << 16];
	int fd = open(knob_path(file), O_RDONLY | O_CLOEXEC), error;
	ssize_t got;

	if (fd < 0)
		return -errno;
	got = read(fd, buffer, sizeof(buffer));
	error = got < 0 ? -errno : 0;
	close(fd);
	return error;
}

/*
 * What it needs, what it is, and what undoes it; commands begin with the letter of
 * their file: r, g, o, c, p (grace_period), w. Several are separated by semicolons.
 */
struct operation {
	const char *name, *before, *command, *after;
	int (*call)(void);
	enum knob read;
	int expected;
	/* So there may be nothing to fail. */
	bool needs_nothing;
};

#define CHILD "rcreate x 64;gcreate a;gcreate b a;oalloc i x b;@"
#define NO_CHILD "ofree i;rdestroy x;goffline b;goffline a"
#define HANDLE CHILD ";oalloc h x b 20"
#define NO_HANDLE "ofree h;" NO_CHILD

static const struct operation operations[] = {
	{ "create a root", "", "rcreate x 64", "rdestroy x" },
	{ "create a root, aligned", "", "rcreate x 100 512", "rdestroy x" },
	{ "destroy a root with a child", CHILD ";ofree i", "rdestroy x", "goffline b;goffline a" },
	{ "destroy a root with objects", CHILD, "rdestroy x", NO_CHILD, .expected = -EBUSY },
	{ "destroy a root asynchronously", CHILD, "rdestroy x async",
	  "ofree i;goffline b;goffline a" },
	{ "create a group", "", "gcreate a", "goffline a" },
	{ "create a group in a group", "gcreate a", "gcreate b a", "goffline b;goffline a" },
	{ "offline a group with a child", CHILD, "goffline b", "ofree i;rdestroy x;goffline a" },
	{ "allocate from a root", "rcreate x 64", "oalloc h x - 20", "ofree h;rdestroy x" },
	{ "allocate from a child", CHILD, "oalloc h x b 20", NO_HANDLE },
	{ "allocate in softirq", CHILD, "oalloc h x b 20 softirq", NO_HANDLE },
	{ "allocate in hardirq", CHILD, "oalloc h x b 20 hardirq", NO_HANDLE },
	{ "allocate the first of a group", "rcreate x 64;gcreate a", "oalloc h x a",
	  "@;ofree h;rdestroy x;goffline a" },
	{ "free", HANDLE, "ofree h", NO_CHILD },
	{ "free in softirq", HANDLE, "ofree h softirq", NO_CHILD },
	{ "free in hardirq", HANDLE, "ofree h hardirq", NO_CHILD },
	{ "free the last of a group that is offline", CHILD ";goffline b", "ofree i",
	  "rdestroy x;goffline a" },
	{ "attach the cgroups", "", "cattach", "cdetach" },
	{ "detach them", "cattach", "cdetach", "" },
	{ "hold a grace period", "", "phold", "prelease" },
	{ "release it", "phold", "prelease", "" },
	{ "stall the workqueue", "", "wstall", "wresume" },
	{ "resume it", "wstall", "wresume", "" },
	{ "read roots", HANDLE, NULL, NO_HANDLE, .read = ROOTS },
	{ "read groups", HANDLE, NULL, NO_HANDLE, .read = GROUPS },
	{ "read objects", HANDLE, NULL, NO_HANDLE, .read = OBJECTS },
	{ "read children", HANDLE, NULL, NO_HANDLE, .read = CHILDREN },
	{ "read stats", HANDLE, NULL, NO_HANDLE, .read = STATS },
	{ "read grace_period", "", NULL, "", .read = GRACE_PERIOD },
	{ "read workqueue", "", NULL, "", .read = WORKQUEUE },
	{ "unload the module, which has objects", HANDLE, NULL, "l", .call = do_unload },
	{ "load the module", "u", NULL, "", .call = do_load },
};

/* What a worker does; it is settled afterwards. */
static const struct operation works[] = {
	{ "create a child (worker)", "rcreate x 64;gcreate a", "oalloc h x a",
	  "ofree h;rdestroy x;goffline a" },
	{ "deactivate and shut down a child (worker)", CHILD ";ofree i", "goffline b",
	  "rdestroy x;goffline a", .needs_nothing = true },
	{ "release a child by its last object (worker)", CHILD ";goffline b", "ofree i",
	  "rdestroy x;goffline a", .needs_nothing = true },
	{ "end an asynchronous destroy (worker)", CHILD ";rdestroy x async", "ofree i",
	  "goffline b;goffline a", .needs_nothing = true },
};

static enum knob file_of(char letter)
{
	switch (letter) {
	case 'r': return ROOTS;
	case 'g': return GROUPS;
	case 'o': return OBJECTS;
	case 'c': return CGROUPS;
	case 'p': return GRACE_PERIOD;
	}
	return WORKQUEUE;
}

static bool records_settled(void)
{
	if (!is_loaded())
		return true;

	char *text = knob_read(CHILDREN), *stats = knob_read(STATS);
	/* One that is held by an object stays killed. */
	bool settled = text && stats && !strstr(text, "stage=deactivating") &&
		       !strstr(text, "stage=released");

	for (char *line, *rest = text; settled && rest && (line = strtok_r(rest, "\n", &rest));)
		settled = !strstr(line, "stage=killed") || number_field(line, "objects");
	/* What was asked for has no record while it is made. */
	for (char *line, *rest = stats; settled && rest && (line = strtok_r(rest, "\n", &rest));)
		settled = number_field(line, "requests") ==
			  number_field(line, "creations") + number_field(line, "aborts");
	free(text);
	free(stats);
	return settled;
}

static bool eventually(bool (*condition)(void))
{
	double end = now() + 20 * slow;

	while (!condition()) {
		if (now() > end)
			return false;
		nap(2000);
	}
	return true;
}

static void settle(void)
{
	check(eventually(records_settled), "it does not come to rest");
}

static void carry_out(const char *commands)
{
	char copy[256], *command, *rest = copy;

	snprintf(copy, sizeof(copy), "%s", commands);
	while ((command = strtok_r(rest, ";", &rest))) {
		int error = 0;

		if (*command == '@')
			settle();
		else if (*command == 'u')
			error = unload(0);
		else if (*command == 'l')
			error = do_load();
		else
			error = knob(file_of(*command), "%s", command + 1);
		check(!error, "%s: %s", command, strerror(-error));
	}
}

static bool nothing_left(void)
{
	static const enum knob files[] = { ROOTS, GROUPS, OBJECTS, CHILDREN };
	bool empty = true;
	char *text;

	for (size_t i = 0; i < ARRAY_SIZE(files) && is_loaded(); i++) {
		text = knob_read(files[i]);
		empty = empty && text && !*text;
		free(text);
	}
	return empty;
}

/* Undoes it; what is closed goes by itself, soon. */
static void clean_up(const struct operation *operation)
{
	carry_out(operation->after);
	check(eventually(nothing_left), "%s: something is left", operation->name);
}

/* All that can be read. */
static char *state(void)
{
	char *all = strdup(""), *text, *old;

	if (!is_loaded())
		return strdup(access(CONTROL, F_OK) ? "not loaded" : "not loaded, but files");
	for (int file = 0; file < KNOBS; file++) {
		if (file == STATS)
			continue;
		text = knob_read(file);
		old = all;
		if (asprintf(&all, "%s%s:\n%s", old, knobs[file], text ?: "none") < 0)
			exit(1);
		free(old);
		free(text);
	}
	return all;
}

static char *state_before;

static void say(const char *title, char *text)
{
	ksft_print_msg("%s\n", title);
	for (char *line, *rest = text; (line = strtok_r(rest, "\n", &rest));)
		ksft_print_msg("  %s\n", line);
}

static bool unchanged(void)
{
	char *after = state();
	bool same = !strcmp(state_before, after);

	free(after);
	return same;
}

/* ---- failing ---- */

static int fail_nth_file;

static void fail_after(unsigned int n)
{
	char text[16];
	int length = sprintf(text, "%u", n);

	if (pwrite(fail_nth_file, text, length, 0) != length)
		ksft_exit_fail_perror("fail-nth");
}

/* How many allocations are left before it would have failed; 0: it did. */
static int left(void)
{
	char text[16] = "";

	if (pread(fail_nth_file, text, sizeof(text) - 1, 0) < 0)
		ksft_exit_fail_perror("fail-nth");
	return atoi(text);
}

static bool put(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool done = fd >= 0 && write(fd, value, strlen(value)) == (ssize_t)strlen(value);

	close(fd);
	return done;
}

__attribute__((format(printf, 2, 3))) static void set(const char *file, const char *format, ...)
{
	char path[80], value[40];
	va_list args;

	snprintf(path, sizeof(path), FAILSLAB "%s", file);
	va_start(args, format);
	vsnprintf(value, sizeof(value), format, args);
	va_end(args);
	if (!put(path, value))
		ksft_exit_fail_msg("%s: %s\n", path, strerror(errno));
}

static int run(const struct operation *operation)
{
	const char *command = operation->command;

	if (operation->call)
		return operation->call();
	if (!command)
		return do_read(operation->read);
	return knob_write(file_of(*command), command + 1, strlen(command + 1));
}

/* Each allocation of the task. */
static void fail_each(const struct operation *operation)
{
	int refused = 0, survived = 0, before = errors, error, rest = 0, n;
	bool prepared = false;

	for (n = 1; !rest && errors - before < 5 && n < 5000; n++) {
		/* A refusal has changed nothing, so the next one can follow. */
		if (!prepared) {
			carry_out(operation->before);
			settle();
			free(state_before);
			state_before = state();
		}
		fail_after(n);
		error = run(operation);
		rest = left();
		fail_after(0);
		prepared = !rest && error == -ENOMEM;
		if (prepared) {
			refused++;
			if (!eventually(unchanged)) {
				check(false, "%s, allocation %d: not as before", operation->name,
				      n);
				say("before:", state_before);
				say("after:", state());
				prepared = false;
			}
			continue;
		}
		survived += !rest;
		check(error == operation->expected, "%s, allocation %d: %s", operation->name, n,
		      strerror(-error));
		clean_up(operation);
	}
	ksft_test_result(errors == before && rest,
			 "%s: %d failure points, %d ENOMEM, %d done all the same\n",
			 operation->name, refused + survived, refused, survived);
}

/*
 * Each allocation that has the module on its stack, whoever does it. failslab counts those
 * that it looks at, and fails when the count is a multiple of its interval; once, and then
 * does not count on. So the count is known after each failure, and the next
 * interval is that and n.
 */
static unsigned long count_known;

static bool fail_at(const struct operation *operation, unsigned long interval, int *error)
{
	char *times;
	bool failed;

	carry_out(operation->before);
	settle();
	set("interval", "%lu", interval);
	set("times", "1");
	set("probability", "100");
	*error = run(operation);
	settle();
	set("probability", "0");
	times = read_file(FAILSLAB "times");
	failed = times && atoi(times) == 0;
	free(times);
	if (failed)
		count_known = interval;
	return failed;
}

static void fail_each_work(const struct operation *operation)
{
	int before = errors, refused = 0, survived = 0, error, tries;
	bool failed = true;

	/* Not known yet, after what has passed untouched: wait for a failure. */
	for (tries = 0, failed = false; !failed && tries < 50; tries++) {
		failed = fail_at(operation, count_known + 60, &error);
		if (failed && error == -ENOMEM)
			error = run(operation);
		settle();
		clean_up(operation);
	}
	for (unsigned long n = 1; failed && errors - before < 5 && n < 1000; n++) {
		failed = fail_at(operation, count_known + n, &error);
		if (failed && error == -ENOMEM) {
			refused++;
			error = run(operation);
		} else if (failed) {
			survived++;
		}
		check(!error, "%s, allocation %lu: %s", operation->name, n, strerror(-error));
		settle();
		clean_up(operation);
	}
	ksft_test_result(errors == before && !failed &&
			 (refused + survived || operation->needs_nothing),
			 "%s: %d failure points, %d ENOMEM, %d done all the same\n",
			 operation->name, refused + survived, refused, survived);
}

static void watch(unsigned long from, unsigned long to)
{
	set("stacktrace-depth", "32");
	set("require-start", "%lu", from);
	set("require-end", "%lu", to);
}

/* Only what its initialisation calls is failed: the rest of the loading is the kernel's own. */
static void watch_init(void)
{
	char *symbols = read_file("/proc/kallsyms"), *line;
	unsigned long from = 0, to = 0;

	line = symbols ? strstr(symbols, " do_one_initcall\n") : NULL;
	while (line && line > symbols && line[-1] != '\n')
		line--;
	if (line) {
		from = strtoul(line, NULL, 16);
		to = strtoul(strchr(line, '\n') + 1, NULL, 16);
	}
	if (!from || to <= from)
		ksft_exit_fail_msg("/proc/kallsyms does not say where do_one_initcall() is\n");
	watch(from, to);
	free(symbols);
}

/* Only what the module does itself is failed: the range of its code. */
static void watch_module(void)
{
	char *modules = read_file("/proc/modules"),
	     *line = modules ? strstr(modules, MODULE " ") : NULL;
	unsigned long size, base;

	if (!line || sscanf(line, MODULE " %lu %*d %*s %*s 0x%lx", &size, &base) != 2 || !base)
		ksft_exit_fail_msg("/proc/modules does not say where the module is\n");
	watch(base, base + size);
	free(modules);
}

int main(void)
{
	static const char no_filter[] = "failslab cannot be told to look at one module only";
	struct utsname name;
	bool has_filter;
	char path[400];

	ksft_print_header();
	if (access("/proc/self/fail-nth", W_OK) || access(FAILSLAB "times", W_OK))
		ksft_exit_skip("this kernel fails no allocations (CONFIG_FAILSLAB)\n");
	if (!is_loaded() && !load())
		ksft_exit_skip("the module " MODULE " is not there\n");
	slow = setting("SLOW", 1);
	uname(&name);
	snprintf(path, sizeof(path), "/lib/modules/%s/" MODULE ".ko", name.release);
	module_file = open(path, O_RDONLY | O_CLOEXEC);
	fail_nth_file = open("/proc/self/fail-nth", O_RDWR | O_CLOEXEC);
	if (module_file < 0 || fail_nth_file < 0)
		ksft_exit_fail_msg("%s: %s\n", path, strerror(errno));
	/* Allocations that may sleep, too, and of one page. No stack dumps. */
	set("ignore-gfp-wait", "N");
	set("verbose", "0");
	put(FAIL_PAGE "ignore-gfp-wait", "N");
	put(FAIL_PAGE "min-order", "0");
	put(FAIL_PAGE "verbose", "0");

	ksft_set_plan(ARRAY_SIZE(operations) + ARRAY_SIZE(works));
	has_filter = !access(FAILSLAB "require-start", W_OK);
	for (size_t i = 0; i < ARRAY_SIZE(operations); i++) {
		if (operations[i].call == do_load) {
			if (!has_filter) {
				ksft_test_result_skip("%s: %s\n", operations[i].name, no_filter);
				continue;
			}
			watch_init();
		}
		fail_each(&operations[i]);
	}
	if (has_filter)
		watch_module();
	for (size_t i = 0; i < ARRAY_SIZE(works); i++) {
		if (has_filter)
			fail_each_work(&works[i]);
		else
			ksft_test_result_skip("%s: %s\n", works[i].name, no_filter);
	}
	ksft_finished();
}
