/* file_open_beneath and file_make_beneath: every case runs with the kernel's openat2 and without it, which a seccomp
 * filter arranges that answers as an old kernel (ENOSYS) or an outer filter (EPERM) would. */
#include "executor/base/fd.h"
#include "executor/base/path.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>

#include <cmocka.h>

#include "tests/unit/scratch.h"

static const struct {
	const char *relative;
	enum beneath_links links;
	int r; /* 0 = opens, and holds `content` */
	const char *content; /* NULL = a directory */
} cases[] = {
	{ "file", BENEATH_FOLLOW, 0, "top" },
	{ "file", BENEATH_REFUSE, 0, "top" },
	{ "/file", BENEATH_REFUSE, 0, "top" },
	{ "///a/./b//file", BENEATH_REFUSE, 0, "deep" },
	{ "a/b/../b/file", BENEATH_REFUSE, 0, "deep" },
	{ "a/../file", BENEATH_FOLLOW, 0, "top" },
	{ "", BENEATH_REFUSE, 0, NULL },
	{ "/", BENEATH_REFUSE, 0, NULL },
	{ ".", BENEATH_FOLLOW, 0, NULL },
	{ "a", BENEATH_FOLLOW, 0, NULL },
	{ "a/b/", BENEATH_FOLLOW, 0, NULL },
	{ "a/b/..", BENEATH_FOLLOW, 0, NULL },
	{ "a/b/../..", BENEATH_FOLLOW, 0, NULL },
	{ "missing", BENEATH_FOLLOW, -ENOENT, NULL },
	{ "a/missing/file", BENEATH_FOLLOW, -ENOENT, NULL },
	{ "file/below", BENEATH_FOLLOW, -ENOTDIR, NULL },
	{ "file/", BENEATH_FOLLOW, -ENOTDIR, NULL },
	{ "inside/", BENEATH_FOLLOW, -ENOTDIR, NULL },
	{ "file/..", BENEATH_REFUSE, -ENOTDIR, NULL },
	/* Ways out. */
	{ "..", BENEATH_FOLLOW, -EXDEV, NULL },
	{ "../secret", BENEATH_FOLLOW, -EXDEV, NULL },
	{ "a/../../secret", BENEATH_REFUSE, -EXDEV, NULL },
	{ "absolute", BENEATH_FOLLOW, -EXDEV, NULL },
	{ "absolute-directory/passwd", BENEATH_FOLLOW, -EXDEV, NULL },
	{ "upwards", BENEATH_FOLLOW, -EXDEV, NULL },
	{ "a/upwards", BENEATH_FOLLOW, -EXDEV, NULL },
	{ "out-and-in", BENEATH_FOLLOW, -EXDEV, NULL },
	{ "to-out", BENEATH_FOLLOW, -EXDEV, NULL },
	/* Links that stay. */
	{ "inside", BENEATH_FOLLOW, 0, "deep" },
	{ "a/sideways", BENEATH_FOLLOW, 0, "top" },
	{ "to-directory/file", BENEATH_FOLLOW, 0, "deep" },
	{ "to-directory/", BENEATH_FOLLOW, 0, NULL },
	{ "to-directory/../file", BENEATH_FOLLOW, -ENOENT, NULL }, /* a/file */
	{ "chain", BENEATH_FOLLOW, 0, "deep" },
	{ "dangling", BENEATH_FOLLOW, -ENOENT, NULL },
	{ "loop", BENEATH_FOLLOW, -ELOOP, NULL },
	{ "self/file", BENEATH_FOLLOW, 0, "top" },
	{ "self/self/self/file", BENEATH_FOLLOW, 0, "top" },
	/* Links that are refused. */
	{ "inside", BENEATH_REFUSE, -ELOOP, NULL },
	{ "dangling", BENEATH_REFUSE, -ELOOP, NULL },
	{ "absolute", BENEATH_REFUSE, -ELOOP, NULL },
	{ "to-directory/file", BENEATH_REFUSE, -ELOOP, NULL },
	{ "to-directory/", BENEATH_REFUSE, -ELOOP, NULL },
};

static int check_content(int fd, const char *content)
{
	char text[16] = "";
	struct stat st;

	if (!content)
		return fstat(fd, &st) == 0 && S_ISDIR(st.st_mode) ? 0 : -1;
	return read(fd, text, sizeof(text) - 1) > 0 && strcmp(text, content) == 0 ? 0 : -1;
}

