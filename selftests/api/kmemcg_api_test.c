// SPDX-License-Identifier: GPL-2.0
/*
 * Tests of include/rust_kmemcg.h, run in the kernel by selftests/api.sh.
 *
 * In debugfs, in the folder kmemcg_api_test, the file "list" has the names of the tests.
 * Writing a name to "run" runs that test. If it fails, the write fails with EINVAL, and a
 * line in the kernel's log names the expectation. The parameter "cgroup" names the group
 * that the tests of accounting allocate for.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/debugfs.h>
#include <linux/delay.h>
#include <linux/err.h>
#include <linux/irq_work.h>
#include <linux/module.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "rust_kmemcg.h"

static char *cgroup;
module_param(cgroup, charp, 0644);
MODULE_PARM_DESC(cgroup, "name of a group that is a cgroup");

/* Makes the test fail unless the condition holds. */
#define EXPECT(condition)							\
	do {									\
		if (!(condition)) {						\
			pr_err("%s:%d: not %s\n", __func__, __LINE__, #condition); \
			return -EINVAL;						\
		}								\
	} while (0)

#define EXPECT_ERR_PTR(pointer, error) EXPECT(PTR_ERR_OR_ZERO(pointer) == (error))

static struct kmemcg_stats stats(const struct kmemcg_root *root)
{
	struct kmemcg_stats stats;

	memset(&stats, 0xff, sizeof(stats));
	kmemcg_root_stats(root, &stats);
	return stats;
}

/* The same, for a condition that a worker makes true. */
#define EXPECT_SOON(condition)							\
	do {									\
		int patience = 2000;						\
		bool done;							\
										\
		while (!(done = (condition)) && patience--)			\
			msleep(20);						\
		EXPECT(done && #condition);					\
	} while (0)

static int names_sizes_flags(void)
{
	static const char * const bad[] = {
		NULL, "", ".", "-x", "a b", "a/b", "\xff", "\xc3\xa4",
		"123456789012345678901234567890123",
	};
	struct kmemcg_root *root;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		EXPECT_ERR_PTR(kmemcg_root_create(bad[i], 8, 0, 0), -EINVAL);
		EXPECT_ERR_PTR(kmemcg_group_create(bad[i], NULL), -EINVAL);
	}
	EXPECT_ERR_PTR(kmemcg_root_create("api", 0, 0, 0), -EINVAL);
	EXPECT_ERR_PTR(kmemcg_root_create("api", 8, 3, 0), -EINVAL);
	EXPECT_ERR_PTR(kmemcg_root_create("api", 8, 0, 2), -EINVAL);
	EXPECT_ERR_PTR(kmemcg_root_create("api", 8, 0, ~0), -EINVAL);
	EXPECT_ERR_PTR(kmemcg_root_create("api", SIZE_MAX, 0, 0), -EINVAL);
	EXPECT_ERR_PTR(kmemcg_root_create("api", 8, BIT(62), 0), -E2BIG);
	EXPECT_ERR_PTR(kmemcg_root_create("api", SZ_1G, 0, 0), -E2BIG);

	/* The refused calls have created nothing. */
	root = kmemcg_root_create("api", 8, 0, 0);
	EXPECT_ERR_PTR(root, 0);
	EXPECT_ERR_PTR(kmemcg_root_create("api", 8, 0, 0), -EEXIST);
	EXPECT(kmemcg_root_destroy(root) == 0);
	root = kmemcg_root_create("12345678901234567890123456789012", 8, 0, 0);
	EXPECT_ERR_PTR(root, 0);
	EXPECT(kmemcg_root_destroy(root) == 0);
	return 0;
}

static int no_pointers(void)
{
	void * const none[] = { NULL, ERR_PTR(-ENOMEM), ERR_PTR(-MAX_ERRNO), ERR_PTR(-1) };
	struct kmemcg_root *root;
	size_t i;

	root = kmemcg_root_create("api", 64, 0, 0);
	EXPECT_ERR_PTR(root, 0);
	for (i = 0; i < ARRAY_SIZE(none); i++) {
		EXPECT(kmemcg_root_destroy(none[i]) == -EINVAL);
		EXPECT(kmemcg_root_close(none[i]) == -EINVAL);
		EXPECT(stats(none[i]).caches == 0);
		EXPECT(stats(none[i]).shutdowns == 0);
		EXPECT(kmemcg_group_offline(none[i]) == -EINVAL);
		EXPECT(!kmemcg_alloc(none[i], NULL, GFP_KERNEL));
		EXPECT(!kmemcg_alloc_current(none[i], GFP_KERNEL));
		EXPECT_ERR_PTR(kmemcg_group_get(none[i]), -EINVAL);
		kmemcg_group_put(none[i]);
		kmemcg_free(none[i]);
		if (!none[i])
			continue;
		EXPECT(!kmemcg_alloc(root, none[i], GFP_KERNEL));
		EXPECT_ERR_PTR(kmemcg_group_create("api", none[i]), -EINVAL);
	}
	EXPECT(stats(root).objects == 0);
	EXPECT(kmemcg_root_destroy(root) == 0);
	return 0;
}

#define OBJECTS 100

static bool is_filled(const u8 *object, u8 with, size_t size)
{
	return !memchr_inv(object, with, size);
}

/* Each object is aligned and overlaps no other one, nor the pointer to its owner. */
static int one_layout(size_t size, size_t align)
{
	struct kmemcg_root *root = kmemcg_root_create("api", size, align, 0);
	const gfp_t gfp[] = { GFP_KERNEL, GFP_KERNEL | __GFP_ZERO };
	static u8 *objects[OBJECTS];
	int i, round;

	EXPECT_ERR_PTR(root, 0);
	for (round = 0; round < 2; round++) {
		for (i = 0; i < OBJECTS; i++) {
			objects[i] = kmemcg_alloc(root, NULL, gfp[round]);
			EXPECT(objects[i]);
			EXPECT(IS_ALIGNED((unsigned long)objects[i], align ?: sizeof(void *)));
			if (round)
				EXPECT(is_filled(objects[i], 0, size));
			memset(objects[i], i + 1, size);
		}
		EXPECT(stats(root).objects == OBJECTS);
		for (i = 0; i < OBJECTS; i++) {
			EXPECT(is_filled(objects[i], i + 1, size));
			kmemcg_free(objects[i]);
		}
		EXPECT(stats(root).objects == 0);
	}
	EXPECT(kmemcg_root_destroy(root) == 0);
	return 0;
}

static int layouts(void)
{
	static const size_t sizes[] = { 1, 7, 8, 24, 96, 100, 4096 };
	static const size_t aligns[] = { 0, 1, 8, 16, 64, 256 };
	size_t i, j;

	for (i = 0; i < ARRAY_SIZE(sizes); i++)
		for (j = 0; j < ARRAY_SIZE(aligns); j++)
			EXPECT(one_layout(sizes[i], aligns[j]) == 0);
	return 0;
}

static int groups(void)
{
	struct kmemcg_group *parent, *group, *found;

	parent = kmemcg_group_create("api.parent", NULL);
	EXPECT_ERR_PTR(parent, 0);
	group = kmemcg_group_create("api.group", parent);
	EXPECT_ERR_PTR(group, 0);
	EXPECT_ERR_PTR(kmemcg_group_create("api.group", NULL), -EEXIST);
	found = kmemcg_group_get("api.group");
	EXPECT(found == group);
	kmemcg_group_put(found);
	EXPECT_ERR_PTR(kmemcg_group_get("api.nobody"), -ENOENT);

	EXPECT(kmemcg_group_offline(group) == 0);
	EXPECT(kmemcg_group_offline(group) == -ENOENT);
	EXPECT_ERR_PTR(kmemcg_group_get("api.group"), -ENOENT);
	/* The name is free again, while the old group still has a reference. */
	found = kmemcg_group_create("api.group", parent);
	EXPECT_ERR_PTR(found, 0);
	EXPECT(found != group);
	kmemcg_group_put(group);
	EXPECT(kmemcg_group_offline(found) == 0);
	kmemcg_group_put(found);
	EXPECT(kmemcg_group_offline(parent) == 0);
	EXPECT_ERR_PTR(kmemcg_group_create("api.group", parent), -ENOENT);
	kmemcg_group_put(parent);
	return 0;
}

/* Makes a root, and a group with a cache there: its first object requests it. */
static int prepare(struct kmemcg_root **root, struct kmemcg_group **group)
{
	void *object;

	*root = kmemcg_root_create("api", 96, 0, 0);
	EXPECT_ERR_PTR(*root, 0);
	*group = kmemcg_group_create("api", NULL);
	EXPECT_ERR_PTR(*group, 0);
	object = kmemcg_alloc(*root, *group, GFP_KERNEL);
	EXPECT(object);
	EXPECT(stats(*root).allocations_root == 1);
	EXPECT(stats(*root).requests == 1);
	EXPECT_SOON(stats(*root).creations == 1);
	EXPECT(stats(*root).caches == 2);
	kmemcg_free(object);
	return 0;
}

/* The cache of a group serves it, and is destroyed after its last object was freed by address. */
static int cache_of_a_group(void)
{
	struct kmemcg_group *group;
	struct kmemcg_root *root;
	void *first, *last;

	EXPECT(prepare(&root, &group) == 0);
	first = kmemcg_alloc(root, group, GFP_KERNEL);
	last = kmemcg_alloc(root, group, GFP_ATOMIC);
	EXPECT(first && last);
	EXPECT(stats(root).allocations_root == 1);
	/* The worker that has made the cache may have a reference still. */
	EXPECT_SOON(stats(root).objects == 2);

	EXPECT(kmemcg_group_offline(group) == 0);
	EXPECT_SOON(stats(root).deactivations == 1);
	kmemcg_group_put(group);
	kmemcg_free(first);
	EXPECT(stats(root).caches == 2);
	EXPECT(stats(root).shutdowns == 0);
	kmemcg_free(last);
	EXPECT_SOON(stats(root).shutdowns == 1);
	EXPECT(stats(root).caches == 1);
	EXPECT(stats(root).aborts == 0);
	EXPECT(kmemcg_root_destroy(root) == 0);
	return 0;
}

/* A group that is offline is served by the root, and requests no cache any more. */
static int offline_requests_nothing(void)
{
	struct kmemcg_group *group;
	struct kmemcg_root *root;
	void *object;
	int i;

	EXPECT(prepare(&root, &group) == 0);
	EXPECT(kmemcg_group_offline(group) == 0);
	for (i = 0; i < 3; i++) {
		object = kmemcg_alloc(root, group, GFP_KERNEL);
		EXPECT(object);
		kmemcg_free(object);
	}
	EXPECT(stats(root).allocations_root == 4);
	EXPECT(stats(root).requests == 1);
	kmemcg_group_put(group);
	EXPECT(kmemcg_root_destroy(root) == 0);
	return 0;
}

/*
 * The memory of a request is allocated without the flags of the object, which api.sh sees in the
 * trace.
 */
static int optional_memory(void)
{
	struct kmemcg_group *group;
	struct kmemcg_root *root;
	void *object;

	root = kmemcg_root_create("api", 96, 0, 0);
	EXPECT_ERR_PTR(root, 0);
	group = kmemcg_group_create("api", NULL);
	EXPECT_ERR_PTR(group, 0);
	object = kmemcg_alloc(root, group, GFP_KERNEL_ACCOUNT | __GFP_NOFAIL);
	EXPECT(object);
	EXPECT_SOON(stats(root).creations == 1);
	kmemcg_free(object);
	EXPECT(kmemcg_group_offline(group) == 0);
	kmemcg_group_put(group);
	EXPECT(kmemcg_root_destroy(root) == 0);
	return 0;
}

/* The destroy of a busy root fails, and the root works as before. */
static int busy(void)
{
	struct kmemcg_group *group;
	struct kmemcg_root *root;
	void *first, *second;
	int i;

	EXPECT(prepare(&root, &group) == 0);
	first = kmemcg_alloc(root, group, GFP_KERNEL);
	for (i = 0; i < 3; i++)
		EXPECT(kmemcg_root_destroy(root) == -EBUSY);
	second = kmemcg_alloc(root, group, GFP_KERNEL);
	EXPECT(first && second);
	EXPECT_SOON(stats(root).objects == 2);
	kmemcg_free(first);
	EXPECT(kmemcg_root_destroy(root) == -EBUSY);
	kmemcg_free(second);
	EXPECT(kmemcg_root_destroy(root) == 0);
	EXPECT(kmemcg_group_offline(group) == 0);
	kmemcg_group_put(group);
	return 0;
}

/*
 * The name of a closed root is free, and its objects stay valid. The last free destroys the
 * root, as the trace shows.
 */
static int closed(void)
{
	struct kmemcg_group *group;
	struct kmemcg_root *root;
	u8 *object;

	EXPECT(prepare(&root, &group) == 0);
	object = kmemcg_alloc(root, group, GFP_KERNEL);
	EXPECT(object);
	EXPECT(kmemcg_root_close(root) == 0);
	root = kmemcg_root_create("api", 8, 0, 0);
	EXPECT_ERR_PTR(root, 0);
	EXPECT(kmemcg_root_destroy(root) == 0);
	memset(object, 1, 96);
	EXPECT(is_filled(object, 1, 96));
	kmemcg_free(object);
	EXPECT(kmemcg_group_offline(group) == 0);
	kmemcg_group_put(group);
	return 0;
}

static bool serves(struct kmemcg_root *root)
{
	void *object = kmemcg_alloc(root, NULL, GFP_KERNEL);

	kmemcg_free(object);
	return object;
}

/*
 * api.sh closes the root by debugfs. The destroy fails then, but the root goes on closing: the
 * last free destroys it.
 */
static int closing_busy(void)
{
	struct kmemcg_group *group;
	struct kmemcg_root *root;
	void *object;

	EXPECT(prepare(&root, &group) == 0);
	object = kmemcg_alloc(root, group, GFP_KERNEL);
	EXPECT(object);
	EXPECT_SOON(!serves(root));
	EXPECT(kmemcg_root_destroy(root) == -EBUSY);
	EXPECT(!serves(root));
	kmemcg_free(object);
	EXPECT_SOON(stats(root).caches == 0);
	EXPECT(kmemcg_root_destroy(root) == 0);
	EXPECT(kmemcg_group_offline(group) == 0);
	kmemcg_group_put(group);
	return 0;
}

struct last {
	struct irq_work work;
	void *object;
	bool hardirq;
};

static void free_last(struct irq_work *work)
{
	struct last *last = container_of(work, struct last, work);

	last->hardirq = in_hardirq();
	kmemcg_free(last->object);
}

static int hardirq_free(void)
{
	struct last last = { .work = IRQ_WORK_INIT_HARD(free_last) };
	struct kmemcg_group *group;
	struct kmemcg_root *root;

	if (IS_ENABLED(CONFIG_PREEMPT_RT))
		return -EOPNOTSUPP;
	EXPECT(prepare(&root, &group) == 0);
	last.object = kmemcg_alloc(root, group, GFP_KERNEL);
	EXPECT(last.object);
	EXPECT(kmemcg_group_offline(group) == 0);
	EXPECT_SOON(stats(root).deactivations == 1);
	irq_work_queue(&last.work);
	irq_work_sync(&last.work);
	EXPECT(last.hardirq);
	EXPECT_SOON(stats(root).shutdowns == 1);
	kmemcg_group_put(group);
	EXPECT(kmemcg_root_destroy(root) == 0);
	return 0;
}

/* Allocates up to 2,000 objects of 4 KiB for the group, frees them and returns their number. */
static int fill(struct kmemcg_root *root, struct kmemcg_group *group, bool current_pays)
{
	static void *objects[2000];
	const gfp_t gfp = GFP_KERNEL | __GFP_RETRY_MAYFAIL | __GFP_NOWARN;
	int i, n;

	for (n = 0; n < ARRAY_SIZE(objects); n++) {
		objects[n] = current_pays ? kmemcg_alloc_current(root, gfp)
					  : kmemcg_alloc(root, group, gfp);
		if (!objects[n])
			break;
	}
	for (i = 0; i < n; i++)
		kmemcg_free(objects[i]);
	return n;
}

static int account(bool current_pays)
{
	struct kmemcg_group *group = kmemcg_group_get(cgroup ?: "");
	struct kmemcg_root *root;
	int n;

	EXPECT_ERR_PTR(group, 0);
	root = kmemcg_root_create("api", SZ_4K, 0, 0);
	EXPECT_ERR_PTR(root, 0);
	EXPECT(fill(root, group, current_pays) == 2000);
	EXPECT(kmemcg_root_destroy(root) == 0);

	/* memory.max is 4 MiB. */
	root = kmemcg_root_create("api", SZ_4K, 0, KMEMCG_ACCOUNT);
	EXPECT_ERR_PTR(root, 0);
	n = fill(root, group, current_pays);
	EXPECT(n > 100);
	EXPECT(n <= 1024);
	n = fill(root, NULL, false);
	EXPECT(current_pays ? n <= 1024 : n == 2000);
	EXPECT(kmemcg_root_destroy(root) == 0);
	kmemcg_group_put(group);
	return 0;
}

/* Objects for a group are charged to its cgroup, whichever task allocates them. */
static int the_group_pays(void)
{
	return account(false);
}

/* The task that runs this test is in that cgroup. */
static int the_current_task_pays(void)
{
	return account(true);
}

static const struct {
	const char *name;
	int (*run)(void);
} tests[] = {
	{ "names_sizes_flags", names_sizes_flags },
	{ "no_pointers", no_pointers },
	{ "layouts", layouts },
	{ "groups", groups },
	{ "cache_of_a_group", cache_of_a_group },
	{ "offline_requests_nothing", offline_requests_nothing },
	{ "optional_memory", optional_memory },
	{ "busy", busy },
	{ "closed", closed },
	{ "closing_busy", closing_busy },
	{ "hardirq_free", hardirq_free },
	{ "the_group_pays", the_group_pays },
	{ "the_current_task_pays", the_current_task_pays },
};

static int list_show(struct seq_file *seq, void *unused)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(tests); i++)
		seq_printf(seq, "%s\n", tests[i].name);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(list);

static ssize_t run_write(struct file *file, const char __user *from, size_t count, loff_t *position)
{
	char name[40];
	size_t i;
	int error;

	if (count >= sizeof(name))
		return -E2BIG;
	if (copy_from_user(name, from, count))
		return -EFAULT;
	name[count] = '\0';
	for (i = 0; i < ARRAY_SIZE(tests); i++) {
		if (!sysfs_streq(name, tests[i].name))
			continue;
		error = tests[i].run();
		return error ?: count;
	}
	return -ENOENT;
}

static const struct file_operations run_fops = {
	.owner = THIS_MODULE,
	.open = simple_open,
	.write = run_write,
};

static struct dentry *folder;

static int __init api_test_init(void)
{
	folder = debugfs_create_dir("kmemcg_api_test", NULL);
	debugfs_create_file("list", 0400, folder, NULL, &list_fops);
	debugfs_create_file("run", 0200, folder, NULL, &run_fops);
	return 0;
}
module_init(api_test_init);

static void __exit api_test_exit(void)
{
	debugfs_remove(folder);
}
module_exit(api_test_exit);

MODULE_DESCRIPTION("Tests of the functions of rust_kmemcg for other modules");
MODULE_LICENSE("GPL");
