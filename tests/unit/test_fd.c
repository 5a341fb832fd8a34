#include "executor/base/fd.h"

#include "executor/base/path.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#include <cmocka.h>

#include "tests/unit/scratch.h"

static void replace(const char *name, const char *text, mode_t mode)
{
	struct error err = ERROR_NONE;

	if (file_replace(scratch_path(name), text, strlen(text), mode, &err) < 0)
		fail_msg("%s", err.message);
}

static void test_replace_sets_content_and_exact_mode(void **state)
{
	mode_t saved = umask(0777);

	(void)state;
	replace("plain/new", "one", 0666);
	umask(0);
	replace("plain/new", "two", 0640);
	replace("plain/new", "", 0400);
	replace("plain/new", "last", 0555);
	umask(saved);
	assert_string_equal(scratch_read("plain/new"), "last");
	assert_int_equal(scratch_mode("plain/new"), 0555);
	assert_int_equal(scratch_count("plain"), 1);
}

/* Whoever has the old one open keeps it; a link is replaced, not followed. */
static void test_replace_leaves_the_old_inode_alone(void **state)
{
	char old[4] = "";
	int fd;

	(void)state;
	replace("inode/target", "old", 0600);
	fd = open(scratch_path("inode/target"), O_RDONLY | O_CLOEXEC);
	replace("inode/target", "new", 0600);
	assert_int_equal(read(fd, old, sizeof(old)), 3);
	assert_string_equal(old, "old");
	close(fd);
	assert_int_equal(symlink("target", scratch_path("inode/link")), 0);
	replace("inode/link", "other", 0600);
	assert_string_equal(scratch_read("inode/target"), "new");
	assert_string_equal(scratch_read("inode/link"), "other");
}

static int replace_foreign_file(void *context)
{
	struct error err = ERROR_NONE;

	if (scratch_drop_privileges() < 0)
		return __LINE__;
	return file_replace(context, "mine", 4, 0444, &err) < 0 ? __LINE__ : 0;
}

static void test_replace_of_a_foreign_read_only_file(void **state)
{
	(void)state;
	replace("foreign/file", "root's", 0444);
	assert_int_equal(chmod(scratch_path("foreign"), 0777), 0);
	scratch_run_child(replace_foreign_file, (void *)scratch_path("foreign/file"));
	scratch_run_child(replace_foreign_file, (void *)scratch_path("foreign/file"));
	assert_string_equal(scratch_read("foreign/file"), "mine");
}

static void test_replace_fails_without_a_trace(void **state)
{
	struct error err = ERROR_NONE;

	(void)state;
	assert_int_equal(file_replace(scratch_path("no/such/file"), "x", 1, 0644, &err), -ENOENT);
	assert_memory_equal(err.message, "create ", 7);
	assert_int_equal(path_make_directories(scratch_path("trace/directory"), 0755, NULL), 0);
	assert_int_equal(file_replace(scratch_path("trace/directory"), "x", 1, 0644, &err),
			 -EISDIR);
	assert_memory_equal(err.message, "write ", 6);
	assert_int_equal(file_replace_from(scratch_path("trace/file"), -1, 0644, &err), 0);
	assert_int_equal(unlink(scratch_path("trace/file")), 0);
	assert_int_equal(file_replace_from(scratch_path("trace/file"), 4711, 0644, &err), -EBADF);
	assert_int_equal(scratch_count("trace"), 1);
}

#define BLOCK (256 * 1024)

/* Writes blocks of one letter each, round and round, until it is killed. */
static void write_for_ever(const char *path)
{
	static char block[BLOCK];

	for (int letter = 'a';; letter = letter == 'z' ? 'a' : letter + 1) {
		memset(block, letter, sizeof(block));
		file_replace(path, block, sizeof(block), 0644, NULL);
	}
}

/* Writers killed at any moment: the file is always whole. */
static void test_replace_is_all_or_nothing(void **state)
{
	static char content[BLOCK + 1];
	const char *path = scratch_path("atomic/file");
	struct timespec pause = { .tv_nsec = 3000000 };

	(void)state;
	replace("atomic/file", "", 0644);
	for (int i = 0; i < 20; i++) {
		pid_t pid = fork();
		int fd;
		ssize_t n;

		if (pid == 0)
			write_for_ever(path);
		nanosleep(&pause, NULL);
		pause.tv_nsec += 200000;
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, NULL, 0), pid);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		n = read(fd, content, sizeof(content));
		close(fd);
		if (n == 0)
			continue; /* not even the first was finished */
		assert_int_equal(n, BLOCK);
		for (size_t at = 1; at < BLOCK; at++)
			assert_int_equal(content[at], content[0]);
	}
}