static int open_all(void *context)
{
	unsigned error = *(unsigned *)context;
	int failed = 0, next_fd = dup(0);

	close(next_fd);
	if (error && scratch_refuse_openat2(error) < 0)
		return __LINE__;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct error err = ERROR_NONE;
		int fd = file_open_beneath(scratch_path("root"), cases[i].relative, O_RDONLY,
					   cases[i].links, &err);
		int r = fd < 0 ? fd : check_content(fd, cases[i].content);

		if (fd >= 0 && !(fcntl(fd, F_GETFD) & FD_CLOEXEC))
			r = -EBADF;
		if (fd >= 0)
			close(fd);
		fd = dup(0);
		if (fd != next_fd) /* something stayed open */
			r = -EMFILE;
		close(fd);
		if (r != cases[i].r && ++failed)
			dprintf(2, "%s (links %d): %d, %s\n", cases[i].relative, cases[i].links, r,
				err.message);
	}
	return failed ? __LINE__ : 0;
}

static void test_with_openat2(void **state)
{
	unsigned error = 0;

	(void)state;
	scratch_run_child(open_all, &error);
}

static void test_without_openat2(void **state)
{
	unsigned error = ENOSYS;

	(void)state;
	scratch_run_child(open_all, &error);
}

static void test_with_openat2_forbidden(void **state)
{
	unsigned error = EPERM;

	(void)state;
	scratch_run_child(open_all, &error);
}

/* Somebody renames all the time: the kernel is never sure. */
static void test_with_openat2_unsure(void **state)
{
	unsigned error = EAGAIN;

	(void)state;
	scratch_run_child(open_all, &error);
}

/* /proc/self/fd/N is a link whose text is not where it leads. */
static int open_magic_links(void *context)
{
	unsigned error = *(unsigned *)context;
	struct error err = ERROR_NONE;
	char name[32];
	int fd = open("/etc/passwd", O_RDONLY | O_CLOEXEC), ends[2];

	if (error && scratch_refuse_openat2(error) < 0)
		return __LINE__;
	snprintf(name, sizeof(name), "fd/%d", fd);
	if (file_open_beneath("/proc/self", name, O_RDONLY, BENEATH_FOLLOW, &err) >= 0)
		return __LINE__;
	if (file_open_beneath("/proc/self", "root/etc/passwd", O_RDONLY, BENEATH_FOLLOW, &err) >= 0)
		return __LINE__;
	if (file_open_beneath("/proc/self", "cwd", O_RDONLY, BENEATH_FOLLOW, &err) >= 0)
		return __LINE__;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return __LINE__;
	snprintf(name, sizeof(name), "fd/%d", ends[0]);
	if (file_open_beneath("/proc/self", name, O_RDONLY, BENEATH_FOLLOW, &err) >= 0)
		return __LINE__;
	fd = file_open_beneath("/proc/self", "status", O_RDONLY, BENEATH_REFUSE, &err);
	return fd < 0 ? __LINE__ : 0;
}

static void test_magic_links(void **state)
{
	unsigned errors[] = { 0, ENOSYS };

	(void)state;
	for (size_t i = 0; i < 2; i++)
		scratch_run_child(open_magic_links, &errors[i]);
}

/* A user's volume may hold other volumes. */
static int cross_mounts(void *context)
{
	unsigned error = *(unsigned *)context;
	struct error err = ERROR_NONE;
	int fd;

	if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("tmpfs", scratch_path("root/mounted"), "tmpfs", 0, "size=64k") < 0)
		return __LINE__;
	fd = open(scratch_path("root/mounted/file"), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	if (write(fd, "other", 5) != 5)
		return __LINE__;
	if (error && scratch_refuse_openat2(error) < 0)
		return __LINE__;
	fd = file_open_beneath(scratch_path("root"), "mounted/../mounted/file", O_RDONLY,
			       BENEATH_REFUSE, &err);
	return fd >= 0 && check_content(fd, "other") == 0 ? 0 : __LINE__;
}

static void test_mounts_below_may_be_entered(void **state)
{
	unsigned errors[] = { 0, EPERM };

	(void)state;
	if (getuid() != 0) {
		print_message("needs root, for a mount of its own\n");
		skip();
	}
	for (size_t i = 0; i < 2; i++)
		scratch_run_child(cross_mounts, &errors[i]);
}

/* Neither too deep a path nor too long a name does any harm. */
static int open_extremes(void *context)
{
	unsigned error = *(unsigned *)context;
	static char relative[9000];
	struct error err = ERROR_NONE;

	if (error && scratch_refuse_openat2(error) < 0)
		return __LINE__;
	memset(relative, 'x', 300);
	if (file_open_beneath(scratch_path("root"), relative, O_RDONLY, BENEATH_FOLLOW, &err) !=
	    -ENAMETOOLONG)
		return __LINE__;
	memset(relative, 'x', sizeof(relative) - 1);
	if (file_open_beneath(scratch_path("root"), relative, O_RDONLY, BENEATH_FOLLOW, &err) !=
	    -ENAMETOOLONG)
		return __LINE__;
	for (int i = 0; i < 700; i++)
		memcpy(relative + i * 5, "self/", 6);
	return file_open_beneath(scratch_path("root"), relative, O_RDONLY, BENEATH_FOLLOW, &err) ==
			       -ELOOP ?
		       0 :
		       __LINE__;
}

