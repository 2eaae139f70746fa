// SPDX-License-Identifier: GPL-2.0
/*
 * Runs many actors with random pacing on one module, in rounds; after each round the
 * module is unloaded and loaded again. Each actor checks the answers of its own
 * commands; the end of a round checks that no record and no cache is left. A seed
 * repeats the choices of the actors, but not how they interleave.
 *
 *	TORTURE_S	how many seconds to run (default: 120)
 *	SEED		repeats the choices of a run (default: a new seed for each run)
 *
 * The actors are in torture_actors.h.
 */
#include <dirent.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <signal.h>

#include "torture_actors.h"

#define ROUND_S 15

static const struct actor {
	const char *name;
	void (*act)(struct self *self);
	int count;
	/* Returns why this kernel cannot run the actor, or NULL; NULL itself: every kernel can. */
	const char *(*hindrance)(void);
} actors[] = {
	{ "tenant", tenant, 3, NULL },
	{ "owner", owner, 2, NULL },
	{ "landlord", landlord, 1, NULL },
	{ "family", family, 1, NULL },
	{ "registrar", registrar, 1, no_cgroups },
	{ "citizen", citizen, 2, no_cgroups },
	{ "test knobs", test_knobs, 1, NULL },
	{ "reader", reader, 1, NULL },
	{ "pressure", pressure, 1, NULL },
	{ "hotplug", hotplug, 1, no_hotplug },
};

#define MAX_ACTORS 32

static struct self *selves;
static int running;

/* ---- the statistics ---- */

#define STATISTICS_S 15

/* When the run began, and the last print of the statistics. */
static double begin, printed;
static int round_number;

static void print_statistics(void)
{
	char text[700];
	int length = 0;

	for (int i = 0; i < COUNTERS; i++)
		length += snprintf(text + length, sizeof(text) - length, ", %s %lu", counters[i],
				   shared->counts[i]);
	printed = now();
	ksft_print_msg("%.0f s, round %d: %lu operations%s; longest free %lu ms\n",
		       printed - begin, round_number, total(), text, shared->longest_free / 1000);
}

/* Sleeps for 10 ms. Prints what is due: only a machine that hangs is silent for long. */
static void pause_a_little(void)
{
	if (now() - printed >= STATISTICS_S)
		print_statistics();
	nap(10000);
}

static bool eventually(bool (*condition)(void))
{
	double end = now() + 30 * shared->slow;

	while (!condition()) {
		if (now() > end)
			return false;
		pause_a_little();
	}
	return true;
}

/* ---- a round ---- */

static pid_t start(const struct actor *actor, struct self *self, uint64_t seed)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	seed_random(seed);
	while (!READ_ONCE(shared->stop) && !failed()) {
		actor->act(self);
		__atomic_fetch_add(&shared->acts[actor - actors], 1, __ATOMIC_RELAXED);
		pace();
	}
	self->finish = true;
	actor->act(self);
	exit(0);
}

static void start_round(uint64_t seed)
{
	running = 0;
	shared->stop = false;
	memset(selves, 0, MAX_ACTORS * sizeof(*selves));
	for (size_t i = 0; i < ARRAY_SIZE(actors); i++) {
		if (actors[i].hindrance && actors[i].hindrance())
			continue;
		for (int n = 0; n < actors[i].count && running < MAX_ACTORS; n++, running++) {
			struct self *self = &selves[running];

			self->number = running;
			snprintf(self->name, sizeof(self->name), "%s %d", actors[i].name, n);
			self->pid = start(&actors[i], self,
					  seed + round_number * 1000003ull + running);
		}
	}
}

static void say_where(const struct self *self)
{
	char path[64], *stack;

	ksft_print_msg("FAILED: %s is stuck in: %s\n", self->name, self->command);
	snprintf(path, sizeof(path), "/proc/%d/stack", self->pid);
	stack = read_file(path);
	for (char *line, *rest = stack; rest && (line = strtok_r(rest, "\n", &rest));)
		ksft_print_msg("  %s\n", line);
	free(stack);
}

/* Waits until all actors have ended. False: one is stuck. */
static bool end_round(void)
{
	double end = now() + 60 * shared->slow;
	int left = running, status;
	bool all = true;
	pid_t pid;

	shared->stop = true;
	while (left && now() < end) {
		pid = waitpid(-1, &status, WNOHANG);
		if (pid <= 0) {
			pause_a_little();
			continue;
		}
		left--;
		for (int i = 0; i < running; i++) {
			if (selves[i].pid != pid)
				continue;
			selves[i].pid = 0;
			if (!WIFEXITED(status) || WEXITSTATUS(status)) {
				ksft_print_msg("FAILED: %s died (status %#x) in: %s\n",
					       selves[i].name, status, selves[i].command);
				shared->errors++;
			}
		}
	}
	for (int i = 0; i < running; i++) {
		if (selves[i].pid) {
			say_where(&selves[i]);
			shared->errors++;
			all = false;
		}
	}
	return all;
}