/* A full disk leaves the old file and nothing else. */
static int fill_disk(void *context)
{
	const char *mount_point = context;
	_cleanup_buffer_ struct buffer kept = BUFFER_INIT(100);
	static char block[BLOCK];
	struct error err = ERROR_NONE;
	char path[4096];
	int source = memfd_create("source", MFD_CLOEXEC);

	if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("tmpfs", mount_point, "tmpfs", 0, "size=64k") < 0)
		return __LINE__;
	snprintf(path, sizeof(path), "%s/file", mount_point);
	if (file_replace(path, "kept", 4, 0644, &err) < 0)
		return __LINE__;
	if (file_replace(path, block, sizeof(block), 0644, &err) != -ENOSPC)
		return __LINE__;
	if (!strstr(err.message, "no space left on device"))
		return __LINE__;
	if (ftruncate(source, BLOCK) < 0 || file_replace_from(path, source, 0644, &err) != -ENOSPC)
		return __LINE__;
	if (file_read(path, &kept, &err) < 0 || strcmp(buffer_string(&kept), "kept") != 0)
		return __LINE__;
	/* The room of the failed ones is free again. */
	return file_replace(path, block, 32 * 1024, 0644, &err) < 0 ? __LINE__ : 0;
}

static void test_replace_on_a_full_disk(void **state)
{
	(void)state;
	if (getuid() != 0) {
		print_message("needs root, for a file system of its own\n");
		skip();
	}
	assert_int_equal(mkdir(scratch_path("full"), 0755), 0);
	scratch_run_child(fill_disk, (void *)scratch_path("full"));
}

static void test_replace_from_takes_the_offset(void **state)
{
	int fd = memfd_create("source", MFD_CLOEXEC);

	(void)state;
	assert_int_equal(write(fd, "0123456789", 10), 10);
	assert_int_equal(lseek(fd, 4, SEEK_SET), 4);
	assert_int_equal(file_replace_from(scratch_path("from"), fd, 0750, NULL), 0);
	assert_string_equal(scratch_read("from"), "456789");
	assert_int_equal(scratch_mode("from"), 0750);
	close(fd);
}

static void test_read_limits(void **state)
{
	_cleanup_buffer_ struct buffer exact = BUFFER_INIT(10), small = BUFFER_INIT(9);
	_cleanup_buffer_ struct buffer none = BUFFER_INIT(0);
	struct error err = ERROR_NONE;

	(void)state;
	scratch_write("ten", "0123456789");
	assert_int_equal(file_read(scratch_path("ten"), &exact, &err), 0);
	assert_string_equal(buffer_string(&exact), "0123456789");
	assert_int_equal(file_read(scratch_path("ten"), &exact, &err), -EMSGSIZE);
	assert_int_equal(file_read(scratch_path("ten"), &small, &err), -EMSGSIZE);
	assert_non_null(strstr(err.message, "ten: larger than the limit of 9 bytes"));
	scratch_write("empty", "");
	assert_int_equal(file_read(scratch_path("empty"), &none, &err), 0);
	assert_int_equal(file_read(scratch_path("ten"), &none, &err), -EMSGSIZE);
}

static void test_read_of_large_and_of_growing_files(void **state)
{
	_cleanup_buffer_ struct buffer out = BUFFER_INIT(1 << 20);
	static char large[300000];

	(void)state;
	for (size_t i = 0; i < sizeof(large); i++)
		large[i] = (char)(i * 31);
	scratch_write_bytes("large", large, sizeof(large));
	assert_int_equal(file_read(scratch_path("large"), &out, NULL), 0);
	assert_int_equal(out.size, sizeof(large));
	assert_memory_equal(out.data, large, sizeof(large));
	buffer_reset(&out);
	assert_int_equal(file_read("/proc/self/status", &out, NULL), 0); /* st_size is 0 */
	assert_memory_equal(buffer_string(&out), "Name:", 5);
	assert_int_equal(file_read("/dev/null", &out, NULL), 0);
}

static void test_read_refuses_odd_files(void **state)
{
	_cleanup_buffer_ struct buffer out = BUFFER_INIT(100);
	struct error err = ERROR_NONE;

	(void)state;
	assert_int_equal(mkfifo(scratch_path("fifo"), 0600), 0);
	assert_int_equal(file_read(scratch_path("fifo"), &out, &err), -EINVAL);
	assert_non_null(strstr(err.message, "fifo: not a regular file"));
	assert_int_equal(file_read(scratch_path(""), &out, &err), -EISDIR);
	assert_int_equal(file_read("/nonexistent", &out, &err), -ENOENT);
	assert_string_equal(err.message, "open /nonexistent: no such file or directory");
	assert_int_equal(err.class, ERROR_NOT_FOUND);
}