static void test_extremes(void **state)
{
	unsigned errors[] = { 0, ENOSYS };

	(void)state;
	for (size_t i = 0; i < 2; i++)
		scratch_run_child(open_extremes, &errors[i]);
}

/* A refusal that is not the filter's comes back, and at once. */
static int open_without_permission(void *context)
{
	unsigned error = *(unsigned *)context;
	struct error err = ERROR_NONE;

	if (scratch_drop_privileges() < 0 || (error && scratch_refuse_openat2(error) < 0))
		return __LINE__;
	/* O_NOATIME on what belongs to somebody else: EPERM. */
	if (file_open_beneath(scratch_path("root"), "a/..", O_RDONLY | O_NOATIME, BENEATH_FOLLOW,
			      &err) != -EPERM)
		return __LINE__;
	if (file_open_beneath(scratch_path("root"), "file", O_RDONLY | O_NOATIME, BENEATH_FOLLOW,
			      &err) != -EPERM)
		return __LINE__;
	return file_open_beneath(scratch_path("root"), "closed/file", O_RDONLY, BENEATH_FOLLOW,
				 &err) == -EACCES ?
		       0 :
		       __LINE__;
}

static void test_real_refusals(void **state)
{
	unsigned errors[] = { 0, ENOSYS };

	(void)state;
	if (getuid() != 0) {
		print_message("needs root, to have files of another user\n");
		skip();
	}
	for (size_t i = 0; i < 2; i++)
		scratch_run_child(open_without_permission, &errors[i]);
}

static void test_messages(void **state)
{
	struct error err = ERROR_NONE;

	(void)state;
	file_open_beneath("/nonexistent", "x", O_RDONLY, BENEATH_FOLLOW, &err);
	assert_string_equal(err.message, "open /nonexistent: no such file or directory");
	assert_int_equal(err.class, ERROR_NOT_FOUND);
	file_open_beneath("/usr", "/nowhere", O_RDONLY, BENEATH_FOLLOW, &err);
	assert_string_equal(err.message, "open /usr/nowhere: no such file or directory");
	file_open_beneath("/usr", "..", O_RDONLY, BENEATH_FOLLOW, &err);
	assert_string_equal(err.message,
			    "open /usr/..: a symbolic link on the way leads out of /usr");
}

static void test_read_beneath(void **state)
{
	_cleanup_buffer_ struct buffer out = BUFFER_INIT(4), small = BUFFER_INIT(2);
	struct error err = ERROR_NONE;
	const char *root = scratch_path("root");

	(void)state;
	assert_int_equal(file_read_beneath(root, "/a/b/file", BENEATH_REFUSE, &out, &err), 0);
	assert_string_equal(buffer_string(&out), "deep");
	assert_int_equal(file_read_beneath(root, "file", BENEATH_FOLLOW, &small, &err), -EMSGSIZE);
	assert_non_null(strstr(err.message, "/root/file: larger than the limit of 2 bytes"));
	assert_int_equal(file_read_beneath(root, "a", BENEATH_FOLLOW, &out, &err), -EINVAL);
	assert_int_equal(file_read_beneath(root, "fifo", BENEATH_FOLLOW, &out, &err), -EINVAL);
	assert_non_null(strstr(err.message, "/root/fifo: not a regular file"));
	assert_int_equal(file_read_beneath(root, "absolute", BENEATH_FOLLOW, &out, &err), -EXDEV);
}

static int set_up(void **state)
{
	static const char *const links[][2] = {
		{ "/etc/passwd", "root/absolute" },
		{ "/etc", "root/absolute-directory" },
		{ "../secret", "root/upwards" },
		{ "../../secret", "root/a/upwards" },
		{ "../root/file", "root/out-and-in" },
		{ "upwards", "root/to-out" },
		{ "a/b/file", "root/inside" },
		{ "../file", "root/a/sideways" },
		{ "a/b", "root/to-directory" },
		{ "to-directory/file", "root/chain" },
		{ "nowhere", "root/dangling" },
		{ "loop", "root/loop" },
		{ ".", "root/self" },
	};
	static const char *const directories[] = { "root", "root/a", "root/a/b", "root/mounted",
						   "root/closed" };

	if (scratch_set_up(state) < 0)
		return -1;
	for (size_t i = 0; i < sizeof(directories) / sizeof(directories[0]); i++)
		if (mkdir(scratch_path(directories[i]), 0755) < 0)
			return -1;
	for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++)
		if (symlink(links[i][0], scratch_path(links[i][1])) < 0)
			return -1;
	scratch_write("secret", "secret");
	scratch_write("root/file", "top");
	scratch_write("root/a/b/file", "deep");
	return mkfifo(scratch_path("root/fifo"), 0600) < 0 ||
			       chmod(scratch_path("root/closed"), 0) < 0 ?
		       -1 :
		       0;
}

