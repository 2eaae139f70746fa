/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The actors of torture. Each is called repeatedly, with a pause in between, and
 * once at the end (finish) to free what it still has. The names that an actor uses
 * contain its number, so it knows what each of its commands must answer.
 */
#ifndef TORTURE_ACTORS_H
#define TORTURE_ACTORS_H

#include <glob.h>
#include <sys/mman.h>

#include "torture.h"

#define SHARED_ROOTS 3

/* Groups that allocate from the roots of the landlord; their objects outlive them. */
static void tenant(struct self *self)
{
	char group[24], root[24];
	int i, error;

	snprintf(group, sizeof(group), "t%d.%u", self->number, self->groups);
	if (self->finish) {
		free_all(self);
		return;
	}
	if (!must(self, "groups", "create %s", group))
		return;
	count(GROUPS_CREATED);
	for (int times = 1 + pick(12); times && !READ_ONCE(shared->stop); times--) {
		i = pick(HANDLES);
		if (self->handles[i].used) {
			free_of(self, i);
			continue;
		}
		snprintf(root, sizeof(root), "s%u", pick(SHARED_ROOTS));
		error = alloc_as(self, i, root, once_in(8) ? "-" : group);
		check(!error || error == -ENOENT || error == -ENODEV || error == -ENOMEM,
		      "%s: %s: %s", self->name, self->command, strerror(-error));
		if (error)
			count(REFUSALS);
		pace();
	}
	take_offline(self, group);
	self->groups++;
}

/* A root that no other actor uses, so the owner knows whether it has objects. */
static void owner(struct self *self)
{
	char root[24], group[24], line[256];
	int live = 0, error;

	snprintf(root, sizeof(root), "o%d.%u", self->number, self->names);
	snprintf(group, sizeof(group), "o%d.%u", self->number, self->names++);
	if (self->finish) {
		free_all(self);
		return;
	}
	if (!must(self, "roots", "create %s %u", root, 8 << pick(9)) ||
	    !must(self, "groups", "create %s", group))
		return;
	count(ROOTS_CREATED);
	count(GROUPS_CREATED);
	for (int i = 0; i < HANDLES; i++) {
		if (!once_in(3) || self->handles[i].used)
			continue;
		error = alloc_as(self, i, root, once_in(4) ? "-" : group);
		check(!error || error == -ENOMEM, "%s: %s: %s", self->name, self->command,
		      strerror(-error));
		live += !error;
		pace();
	}
	if (once_in(2))
		take_offline(self, group);
	else
		group[0] = 0;
	if (live) {
		/* I6: a destroy that fails changes nothing. */
		error = order(self, "roots", "destroy %s%s", root, once_in(3) ? "" : " uncounted");
		check(error == -EBUSY, "%s: %s with live objects: %s", self->name, self->command,
		      strerror(-error));
		count(ROOTS_BUSY);
		check(record("roots", "name", root, line, sizeof(line)) &&
		      strstr(line, "state=live"),
		      "%s: %s is not live after a destroy that failed", self->name, root);
	}
	if (once_in(2)) {
		must(self, "roots", "destroy %s async", root);
		count(ROOTS_CLOSED);
		/* A closed root has no name any more. */
		error = order(self, "roots", "destroy %s", root);
		check(error == -ENOENT, "%s: %s, which was closed: %s", self->name, self->command,
		      strerror(-error));
		if (live && once_in(2))
			free_all(self);
	} else {
		free_all(self);
		if (must(self, "roots", "destroy %s", root))
			count(ROOTS_DESTROYED);
		check(!record("roots", "name", root, line, sizeof(line)), "%s: %s is still there",
		      self->name, root);
	}
	if (!group[0])
		must(self, "groups", "offline o%d.%u", self->number, self->names - 1);
}

/* The roots of the tenants, destroyed at random moments. */
static void landlord(struct self *self)
{
	unsigned int n = pick(SHARED_ROOTS);
	int error;

	if (self->finish)
		return;
	error = order(self, "roots", "create s%u %u %u", n, 8 << pick(9), 8 << pick(4));
	check(!error || error == -EEXIST, "%s: %s: %s", self->name, self->command,
	      strerror(-error));
	count(error ? REFUSALS : ROOTS_CREATED);
	nap(pick(30000));
	error = order(self, "roots", "destroy s%u%s", n,
		      once_in(3) ? " async" : once_in(2) ? " uncounted" : "");
	check(!error || error == -EBUSY, "%s: %s: %s", self->name, self->command, strerror(-error));
	if (error)
		count(ROOTS_BUSY);
	else
		count(strstr(self->command, "async") ? ROOTS_CLOSED : ROOTS_DESTROYED);
}

