// SPDX-License-Identifier: GPL-2.0
/*
 * Allocations fail: for each operation the first one, then the second one, until the
 * operation runs without a failure. Each time it has to return ENOMEM and change
 * nothing, or succeed although an allocation failed. /proc/PID/fail-nth does this for
 * one task; for work items failslab fails what has the module on its stack.
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

/* Loading is no command of a file. */
static int module_file = -1;

static int do_load(void)
{
	return syscall(SYS_finit_module, module_file, "", 0) ? -errno : 0;
}

static int do_unload(void)
{
	return unload(O_NONBLOCK);
}

static int do_read(const char *file)
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
 * The commands that prepare an operation, the operation, and the commands that undo
 * it, separated by semicolons: "FILE COMMAND", or "settle", "load", "unload".
 */
struct operation {
	const char *name, *before, *command, *after;
	int (*call)(void);
	const char *read;
	int expected;
	/* It may do without an allocation. */
	bool needs_nothing;
};

#define CHILD "roots create x 64;groups create a;groups create b a;objects alloc i x b;settle"
#define NO_GROUPS "groups offline b;groups offline a"
#define NO_CHILD "objects free i;roots destroy x;" NO_GROUPS
#define HANDLE CHILD ";objects alloc h x b 20"
#define NO_HANDLE "objects free h;" NO_CHILD

static const struct operation operations[] = {
	{ "create a root", "", "roots create x 64", "roots destroy x" },
	{ "create a root, aligned", "", "roots create x 100 512", "roots destroy x" },
	{ "destroy a root with a child", CHILD ";objects free i", "roots destroy x", NO_GROUPS },
	{ "destroy a root with objects", CHILD, "roots destroy x", NO_CHILD, .expected = -EBUSY },
	{ "begin to destroy a root with objects", CHILD, "roots destroy x uncounted", NO_CHILD,
	  .expected = -EBUSY },
	{ "destroy a root asynchronously", CHILD, "roots destroy x async",
	  "objects free i;" NO_GROUPS },
	{ "create a group", "", "groups create a", "groups offline a" },
	{ "create a group in a group", "groups create a", "groups create b a", NO_GROUPS },
	{ "offline a group with a child", CHILD, "groups offline b",
	  "objects free i;roots destroy x;groups offline a" },
	{ "allocate from a root", "roots create x 64", "objects alloc h x - 20",
	  "objects free h;roots destroy x" },
	{ "allocate from a child", CHILD, "objects alloc h x b 20", NO_HANDLE },
	{ "allocate in softirq", CHILD, "objects alloc h x b 20 softirq", NO_HANDLE },
	{ "allocate in hardirq", CHILD, "objects alloc h x b 20 hardirq", NO_HANDLE },
	{ "allocate the first of a group", "roots create x 64;groups create a",
	  "objects alloc h x a", "settle;objects free h;roots destroy x;groups offline a" },
	{ "free", HANDLE, "objects free h", NO_CHILD },
	{ "free in softirq", HANDLE, "objects free h softirq", NO_CHILD },
	{ "free in hardirq", HANDLE, "objects free h hardirq", NO_CHILD },
	{ "free the last of a group that is offline", CHILD ";groups offline b", "objects free i",
	  "roots destroy x;groups offline a" },
	{ "attach the cgroups", "", "cgroups attach", "cgroups detach" },
	{ "detach them", "cgroups attach", "cgroups detach", "" },
	{ "hold a grace period", "", "grace_period hold", "grace_period release" },
	{ "release it", "grace_period hold", "grace_period release", "" },
	{ "block the workqueue", "", "workqueue block", "workqueue unblock" },
	{ "unblock it", "workqueue block", "workqueue unblock", "" },
	{ "unload the module, which has objects", HANDLE, NULL, "load", .call = do_unload },
	{ "load the module", "unload", NULL, "", .call = do_load },
};

/* Operations of which a worker does the larger part; wait_for_workers() waits for it. */
static const struct operation works[] = {
	{ "create a child (worker)", "roots create x 64;groups create a", "objects alloc h x a",
	  "objects free h;roots destroy x;groups offline a" },
	{ "deactivate and shut down a child (worker)", CHILD ";objects free i", "groups offline b",
	  "roots destroy x;groups offline a", .needs_nothing = true },
	{ "release a child by its last object (worker)", CHILD ";groups offline b",
	  "objects free i", "roots destroy x;groups offline a", .needs_nothing = true },
	{ "end an asynchronous destroy (worker)", CHILD ";roots destroy x async", "objects free i",
	  NO_GROUPS, .needs_nothing = true },
};

/* Writes "FILE COMMAND". */
static int write_command(const char *command)
{
	char file[32];

	snprintf(file, sizeof(file), "%.*s", (int)strcspn(command, " "), command);
	command += strcspn(command, " ") + 1;
	return knob_write(file, command, strlen(command));
}

