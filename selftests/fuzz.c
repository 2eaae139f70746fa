// SPDX-License-Identifier: GPL-2.0
/*
 * Generated writes to and reads from every file of rust_kmemcg: valid commands,
 * mutilated commands, noise; empty, huge, binary, in two pieces, from a bad address.
 * The model (model.h) has to allow each answer, and the files have to show its state
 * afterwards. Meanwhile other processes read, and try to unload the module.
 *
 *	FUZZ_N	how many inputs for each file (default: 15000, some 100,000 for all)
 *	SEED	repeats the choices of a run (default: a new seed for each run)
 */
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <signal.h>

#include "inputs.h"

static struct model model;
static unsigned long writes[KNOBS], reads[KNOBS], done;
static unsigned long answers[10];
static const char * const answer_names[] = {
	"done", "EINVAL", "ERANGE", "E2BIG", "ENOENT", "EEXIST", "EBUSY", "EOPNOTSUPP", "EFAULT",
};

/* When a test knob was turned on, and how many writes it may still be on. */
static double delayed_since;
static int delayed_writes;

struct shared {
	bool stop;
	unsigned long reads, unloads, refused, errors;
};

static struct shared *shared;

/* ---- writes ---- */

static void wrong(enum knob file, const char *bytes, size_t length, unsigned int wanted, int error)
{
	char text[260] = "";
	size_t n = 0, i;

	for (i = 0; i < length && n < 240; i++)
		n += sprintf(text + n, bytes[i] >= ' ' && bytes[i] <= '~' ? "%c" : "\\x%02x",
			     bytes[i] & 255);
	ksft_print_msg("FAILED: %s: \"%s\" (%zu bytes): answer %s, expected one of the set %#x\n",
		       knobs[file].name, text, length, strerror(-error), wanted);
	shared->errors++;
}

static void judge(enum knob file, struct command *command, const char *bytes, size_t length,
		  int error)
{
	unsigned int answer = answer_of(error), wanted = command->errors;

	if (!wanted || command->unsure)
		wanted |= DONE;
	writes[file]++;
	answers[__builtin_ctz(answer)]++;
	if (!(answer & wanted))
		wrong(file, bytes, length, wanted, error);
	/* The model follows the module even after a wrong answer. */
	if (answer == DONE && (command->unsure || !(command->errors & ~DONE))) {
		done += command->operation != NOTHING;
		commit(&model, command);
	}
}

static void command(enum knob file, const char *text)
{
	struct command command = parse(&model, file, text, strlen(text));

	judge(file, &command, text, strlen(text),
	      knob_write(knobs[file].name, text, strlen(text)));
}

static void turn_off(enum knob file)
{
	int expires = knobs[file].expires;

	if (!model.on[file])
		return;
	if (expires && now() - delayed_since > expires) {
		/* It may have ended by itself: either answer is right. */
		knob(knobs[file].name, "%s", knobs[file].off);
		model.on[file] = false;
	} else {
		command(file, knobs[file].off);
	}
}

/* Turns the test knobs off. None is on for long: the reader of a held grace period spins. */
static void end_delay(void)
{
	for (int i = 0; i < KNOBS; i++) {
		if (knobs[i].delays)
			turn_off(i);
	}
}