/* ---- between the rounds ---- */

static bool any_cache(void)
{
	DIR *folder = opendir("/sys/kernel/slab");
	struct dirent *entry;
	bool found = false;

	while (folder && (entry = readdir(folder)))
		found |= !strncmp(entry->d_name, "kmemcg:", 7);
	if (folder)
		closedir(folder);
	return found;
}

static bool is_empty(const char *file)
{
	char *text = knob_read(file);
	bool empty = text && !*text;

	free(text);
	return empty;
}

static bool nothing_left(void)
{
	return is_empty("roots") && is_empty("objects") && is_empty("children") && !any_cache();
}

static void each_record(const char *file, const char *key, void (*f)(const char *name))
{
	char *text = knob_read(file), name[64];

	for (char *line, *rest = text; rest && (line = strtok_r(rest, "\n", &rest));) {
		if (field(line, key, name, sizeof(name)))
			f(name);
	}
	free(text);
}

static void free_handle(const char *name)
{
	check(knob("objects", "free %s", name) == 0, "free %s, at the end", name);
}

static void offline_group(const char *name)
{
	check(knob("groups", "offline %s", name) == 0, "offline %s, at the end", name);
}

static void destroy_root(const char *name)
{
	/* A root that is closing is listed, but has no name any more: ENOENT. */
	int error = knob("roots", "destroy %s", name);

	check(!error || error == -ENOENT, "destroy %s, at the end: %s", name, strerror(-error));
}

/* Frees and destroys everything and checks that nothing is left; or leaves that to the unload. */
static void take_down(void)
{
	bool by_hand = once_in(2);
	double end = now() + 20;
	int error;

	if (by_hand) {
		each_record("objects", "handle", free_handle);
		each_record("roots", "name", destroy_root);
		each_record("groups", "name", offline_group);
		check(eventually(nothing_left), "left after the round: %s",
		      any_cache() ? "a slab cache" : "a record");
	}
	/* A reader that was killed may still have a file open. */
	do {
		error = unload(O_NONBLOCK);
	} while (error == -EWOULDBLOCK && now() < end && (pause_a_little(), true));
	check(!error, "the module cannot be unloaded: %s", strerror(-error));
	check(!any_cache(), "a slab cache is left after the unload, %s",
	      by_hand ? "before which all was freed" : "which had to free all");
	check(access(CONTROL, F_OK), "a file in debugfs is left after the unload");
	count(RELOADS);
	if (!load()) {
		check(false, "the module cannot be loaded again");
		return;
	}
	check(nothing_left() && is_empty("groups"), "a newly loaded module has records");
}

int main(void)
{
	double seconds = setting("TORTURE_S", 120);
	uint64_t seed = setting("SEED", time(NULL) ^ getpid() << 16);
	bool ended = true;

	ksft_print_header();
	ksft_set_plan(3 + ARRAY_SIZE(actors));
	if (!is_loaded() && !load())
		ksft_exit_skip("the module " MODULE " is not installed\n");
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	selves = mmap(NULL, MAX_ACTORS * sizeof(*selves), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED || selves == MAP_FAILED)
		ksft_exit_fail_msg("no memory\n");
	shared->slow = setting("SLOW", 1);
	shared->rt = is_rt();
	ksft_print_msg("SEED=%llu repeats these choices; %.0f s\n", (unsigned long long)seed,
		       seconds);

	begin = now();
	while (ended && !failed() && now() - begin < seconds) {
		round_number++;
		start_round(seed);
		for (double end = now() + ROUND_S; now() < end && !failed();)
			pause_a_little();
		ended = end_round();
		if (ended) {
			seed_random(seed + round_number);
			take_down();
		}
	}
	print_statistics();
	ksft_test_result(!failed(), "%lu operations, %.0f s, %d rounds: every answer was right\n",
			 total(), now() - begin, round_number);
	ksft_test_result(ended, "every actor ended\n");
	ksft_test_result(shared->counts[RELOADS] >= (unsigned long)round_number,
			 "I9 the module was unloaded after each of %d rounds, and left nothing\n",
			 round_number);
	for (size_t i = 0; i < ARRAY_SIZE(actors); i++) {
		const char *hindrance = actors[i].hindrance ? actors[i].hindrance() : NULL;

		if (hindrance)
			ksft_test_result_skip("actor %s: %s\n", actors[i].name, hindrance);
		else
			ksft_test_result(shared->acts[i], "actor %s has acted %lu times\n",
					 actors[i].name, shared->acts[i]);
	}
	/* Do not wait for an actor that is stuck. */
	if (!ended)
		_exit(1);
	ksft_finished();
}