/* A tree of groups, taken offline in any order: a parent may go before its children. */
static void family(struct self *self)
{
	bool online[8] = {};
	char group[24], root[24];
	int i;

	if (self->finish) {
		free_all(self);
		return;
	}
	for (i = 0; i < 8; i++) {
		/* The parents of 1 .. 7 are 0, 0, 1, 1, 2, 2, 3. */
		if (i)
			online[i] = must(self, "groups", "create f%d.%d f%d.%d", self->number, i,
					 self->number, (i - 1) / 2);
		else
			online[i] = must(self, "groups", "create f%d.0", self->number);
		count(GROUPS_CREATED);
		snprintf(group, sizeof(group), "f%d.%d", self->number, i);
		snprintf(root, sizeof(root), "s%u", pick(SHARED_ROOTS));
		if (!self->handles[i].used)
			alloc_as(self, i, root, group);
	}
	pace();
	for (int times = 0; times < 40; times++) {
		i = pick(8);
		snprintf(group, sizeof(group), "f%d.%d", self->number, i);
		if (online[i])
			take_offline(self, group);
		else if (self->handles[i].used)
			free_of(self, i);
		online[i] = false;
	}
	for (i = 0; i < 8; i++) {
		snprintf(group, sizeof(group), "f%d.%d", self->number, i);
		if (online[i])
			take_offline(self, group);
	}
}

/* The test knobs: a grace period held open, the workqueue blocked, or both. */
static void test_knobs(struct self *self)
{
	bool hold = once_in(2), block = !hold || once_in(2);
	double begin = now();
	int error;

	if (self->finish)
		return;
	if (block && must(self, "workqueue", "block"))
		count(BLOCKS);
	if (hold && must(self, "grace_period", "hold"))
		count(HOLDS);
	nap(pick(once_in(4) ? 400000 : 30000));
	if (hold) {
		error = order(self, "grace_period", "release");
		/* A held grace period ends by itself after 10 s. */
		check(!error || (error == -EBUSY && now() - begin > 8), "%s: %s: %s", self->name,
		      self->command, strerror(-error));
	}
	pace();
	if (block)
		must(self, "workqueue", "unblock");
	nap(pick(200000));
}

/* A read returns whole records, and only stages that exist. */
static void reader(struct self *self)
{
	static const char *const stages[] = {
		"new", "active", "active_marked", "offline_deferred", "offline_deferred_marked",
		"deactivating", "quiescent", "killed", "release_deferred",
		"release_deferred_marked", "released", "shutdown",
	};
	struct knobs knobs = list_knobs();
	char *text, stage[32];

	check(knobs.count > 0, "%s: there are no files", self->name);
	for (int i = 0; i < knobs.count && !self->finish; i++) {
		bool has_stages = !strcmp(knobs.names[i], "children");

		text = knob_read(knobs.names[i]);
		check(text && (!*text || text[strlen(text) - 1] == '\n'),
		      "%s: %s does not end with a newline", self->name, knobs.names[i]);
		for (char *line, *rest = text;
		     has_stages && rest && (line = strtok_r(rest, "\n", &rest));) {
			check(field(line, "stage", stage, sizeof(stage)), "%s: no stage: %s",
			      self->name, line);
			bool known = false;

			for (size_t n = 0; n < ARRAY_SIZE(stages); n++)
				known |= !strcmp(stage, stages[n]);
			check(known, "%s: no such stage: %s", self->name, line);
		}
		free(text);
		count(READS);
	}
}