static void write_something(enum knob file, char *buffer)
{
	size_t length = something(file, buffer), first = length;
	struct command head, tail;
	bool delayed = is_delayed(&model);
	int fd;

	if (delayed && --delayed_writes < 0)
		end_delay();
	/* In two pieces: each is parsed as a command. */
	if (length > 1 && once_in(10))
		first = 1 + pick(length - 1);
	head = parse(&model, file, buffer, first);
	if (!is_affordable(&model, &head)) {
		end_delay();
		return;
	}
	if (!head.errors && knobs[file].slow && !once_in(20))
		return;
	fd = open(knob_path(knobs[file].name), O_WRONLY);
	if (fd < 0) {
		wrong(file, buffer, length, DONE, -errno);
		return;
	}
	if (first < length) {
		struct iovec pieces[] = { { buffer, first }, { buffer + first, length - first } };
		ssize_t written;

		/* The second command depends on the state that the first one leaves. */
		if (once_in(2) || head.unsure || head.errors & ~DONE) {
			written = write(fd, buffer, first);
			judge(file, &head, buffer, first, written < 0 ? -errno : 0);
			tail = parse(&model, file, buffer + first, length - first);
			if (is_affordable(&model, &tail)) {
				lseek(fd, pick(1000), SEEK_SET);
				written = write(fd, buffer + first, length - first);
				judge(file, &tail, buffer + first, length - first,
				      written < 0 ? -errno : 0);
			}
		} else {
			struct model before = model;

			commit(&model, &head);
			tail = parse(&model, file, buffer + first, length - first);
			if (!is_affordable(&model, &tail)) {
				model = before;
				close(fd);
				return;
			}
			model = before;
			written = writev(fd, pieces, 2);
			judge(file, &head, buffer, first, written < 0 ? -errno : 0);
			tail = parse(&model, file, buffer + first, length - first);
			if (written == (ssize_t)length)
				judge(file, &tail, buffer + first, length - first, 0);
			else if (!(tail.errors & ~DONE) && !tail.unsure)
				wrong(file, buffer + first, length - first, DONE, -EIO);
		}
	} else if (length && once_in(200)) {
		/* Page 0 is not mapped. */
		struct command bad = { .errors = length > MAX_COMMAND ? TOO_BIG : BAD_ADDRESS };
		ssize_t written;

		if (is_read_only(file))
			bad.errors |= INVALID;
		written = syscall(SYS_write, fd, 1, length);
		judge(file, &bad, "(bad address)", 13, written < 0 ? -errno : 0);
	} else {
		ssize_t written;

		/* The module ignores the file position. */
		if (once_in(8))
			lseek(fd, pick(1 << 20), SEEK_SET);
		written = write(fd, buffer, length);
		judge(file, &head, buffer, length, written < 0 ? -errno : 0);
	}
	close(fd);
	if (!delayed && is_delayed(&model)) {
		delayed_since = now();
		delayed_writes = 20;
	}
}

/* ---- reads ---- */

/* Whole records of key=value; of a switch, one of its two words. */
static bool is_well_formed(enum knob file, const char *text)
{
	const char *end = text + strlen(text);

	if (knobs[file].on && !knobs[file].is_record) {
		size_t length = strcspn(text, "\n");
		char word[32];

		snprintf(word, sizeof(word), "%.*s", (int)length, text);
		return !strcmp(text + length, "\n") &&
		       (!strcmp(word, knobs[file].shown_on) ||
			!strcmp(word, knobs[file].shown_off));
	}
	for (const char *line = text; line < end; line = strchr(line, '\n') + 1) {
		size_t length = strcspn(line, "\n"), words = 0, values = 0;

		if (line[length] != '\n' || !length)
			return false;
		for (size_t i = 0; i < length; i++) {
			if (line[i] < ' ' || line[i] > '~')
				return false;
			words += line[i] == ' ';
			values += line[i] == '=';
		}
		if (values != words + 1)
			return false;
	}
	return true;
}

static void read_something(enum knob file)
{
	static char buffer[1 << 16];
	int fd;

	if (once_in(4)) {
		char *text = knob_read(knobs[file].name);

		if (!text || !is_well_formed(file, text)) {
			ksft_print_msg("FAILED: %s reads: %.300s\n", knobs[file].name,
				       text ? text : strerror(errno));
			shared->errors++;
		}
		free(text);
		return;
	}
	fd = open(knob_path(knobs[file].name), O_RDONLY);
	if (fd < 0 ||
	    pread(fd, buffer, once_in(4) ? pick(sizeof(buffer)) : pick(64),
		  once_in(2) ? 0 : pick(2000)) < 0 ||
	    lseek(fd, pick(1000), SEEK_SET) < 0 || read(fd, buffer, 1 + pick(10)) < 0) {
		ksft_print_msg("FAILED: %s cannot be read: %s\n", knobs[file].name,
			       strerror(errno));
		shared->errors++;
	}
	if (fd >= 0)
		close(fd);
}

/* ---- other processes, meanwhile ---- */

static pid_t start(void (*actor)(void), int number)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	seed_random(random_state + number);
	actor();
	exit(0);
}

static void reader(void)
{
	while (!READ_ONCE(shared->stop)) {
		read_something(pick(KNOBS));
		shared->reads++;
	}
}

/* main() has a file open, so the unload must fail. */
static void unloader(void)
{
	while (!READ_ONCE(shared->stop)) {
		int error = unload(O_NONBLOCK);

		shared->unloads++;
		if (error == -EWOULDBLOCK || error == -EBUSY) {
			shared->refused++;
		} else {
			ksft_print_msg("FAILED: unloading a module in use: %s\n", strerror(-error));
			shared->errors++;
		}
		nap(2000);
	}
}

/* ---- the end state ---- */