static bool records_settled(void)
{
	if (!is_loaded())
		return true;

	char *text = knob_read("children"), *stats = knob_read("stats");
	/* A killed child with objects stays killed: do not wait for that. */
	bool settled = text && stats && !strstr(text, "stage=new") &&
		       !strstr(text, "stage=deactivating") && !strstr(text, "stage=quiescent") &&
		       !strstr(text, "stage=released") && !strstr(text, "stage=shutdown");

	for (char *line, *rest = text; settled && rest && (line = strtok_r(rest, "\n", &rest));)
		settled = !strstr(line, "stage=killed") || number_field(line, "objects");
	/* A child that is being created has no record in "children" yet. */
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

static void wait_for_workers(void)
{
	check(eventually(records_settled), "the children do not settle");
}

static void carry_out(const char *commands)
{
	char copy[400], *command, *rest = copy;

	snprintf(copy, sizeof(copy), "%s", commands);
	while ((command = strtok_r(rest, ";", &rest))) {
		int error = 0;

		if (!strcmp(command, "settle"))
			wait_for_workers();
		else if (!strcmp(command, "unload"))
			error = unload(0);
		else if (!strcmp(command, "load"))
			error = do_load();
		else
			error = write_command(command);
		check(!error, "%s: %s", command, strerror(-error));
	}
}

static bool nothing_left(void)
{
	static const char *const files[] = { "roots", "groups", "objects", "children" };
	bool empty = true;
	char *text;

	for (size_t i = 0; i < ARRAY_SIZE(files) && is_loaded(); i++) {
		text = knob_read(files[i]);
		empty = empty && text && !*text;
		free(text);
	}
	return empty;
}

/* Undoes an operation, and waits for roots that are closing. */
static void clean_up(const struct operation *operation)
{
	carry_out(operation->after);
	check(eventually(nothing_left), "%s: records are left", operation->name);
}

/* What all files show, except for the counters. */
static char *state(void)
{
	struct knobs knobs = list_knobs();
	char *all = strdup(""), *text, *old;

	if (!is_loaded())
		return strdup(access(CONTROL, F_OK) ? "not loaded" : "not loaded, but files");
	for (int i = 0; i < knobs.count; i++) {
		if (!strcmp(knobs.names[i], "stats"))
			continue;
		text = knob_read(knobs.names[i]);
		old = all;
		if (asprintf(&all, "%s%s:\n%s", old, knobs.names[i], text ?: "none") < 0)
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

/* How many more allocations it takes until one fails; 0: one has failed. */
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
	return write_command(command);
}

/* Fails each allocation of the task, one after the other. */
static void fail_each(const struct operation *operation)
{
	int refused = 0, survived = 0, before = errors, error, rest = 0, n;
	bool prepared = false;

	for (n = 1; !rest && errors - before < 5 && n < 5000; n++) {
		/* After ENOMEM nothing has changed, so the preparation still holds. */
		if (!prepared) {
			carry_out(operation->before);
			wait_for_workers();
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
			 "%s: %d failure points, %d ENOMEM, %d succeeded nevertheless\n",
			 operation->name, refused + survived, refused, survived);
}

/*
 * Fails each allocation that has the module on its stack, in any task. failslab counts
 * the allocations that pass its filter, and fails one when the count is a multiple of
 * its interval; "times" is 1, so after that it does not count. So the count is known
 * after each failure, and the next interval is that count plus n.
 */
static unsigned long count_known;

static bool fail_at(const struct operation *operation, unsigned long interval, int *error)
{
	char *times;
	bool failed;

	carry_out(operation->before);
	wait_for_workers();
	set("interval", "%lu", interval);
	set("times", "1");
	set("probability", "100");
	*error = run(operation);
	wait_for_workers();
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

	/* The count is unknown after a run without a failure: repeat until one fails. */
	for (tries = 0, failed = false; !failed && tries < 50; tries++) {
		failed = fail_at(operation, count_known + 60, &error);
		if (failed && error == -ENOMEM)
			error = run(operation);
		wait_for_workers();
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
		wait_for_workers();
		clean_up(operation);
	}
	ksft_test_result(errors == before && !failed &&
			 (refused + survived || operation->needs_nothing),
			 "%s: %d failure points, %d ENOMEM, %d succeeded nevertheless\n",
			 operation->name, refused + survived, refused, survived);
}

static void watch(unsigned long from, unsigned long to)
{
	set("stacktrace-depth", "32");
	set("require-start", "%lu", from);
	set("require-end", "%lu", to);
}

/* Fails only what the initcall of the module allocates, not the rest of the loading. */
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

/* Fails only what has the code of the module on its stack. */
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
	static const char no_filter[] = "failslab of this kernel has no filter by stack";
	struct utsname name;
	struct knobs knobs;
	bool has_filter;
	char path[400];

	ksft_print_header();
	if (access("/proc/self/fail-nth", W_OK) || access(FAILSLAB "times", W_OK))
		ksft_exit_skip("this kernel fails no allocations (CONFIG_FAILSLAB)\n");
	if (!is_loaded() && !load())
		ksft_exit_skip("the module " MODULE " is not installed\n");
	slow = setting("SLOW", 1);
	uname(&name);
	snprintf(path, sizeof(path), "/lib/modules/%s/" MODULE ".ko", name.release);
	module_file = open(path, O_RDONLY | O_CLOEXEC);
	fail_nth_file = open("/proc/self/fail-nth", O_RDWR | O_CLOEXEC);
	if (module_file < 0 || fail_nth_file < 0)
		ksft_exit_fail_msg("%s: %s\n", path, strerror(errno));
	/* Fail allocations that may sleep, too, and those of one page. No stack dumps. */
	set("ignore-gfp-wait", "N");
	set("verbose", "0");
	put(FAIL_PAGE "ignore-gfp-wait", "N");
	put(FAIL_PAGE "min-order", "0");
	put(FAIL_PAGE "verbose", "0");

	knobs = list_knobs();
	ksft_set_plan(ARRAY_SIZE(operations) + knobs.count + ARRAY_SIZE(works));
	has_filter = !access(FAILSLAB "require-start", W_OK);
	for (int i = 0; i < knobs.count; i++) {
		struct operation operation = { .before = HANDLE, .after = NO_HANDLE,
					       .read = knobs.names[i] };

		snprintf(path, sizeof(path), "read %s", knobs.names[i]);
		operation.name = path;
		fail_each(&operation);
	}
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