/* --- making ----------------------------------------------------------------------------- */

static const struct {
	const char *relative;
	enum beneath_links links;
	int r;
} makes[] = {
	{ "", BENEATH_REFUSE, 0 },
	{ "/", BENEATH_REFUSE, 0 },
	{ "new", BENEATH_REFUSE, 0 },
	{ "/new//er/./est/", BENEATH_REFUSE, 0 },
	{ "a/b/new", BENEATH_REFUSE, 0 },
	{ "to-directory/linked/new", BENEATH_FOLLOW, 0 },
	{ "to-directory/linked", BENEATH_REFUSE, -ELOOP },
	{ "absolute-directory/new", BENEATH_FOLLOW, -EXDEV },
	{ "absolute-directory/new", BENEATH_REFUSE, -ELOOP },
	{ "to-out/new/er", BENEATH_FOLLOW, -EXDEV },
	{ "dangling/new", BENEATH_FOLLOW, -ENOENT },
	{ "file/new", BENEATH_FOLLOW, -ENOTDIR },
	{ "a/../..", BENEATH_FOLLOW, -EXDEV },
	{ "nothing/../new", BENEATH_FOLLOW, 0 },
	{ "nothing/more/..", BENEATH_FOLLOW, 0 },
};

static int make_each(void *context)
{
	unsigned error = *(unsigned *)context;
	int root_fd = open(scratch_path("root"), O_PATH | O_DIRECTORY | O_CLOEXEC);
	int failed = 0, next_fd = dup(0);

	close(next_fd);
	umask(077);
	if (error && scratch_refuse_openat2(error) < 0)
		return __LINE__;
	for (size_t i = 0; i < sizeof(makes) / sizeof(makes[0]); i++) {
		struct error err = ERROR_NONE;
		int fd = file_make_beneath(root_fd, "/root", makes[i].relative, 0711,
					   makes[i].links, &err);
		int r = fd < 0 ? fd : mkdirat(fd, "made", 0700) < 0 ? -errno : 0;

		if (fd >= 0 && unlinkat(fd, "made", AT_REMOVEDIR) < 0)
			r = -errno;
		if (fd >= 0)
			close(fd);
		fd = dup(0);
		if (fd != next_fd) /* something stayed open */
			r = -EMFILE;
		close(fd);
		if (r != makes[i].r && ++failed)
			dprintf(2, "%s (links %d): %d, %s\n", makes[i].relative, makes[i].links, r,
				err.message);
	}
	return failed ? __LINE__ : 0;
}

static void test_making(void **state)
{
	static const char *const made[] = { "root/new", "root/new/er/est", "root/a/b/new",
					    "root/a/b/linked/new", "root/nothing" };
	static unsigned errors[] = { 0, ENOSYS, EPERM, EAGAIN };

	(void)state;
	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		scratch_run_child(make_each, &errors[i]);
		for (size_t j = 0; j < sizeof(made) / sizeof(made[0]); j++)
			assert_int_equal(scratch_mode(made[j]), 0711);
		assert_int_equal(path_remove_tree(scratch_path("root/new"), NULL), 0);
		assert_int_equal(path_remove_tree(scratch_path("root/a/b/new"), NULL), 0);
		assert_int_equal(path_remove_tree(scratch_path("root/a/b/linked"), NULL), 0);
		assert_int_equal(path_remove_tree(scratch_path("root/nothing"), NULL), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_with_openat2),
		cmocka_unit_test(test_without_openat2),
		cmocka_unit_test(test_with_openat2_forbidden),
		cmocka_unit_test(test_with_openat2_unsure),
		cmocka_unit_test(test_magic_links),
		cmocka_unit_test(test_mounts_below_may_be_entered),
		cmocka_unit_test(test_extremes),
		cmocka_unit_test(test_real_refusals),
		cmocka_unit_test(test_messages),
		cmocka_unit_test(test_read_beneath),
		cmocka_unit_test(test_making),
	};

	return cmocka_run_group_tests(tests, set_up, scratch_tear_down);
}