/* The table of the model and the folder in debugfs name the same files. */
static bool has_models(void)
{
	struct knobs found = list_knobs();
	bool same = found.count == KNOBS;

	for (int i = 0; i < found.count; i++) {
		int at = 0;

		while (at < KNOBS && strcmp(knobs[at].name, found.names[i]))
			at++;
		if (at == KNOBS)
			ksft_print_msg("FAILED: model.h has no %s\n", found.names[i]);
		same &= at < KNOBS;
	}
	return same;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Sorts the lines of a text. Frees the text. */
static char *sorted(char *text)
{
	char *lines[1024], *result = calloc(1, strlen(text) + 2), *rest = text;
	int count = 0;

	while (count < 1024 && (lines[count] = strtok_r(rest, "\n", &rest)))
		count++;
	qsort(lines, count, sizeof(*lines), by_text);
	for (int i = 0; i < count; i++)
		strcat(strcat(result, lines[i]), "\n");
	free(text);
	return result;
}

/* What the files show, as print_model() prints it. */
static char *seen(void)
{
	char *files[KNOBS] = {}, *text, name[64], other[64], value[64], *line, *rest;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	for (int i = 0; i < KNOBS; i++)
		files[i] = knob_read(knobs[i].name) ?: strdup("");
	for (rest = files[ROOTS]; (line = strtok_r(rest, "\n", &rest));) {
		field(line, "name", name, 64);
		field(line, "state", value, 64);
		field(line, "account", other, 64);
		fprintf(out, "root %s size=%ld align=%ld account=%s state=%s\n", name,
			number_field(line, "size"), number_field(line, "align"), other, value);
	}
	for (rest = strdup(files[GROUPS]); (line = strtok_r(rest, "\n", &rest));) {
		long parent = number_field(line, "parent");
		char *found, key[40];

		/* The groups of cgroups are not modelled. */
		if (number_field(line, "cgroup") >= 0)
			continue;
		field(line, "name", name, 64);
		strcpy(other, "-");
		snprintf(key, sizeof(key), "group=%ld ", parent);
		found = parent ? strstr(files[GROUPS], key) : NULL;
		if (found)
			field(found, "name", other, 64);
		fprintf(out, "group %s parent=%s\n", name, other);
	}
	for (rest = files[OBJECTS]; (line = strtok_r(rest, "\n", &rest));) {
		field(line, "handle", name, 64);
		field(line, "root", other, 64);
		fprintf(out, "handle %s root=%s objects=%ld\n", name, other,
			number_field(line, "objects"));
	}
	for (int i = 0; i < KNOBS; i++) {
		if (knobs[i].on && knobs[i].is_record && field(files[i], "state", value, 64))
			fprintf(out, "%s %s\n", knobs[i].name, value);
		else if (knobs[i].on)
			fprintf(out, "%s %s", knobs[i].name, files[i]);
	}
	fclose(out);
	for (int i = 0; i < KNOBS; i++)
		free(files[i]);
	return sorted(text);
}

/* Waits, because a root that is closing is destroyed by a worker. */
static bool agrees(void)
{
	char *expected, *found = NULL;
	double end = now() + 60;
	bool same = false;
	size_t size;
	FILE *out;

	end_delay();
	out = open_memstream(&expected, &size);
	print_model(&model, out);
	fclose(out);
	expected = sorted(expected);
	while (!same) {
		free(found);
		found = seen();
		same = !strcmp(expected, found);
		if (same || now() > end)
			break;
		nap(10000);
	}
	if (!same) {
		ksft_print_msg("FAILED: expected\n");
		for (char *line, *rest = expected; (line = strtok_r(rest, "\n", &rest));)
			ksft_print_msg("  %s\n", line);
		ksft_print_msg("and there is\n");
		for (char *line, *rest = found; (line = strtok_r(rest, "\n", &rest));)
			ksft_print_msg("  %s\n", line);
	}
	free(expected);
	free(found);
	return same;
}

static void take_down(void)
{
	char text[80];

	end_delay();
	for (int i = 0; i < KNOBS; i++)
		turn_off(i);
	for (int i = 0; i < ENTRIES; i++) {
		if (model.handles[i].used) {
			snprintf(text, sizeof(text), "free %s", model.handles[i].name);
			command(OBJECTS, text);
		}
	}
	for (int i = 0; i < ENTRIES; i++) {
		if (model.groups[i].used) {
			snprintf(text, sizeof(text), "offline %s", model.groups[i].name);
			command(GROUPS, text);
		}
		if (model.roots[i].used && !model.roots[i].closing) {
			snprintf(text, sizeof(text), "destroy %s", model.roots[i].name);
			command(ROOTS, text);
		}
	}
}

/* ---- the module is reloaded ---- */

/* Writes while the module may not be loaded. Not to switches: none may stay on. */
static void careless(void)
{
	char *buffer = malloc(HUGE_WRITE + 4096);

	while (!READ_ONCE(shared->stop)) {
		enum knob file = pick(KNOBS);
		size_t length;
		int error;
		bool gone;

		if (!knobs[file].parse)
			continue;
		length = something(file, buffer);
		error = knob_write(knobs[file].name, buffer, length);
		gone = error == -ENODEV || error == -ENXIO || error == -EIO;

		__atomic_fetch_add(&shared->reads, 1, __ATOMIC_RELAXED);
		if (answer_of(error) == UNDOCUMENTED && error != -ENOMEM && !gone)
			wrong(file, buffer, length, 0, error);
		if (once_in(8))
			free(knob_read(knobs[pick(KNOBS)].name));
		/* A pause, because the module cannot be unloaded while a file is open. */
		if (once_in(2))
			nap(pick(4000));
	}
}

/* Reloads the module, whenever no file is open. */
static int reload_while_used(int times)
{
	double end = now() + 60;
	int reloads = 0;
	pid_t pids[3];

	shared->stop = false;
	shared->reads = 0;
	for (int i = 0; i < 3; i++)
		pids[i] = start(careless, 10 + i);
	while (reloads < times && now() < end && !READ_ONCE(shared->errors)) {
		nap(pick(20000));
		if (unload(O_NONBLOCK))
			continue;
		if (!load())
			break;
		ksft_print_msg("reload %d\n", ++reloads);
	}
	shared->stop = true;
	for (int i = 0; i < 3; i++)
		waitpid(pids[i], NULL, 0);
	ksft_print_msg("%d reloads during %lu writes\n", reloads, shared->reads);
	return reloads;
}

int main(void)
{
	unsigned long limit = setting("FUZZ_N", 15000), total, said = 0;
	uint64_t seed = setting("SEED", time(NULL) ^ getpid() << 16);
	char *buffer = malloc(HUGE_WRITE + 4096);
	pid_t others[3];
	bool same = true;
	double begin;
	int keep;

	ksft_print_header();
	ksft_set_plan(6);
	if (!is_loaded() && !load())
		ksft_exit_skip("the module " MODULE " is not installed\n");
	shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ksft_print_msg("SEED=%llu repeats these choices\n", (unsigned long long)seed);
	seed_random(seed);
	model.rt = is_rt();
	keep = open(knob_path(knobs[ROOTS].name), O_RDONLY);
	if (keep < 0 || shared == MAP_FAILED || !buffer)
		ksft_exit_fail_msg("the files in debugfs cannot be opened\n");
	others[0] = start(reader, 1);
	others[1] = start(reader, 2);
	others[2] = start(unloader, 3);

	begin = now();
	for (total = 0; total < limit * KNOBS && shared->errors < 20; total++) {
		enum knob file = total % KNOBS;

		if (once_in(3)) {
			read_something(file);
			reads[file]++;
		} else {
			unsigned long before = writes[file];

			while (writes[file] == before && shared->errors < 20)
				write_something(file, buffer);
		}
		if (total % 5000 == 4999)
			same = same && agrees();
		if (now() > begin + said * 10 + 10) {
			said = (now() - begin) / 10;
			ksft_print_msg("%lu s: %lu of %lu inputs, %lu commands done\n", said * 10,
				       total, limit * KNOBS, done);
		}
	}
	shared->stop = true;
	for (int i = 0; i < 3; i++)
		waitpid(others[i], NULL, 0);
	for (int i = 0; i < KNOBS; i++)
		ksft_print_msg("%s: %lu writes, %lu reads\n", knobs[i].name, writes[i], reads[i]);
	ksft_print_msg("%lu reads and %lu attempts to unload meanwhile\n", shared->reads,
		       shared->unloads);
	for (size_t i = 0; i < ARRAY_SIZE(answer_names); i++)
		ksft_print_msg("%s: %lu answers\n", answer_names[i], answers[i]);
	ksft_test_result(has_models(), "every file has a model\n");
	ksft_test_result(!shared->errors && done > limit / 100,
			 "%lu inputs, %lu commands done: every answer is documented\n",
			 total, done);
	ksft_test_result(same && agrees(), "the files show the state of the model\n");
	ksft_test_result(shared->refused > 0 && shared->refused == shared->unloads,
			 "an open file holds the module: each unload was refused\n");
	take_down();
	close(keep);
	ksft_test_result(agrees() && !shared->errors && !unload(0) && load(),
			 "everything can be freed and destroyed, and the module unloaded\n");
	ksft_test_result(reload_while_used(20) && !shared->errors,
			 "the module is reloaded while other processes write\n");
	ksft_finished();
}
