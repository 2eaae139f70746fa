// SPDX-License-Identifier: GPL-2.0
/*
 * A table of session records, each allocated from the slab cache of the cgroup that opened it.
 *
 *	echo open NAME >/dev/kmemcg_sessions
 *	echo close NAME >/dev/kmemcg_sessions
 *	cat /dev/kmemcg_sessions
 *
 * A cgroup may be removed while it has open sessions; its cache is destroyed after the
 * last one is closed.
 */
#include <linux/delay.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/list.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/sched.h>
#include <linux/seq_file.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "rust_kmemcg.h"

#define NAME_SIZE 32

struct session {
	struct list_head list;
	pid_t pid;
	char name[NAME_SIZE];
};

static struct kmemcg_root *root;
static LIST_HEAD(sessions);
static DEFINE_MUTEX(lock);

static struct session *find(const char *name)
{
	struct session *session;

	list_for_each_entry(session, &sessions, list)
		if (!strcmp(session->name, name))
			return session;
	return NULL;
}

static int open_session(const char *name)
{
	struct session *session;

	if (find(name))
		return -EEXIST;
	session = kmemcg_alloc_current(root, GFP_KERNEL);
	if (!session)
		return -ENOMEM;
	session->pid = task_tgid_nr(current);
	strscpy(session->name, name);
	list_add_tail(&session->list, &sessions);
	return 0;
}

static int close_session(const char *name)
{
	struct session *session = find(name);

	if (!session)
		return -ENOENT;
	list_del(&session->list);
	kmemcg_free(session);
	return 0;
}

static ssize_t sessions_write(struct file *file, const char __user *from, size_t count,
			      loff_t *position)
{
	int (*command)(const char *name) = NULL;
	char text[NAME_SIZE + 8], *name;
	int error;

	if (count >= sizeof(text))
		return -E2BIG;
	if (copy_from_user(text, from, count))
		return -EFAULT;
	text[count] = '\0';
	name = strim(text);
	if (strstarts(name, "open "))
		command = open_session;
	else if (strstarts(name, "close "))
		command = close_session;
	name = strchr(name, ' ');
	if (!command || !name[1] || strlen(name + 1) >= NAME_SIZE)
		return -EINVAL;

	mutex_lock(&lock);
	error = command(name + 1);
	mutex_unlock(&lock);
	return error ?: count;
}

static int sessions_show(struct seq_file *seq, void *unused)
{
	struct kmemcg_stats stats;
	struct session *session;

	mutex_lock(&lock);
	list_for_each_entry(session, &sessions, list)
		seq_printf(seq, "session=%s pid=%d\n", session->name, session->pid);
	mutex_unlock(&lock);
	kmemcg_root_stats(root, &stats);
	seq_printf(seq, "caches=%llu objects=%llu\n", stats.caches, stats.objects);
	return 0;
}

static int sessions_open(struct inode *inode, struct file *file)
{
	/* misc_open() has stored the device; single_open() wants NULL. */
	file->private_data = NULL;
	return single_open(file, sessions_show, NULL);
}

static const struct file_operations sessions_fops = {
	.owner = THIS_MODULE,
	.open = sessions_open,
	.read = seq_read,
	.llseek = seq_lseek,
	.write = sessions_write,
	.release = single_release,
};

static struct miscdevice device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "kmemcg_sessions",
	.fops = &sessions_fops,
};

static int __init sessions_init(void)
{
	int error = kmemcg_attach_cgroups();

	if (error)
		pr_warn("cgroups cannot be attached (%d): one cache for all sessions\n", error);
	root = kmemcg_root_create("sessions", sizeof(struct session), 0, 0);
	if (IS_ERR(root))
		return PTR_ERR(root);
	error = misc_register(&device);
	if (error)
		kmemcg_root_close(root);
	return error;
}

static void __exit sessions_exit(void)
{
	struct session *session, *next;

	misc_deregister(&device);
	list_for_each_entry_safe(session, next, &sessions, list)
		kmemcg_free(session);
	/* -EBUSY: a destroy by debugfs is running. */
	while (kmemcg_root_close(root) == -EBUSY)
		msleep(20);
}

module_init(sessions_init);
module_exit(sessions_exit);

MODULE_AUTHOR("The rust_kmemcg developers");
MODULE_DESCRIPTION("Sample for rust_kmemcg: session records of cgroups");
MODULE_LICENSE("GPL");