/* Memory pressure: drops the page cache, shrinks the module's caches, and allocates memory. */
static void pressure(struct self *self)
{
	glob_t caches = {};
	size_t size;
	char *memory;
	int fd;

	if (self->finish)
		return;
	fd = open("/proc/sys/vm/drop_caches", O_WRONLY);
	if (fd >= 0) {
		if (write(fd, "3", 1) == 1)
			count(PRESSURES);
		close(fd);
	}
	glob("/sys/kernel/slab/kmemcg:*/shrink", 0, NULL, &caches);
	for (size_t i = 0; i < caches.gl_pathc; i++) {
		/* The cache may be destroyed by now. */
		fd = open(caches.gl_pathv[i], O_WRONLY);
		if (fd >= 0) {
			if (write(fd, "1", 1) == 1)
				count(PRESSURES);
			close(fd);
		}
	}
	globfree(&caches);
	size = (16 + pick(128)) << 20;
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory != MAP_FAILED) {
		for (size_t at = 0; at < size; at += 4096)
			memory[at] = 1;
		munmap(memory, size);
		count(PRESSURES);
	}
	nap(pick(300000));
}

#define SECOND_CPU "/sys/devices/system/cpu/cpu1/online"

static const char *no_hotplug(void)
{
	return access(SECOND_CPU, W_OK) ? "this kernel cannot take a processor offline" : NULL;
}

static void hotplug(struct self *self)
{
	int fd = open(SECOND_CPU, O_WRONLY);

	if (fd >= 0 && !self->finish) {
		if (write(fd, "0", 1) == 1)
			count(HOTPLUGS);
		nap(pick(200000));
	}
	check(fd >= 0 && (write(fd, "1", 1) == 1 || errno == EBUSY),
	      "%s: processor 1 does not come online again", self->name);
	close(fd);
	nap(pick(400000));
}

/* ---- groups that are cgroups ---- */

#define CGROUP "/sys/fs/cgroup"

static const char *no_cgroups(void)
{
	if (access(CONTROL "cgroups", W_OK))
		return "the module is built without cgroups";
	return access(CGROUP "/cgroup.procs", W_OK) ? "this kernel has no cgroup v2" : NULL;
}

/* Attaches and detaches the cgroups. */
static void registrar(struct self *self)
{
	bool attach = !self->finish && !once_in(3);
	int error = order(self, "cgroups", attach ? "attach" : "detach");

	check(!error || error == -EBUSY, "%s: %s: %s", self->name, self->command, strerror(-error));
	count(error ? REFUSALS : ATTACHED);
	if (!self->finish)
		nap(pick(300000));
}

static bool enter(const char *cgroup)
{
	char path[80];
	bool entered;
	int fd;

	snprintf(path, sizeof(path), CGROUP "%s/cgroup.procs", cgroup);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	entered = fd >= 0 && write(fd, "0", 1) == 1;
	close(fd);
	return entered;
}

/* Creates a cgroup, allocates for it or in it, and removes it while its objects are live. */
static void citizen(struct self *self)
{
	char cgroup[32], path[64], root[24];
	bool inside;
	int i, error;

	if (self->finish) {
		free_all(self);
		return;
	}
	snprintf(cgroup, sizeof(cgroup), "/torture%d.%u", self->number, self->names++);
	snprintf(path, sizeof(path), CGROUP "%s", cgroup);
	snprintf(self->command, sizeof(self->command), "mkdir %s", path);
	check(!mkdir(path, 0755), "%s: %s: %s", self->name, self->command, strerror(errno));
	count(CGROUPS_MADE);
	inside = once_in(2) && enter(cgroup);
	for (int times = 1 + pick(10); times && !READ_ONCE(shared->stop); times--) {
		i = pick(HANDLES);
		if (self->handles[i].used) {
			free_of(self, i);
			continue;
		}
		snprintf(root, sizeof(root), "s%u", pick(SHARED_ROOTS));
		error = alloc_as(self, i, root, inside && once_in(2) ? "current" : cgroup);
		/* The cgroup is a group only while the cgroups are attached. */
		check(!error || error == -ENOENT || error == -ENODEV || error == -ENOMEM,
		      "%s: %s: %s", self->name, self->command, strerror(-error));
		if (error)
			count(REFUSALS);
		pace();
	}
	if (inside)
		check(enter(""), "%s: cannot leave %s: %s", self->name, cgroup, strerror(errno));
	snprintf(self->command, sizeof(self->command), "rmdir %s", path);
	check(!rmdir(path), "%s: %s: %s", self->name, self->command, strerror(errno));
}

#endif
