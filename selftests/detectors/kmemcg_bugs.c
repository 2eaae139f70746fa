// SPDX-License-Identifier: GPL-2.0
/*
 * One bug of each kind that the checkers of the kernel find. The parameter selects it.
 * Load this module only in a machine that is thrown away afterwards.
 */
#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

static char *bug;
module_param(bug, charp, 0444);
MODULE_PARM_DESC(bug, "which one");

struct thing {
	struct rcu_head rcu;
	struct work_struct work;
	char text[64];
};

static struct kmem_cache *cache;
static DEFINE_SPINLOCK(first);
static DEFINE_SPINLOCK(second);

static struct thing *make(void)
{
	struct thing *thing = kmem_cache_zalloc(cache, GFP_KERNEL);

	OPTIMIZER_HIDE_VAR(thing);
	return thing;
}

/* Reads an object after it was freed. */
static void use_after_free(struct thing *thing)
{
	kmem_cache_free(cache, thing);
	pr_info("%d\n", READ_ONCE(thing->text[0]));
}

static void double_free(struct thing *thing)
{
	kmem_cache_free(cache, thing);
	kmem_cache_free(cache, thing);
}

/*
 * No pointer to these objects is kept. A stack may still have one to some of them by chance,
 * and so does the sheaf for the last few dozen: its slots are not cleared.
 */
static void leak(struct thing *thing)
{
	int i;

	for (i = 0; i < 1000; i++) {
		void *lost = kmalloc(sizeof(*thing), GFP_KERNEL);

		OPTIMIZER_HIDE_VAR(lost);
	}
	kmem_cache_free(cache, thing);
}

static void sleep_in_atomic(struct thing *thing)
{
	spin_lock(&first);
	msleep(20);
	spin_unlock(&first);
	kmem_cache_free(cache, thing);
}

static void lock_inversion(struct thing *thing)
{
	spin_lock(&first);
	spin_lock(&second);
	spin_unlock(&second);
	spin_unlock(&first);
	spin_lock(&second);
	spin_lock(&first);
	spin_unlock(&first);
	spin_unlock(&second);
	kmem_cache_free(cache, thing);
}

static void work(struct work_struct *work)
{
}

/* Frees the memory of a work item that is queued. */
static void lost_callback(struct thing *thing)
{
	INIT_WORK(&thing->work, work);
	preempt_disable();
	schedule_work(&thing->work);
	kmem_cache_free(cache, thing);
	preempt_enable();
}

static void callback(struct rcu_head *rcu)
{
}

/* Queues an RCU callback twice. */
static void double_callback(struct thing *thing)
{
	rcu_read_lock();
	call_rcu(&thing->rcu, callback);
	call_rcu(&thing->rcu, callback);
	rcu_read_unlock();
}

/* Destroys the cache while an object is alive. */
static void early_destroy(struct thing *thing)
{
	kmem_cache_destroy(cache);
	cache = NULL;
}

/* Unloading the module leaves its cache behind. */
static void left_cache(struct thing *thing)
{
	kmem_cache_free(cache, thing);
	cache = NULL;
}

static const struct {
	const char *name;
	void (*commit)(struct thing *thing);
} bugs[] = {
	{ "use-after-free", use_after_free },
	{ "double-free", double_free },
	{ "leak", leak },
	{ "sleep-in-atomic", sleep_in_atomic },
	{ "lock-inversion", lock_inversion },
	{ "lost-callback", lost_callback },
	{ "double-callback", double_callback },
	{ "early-destroy", early_destroy },
	{ "left-cache", left_cache },
};

static int __init bugs_init(void)
{
	struct thing *thing;
	int i;

	cache = kmem_cache_create("kmemcg_bugs", sizeof(struct thing), 0, SLAB_NO_MERGE, NULL);
	if (!cache)
		return -ENOMEM;
	for (i = 0; bug && i < ARRAY_SIZE(bugs); i++) {
		if (strcmp(bug, bugs[i].name))
			continue;
		thing = make();
		if (!thing)
			break;
		bugs[i].commit(thing);
		return 0;
	}
	kmem_cache_destroy(cache);
	return -EINVAL;
}
module_init(bugs_init);

static void __exit bugs_exit(void)
{
	kmem_cache_destroy(cache);
}
module_exit(bugs_exit);

MODULE_DESCRIPTION("Bugs that a checker must find");
MODULE_LICENSE("GPL");
