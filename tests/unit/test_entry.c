/* Steps of a walk through a tree that is somebody else's: with openat2 and without it, and while that
 * somebody swaps what lies there. */
#include "executor/base/entry.h"

#include "executor/archive/pack.h"
#include "executor/base/cleanup.h"
#include "executor/stage/scan.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "tests/unit/scratch.h"

#define SECRET "not for them"

static void become_ourselves(struct identity *identity)
{
	gid_t groups[IDENTITY_GROUPS_MAX];
	int count = getgroups(IDENTITY_GROUPS_MAX, groups);

	identity_init(identity, geteuid(), getegid(), groups, count > 0 ? (size_t)count : 0);
}

static int top(void)
{
	return open(scratch_path("tree"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* Closes what was opened: 0, or the error. */
static int result_of(int parent_fd, const char *name, int flags, const struct identity *as)
{
	int fd = entry_open(parent_fd, name, flags, as);

	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

static int check_each(void *context)
{
	const unsigned *error = context;
	bool has_mount = unshare(CLONE_NEWNS) == 0 &&
			 mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
			 mount("tmpfs", scratch_path("tree/mount"), "tmpfs", 0, NULL) == 0 &&
			 mount("/etc/hostname", scratch_path("tree/bound"), NULL, MS_BIND, NULL) ==
				 0;
	_cleanup_close_ int fd = top(); /* of this namespace */
	struct identity as;
	char text[20];
	struct stat st;

	become_ourselves(&as);
	if (*error && scratch_refuse_openat2(*error) < 0)
		return __LINE__ & 255;
	if (result_of(fd, "file", 0, &as) != 0 || result_of(fd, "below", O_DIRECTORY, &as) != 0)
		return __LINE__ & 255;
	if (result_of(fd, "link", 0, &as) != -ELOOP || result_of(fd, "out", 0, &as) != -ELOOP)
		return __LINE__ & 255;
	if (result_of(fd, "file", O_DIRECTORY, &as) != -ENOTDIR ||
	    result_of(fd, "none", 0, &as) != -ENOENT)
		return __LINE__ & 255;
	if (has_mount && (result_of(fd, "mount", O_DIRECTORY, &as) != -EXDEV ||
			  result_of(fd, "bound", 0, &as) != -EXDEV))
		return __LINE__ & 255;
	/* A pipe does not block. */
	if (result_of(fd, "pipe", 0, &as) != 0)
		return __LINE__ & 255;
	if (entry_stat(fd, "link", &as, &st) < 0 || !S_ISLNK(st.st_mode))
		return __LINE__ & 255;
	if (entry_read_link(fd, "link", &as, text, sizeof(text)) != 4 || strcmp(text, "file") != 0)
		return __LINE__ & 255;
	return entry_read_link(fd, "file", &as, text, sizeof(text)) == -EINVAL ? 0 : __LINE__ & 255;
}

static void make_tree(void)
{
	assert_int_equal(mkdir(scratch_path("tree"), 0755), 0);
	assert_int_equal(mkdir(scratch_path("tree/below"), 0755), 0);
	assert_int_equal(mkdir(scratch_path("tree/mount"), 0755), 0);
	scratch_write("tree/bound", "");
	scratch_write("tree/file", "x");
	assert_int_equal(symlink("file", scratch_path("tree/link")), 0);
	assert_int_equal(symlink("/", scratch_path("tree/out")), 0);
	assert_int_equal(mkfifo(scratch_path("tree/pipe"), 0666), 0);
}

static void test_each_kind_of_entry(void **state)
{
	unsigned errors[] = { 0, ENOSYS, EPERM };

	(void)state;
	make_tree();
	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
		scratch_run_child(check_each, &errors[i]);
}

/* --- somebody who swaps ----------------------------------------------------------------- */

/* What is a file or a directory at one moment is a link to something outside at the next. */
static void swap_for_ever(void)
{
	char path[4][300];

	snprintf(path[0], sizeof(path[0]), "%s", scratch_path("race/file"));
	snprintf(path[1], sizeof(path[1]), "%s", scratch_path("race/directory"));
	snprintf(path[2], sizeof(path[2]), "%s", scratch_path("link-to-file"));
	snprintf(path[3], sizeof(path[3]), "%s", scratch_path("link-to-directory"));
	for (;;)
		for (int i = 0; i < 2; i++)
			syscall(SYS_renameat2, AT_FDCWD, path[i], AT_FDCWD, path[i + 2],
				1 << 1 /* RENAME_EXCHANGE */);
}

struct sink {
	struct writer writer;
	bool has_secret;
};

static int look_for_secret(struct writer *writer, const void *data, size_t size, struct error *err)
{
	struct sink *sink = (struct sink *)writer;

	(void)err;
	if (memmem(data, size, SECRET, strlen(SECRET)))
		sink->has_secret = true;
	return 0;
}

static void test_somebody_who_swaps(void **state)
{
	struct sink sink = { .writer = { .write = look_for_secret } };
	struct pack_options options = { .format = PACK_TAR, .name = "race" };
	struct identity as;
	unsigned scanned = 0;
	pid_t pid;

	(void)state;
	assert_int_equal(mkdir(scratch_path("race"), 0755), 0);
	assert_int_equal(mkdir(scratch_path("race/directory"), 0755), 0);
	assert_int_equal(mkdir(scratch_path("outside"), 0755), 0);
	scratch_write("race/file", "x");
	scratch_write("race/directory/file", "x");
	scratch_write("outside/file", SECRET);
	assert_int_equal(symlink(scratch_path("outside/file"), scratch_path("link-to-file")), 0);
	assert_int_equal(symlink(scratch_path("outside"), scratch_path("link-to-directory")), 0);
	become_ourselves(&as);
	options.as = &as;
	pid = fork();
	if (pid == 0)
		swap_for_ever();
	for (int i = 0; i < 1000; i++) {
		int fd = open(scratch_path("race"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		struct error err = ERROR_NONE;
		struct scan scan;

		assert_int_equal(scan_init(&scan, fd, &as), 0);
		while (scan_step(&scan) > 0)
			;
		assert_true(scan.counts.files <= 2 && scan.counts.directories <= 2);
		scanned += scan.counts.files == 2;
		scan_done(&scan);
		if (pack_descriptor(fd, &options, &sink.writer, NULL, &err) < 0)
			fail_msg("%s", err.message);
		close(fd);
	}
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_false(sink.has_secret);
	assert_true(scanned < 1000); /* it did swap */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_kind_of_entry),
		cmocka_unit_test(test_somebody_who_swaps),
	};

	return cmocka_run_group_tests(tests, scratch_set_up, scratch_tear_down);
}