static void check_copy(int from, int to, const char *expected)
{
	char text[64] = "";

	assert_int_equal(fd_copy(from, to), 0);
	assert_int_equal(pread(to, text, sizeof(text) - 1, 0), strlen(expected));
	assert_string_equal(text, expected);
	close(from);
	close(to);
}

static void test_copy_of_every_kind(void **state)
{
	int ends[2], fd = memfd_create("in", MFD_CLOEXEC);

	(void)state;
	assert_int_equal(write(fd, "from a file", 11), 11);
	assert_int_equal(lseek(fd, 5, SEEK_SET), 5);
	check_copy(fd, memfd_create("out", MFD_CLOEXEC), "a file");
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_int_equal(write(ends[1], "from a pipe", 11), 11);
	close(ends[1]);
	check_copy(ends[0], memfd_create("out", MFD_CLOEXEC), "from a pipe");
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	assert_int_equal(write(ends[1], "from a socket", 13), 13);
	close(ends[1]);
	check_copy(ends[0], memfd_create("out", MFD_CLOEXEC), "from a socket");
	/* sendfile(2) refuses O_APPEND. */
	scratch_write("append", "old ");
	scratch_write("source", "new");
	check_copy(open(scratch_path("source"), O_RDONLY | O_CLOEXEC),
		   open(scratch_path("append"), O_RDWR | O_APPEND | O_CLOEXEC), "old new");
}

static void test_copy_and_write_fail(void **state)
{
	int full = open("/dev/full", O_WRONLY | O_CLOEXEC), fd;

	(void)state;
	scratch_write("some", "some");
	fd = open(scratch_path("some"), O_RDONLY | O_CLOEXEC);
	assert_int_equal(fd_copy(fd, full), -ENOSPC);
	assert_int_equal(fd_copy(-1, full), -EBADF);
	assert_int_equal(fd_write_all(full, "x", 1), -ENOSPC);
	assert_int_equal(fd_write_all(full, "", 0), 0);
	close(full);
	close(fd);
}

static int set_up(void **state)
{
	static const char *const directories[] = { "plain", "inode", "foreign", "atomic" };

	if (scratch_set_up(state) < 0)
		return -1;
	for (size_t i = 0; i < sizeof(directories) / sizeof(directories[0]); i++)
		if (mkdir(scratch_path(directories[i]), 0755) < 0)
			return -1;
	return 0;
}

/* A reader that takes nothing is given up, whatever others have made of the open file; one that
 * reads late gets everything. */
static void test_patience(void **state)
{
	static char text[100000], got[sizeof(text)];
	size_t size = 0;
	int ends[2];
	pid_t pid;

	(void)state;
	memset(text, 'x', sizeof(text));
	for (int flags = 0; flags <= O_NONBLOCK; flags += O_NONBLOCK) {
		assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
		assert_int_equal(fcntl(ends[1], F_SETFL, flags), 0);
		assert_int_equal(fd_write_patiently(ends[1], text, sizeof(text), 20), -ETIMEDOUT);
		assert_int_equal(fd_write_patiently(ends[1], text, 1, 20), -ETIMEDOUT);
		assert_int_equal(fcntl(ends[1], F_GETFL) & O_NONBLOCK, flags);
		close(ends[0]);
		close(ends[1]);
	}
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		close(ends[0]);
		_exit(fd_write_patiently(ends[1], text, sizeof(text), 10000) < 0);
	}
	close(ends[1]);
	usleep(50000);
	for (ssize_t n; (n = read(ends[0], got + size, sizeof(got) - size)) > 0;)
		size += (size_t)n;
	assert_int_equal(size, sizeof(text));
	assert_memory_equal(got, text, size);
	close(ends[0]);
	waitpid(pid, NULL, 0);
	assert_int_equal(fd_write_patiently(-1, text, 1, 20), -EBADF);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_replace_sets_content_and_exact_mode),
		cmocka_unit_test(test_replace_leaves_the_old_inode_alone),
		cmocka_unit_test(test_replace_of_a_foreign_read_only_file),
		cmocka_unit_test(test_replace_fails_without_a_trace),
		cmocka_unit_test(test_replace_is_all_or_nothing),
		cmocka_unit_test(test_replace_on_a_full_disk),
		cmocka_unit_test(test_replace_from_takes_the_offset),
		cmocka_unit_test(test_read_limits),
		cmocka_unit_test(test_patience),
		cmocka_unit_test(test_read_of_large_and_of_growing_files),
		cmocka_unit_test(test_read_refuses_odd_files),
		cmocka_unit_test(test_copy_of_every_kind),
		cmocka_unit_test(test_copy_and_write_fail),
	};

	return cmocka_run_group_tests(tests, set_up, scratch_tear_down);
}
