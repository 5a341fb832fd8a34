#include "tests/unit/scratch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define PATHS 8
#define ORDINARY_USER 8737

static char directory[64];

int scratch_set_up(void **state)
{
	(void)state;
	alarm(SCRATCH_SECONDS_MAX);
	snprintf(directory, sizeof(directory), "/tmp/tiphys-unit.XXXXXX");
	return mkdtemp(directory) && chmod(directory, 0755) == 0 ? 0 : -1;
}

int scratch_tear_down(void **state)
{
	pid_t pid = fork();
	int status;

	(void)state;
	if (pid == 0) { /* not path_remove_tree(), which is under test */
		execlp("rm", "rm", "-rf", directory, (char *)NULL);
		_exit(127);
	}
	return waitpid(pid, &status, 0) == pid && status == 0 ? 0 : -1;
}

const char *scratch_path(const char *name)
{
	static char paths[PATHS][4096];
	static unsigned next;
	char *path = paths[next++ % PATHS];

	snprintf(path, sizeof(paths[0]), "%s%s%s", directory, *name ? "/" : "", name);
	return path;
}

void scratch_write_bytes(const char *name, const void *data, size_t size)
{
	int fd = open(scratch_path(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, size), size);
	close(fd);
}

void scratch_write(const char *name, const char *text)
{
	scratch_write_bytes(name, text, strlen(text));
}

const char *scratch_read(const char *name)
{
	static char text[65536];
	int fd = open(scratch_path(name), O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		fail_msg("%s: %s", name, strerror(errno));
	n = read(fd, text, sizeof(text) - 1);
	assert_true(n >= 0);
	text[n] = '\0';
	close(fd);
	return text;
}

mode_t scratch_mode(const char *name)
{
	struct stat st;

	assert_int_equal(stat(scratch_path(name), &st), 0);
	return st.st_mode & 07777;
}

unsigned scratch_count(const char *name)
{
	DIR *dir = opendir(scratch_path(name));
	unsigned count = 0;
	struct dirent *entry;

	assert_non_null(dir);
	while ((entry = readdir(dir)))
		count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
	closedir(dir);
	return count;
}

void scratch_run_child(int (*body)(void *context), void *context)
{
	int report[2], line = -1, status;
	pid_t pid;

	assert_int_equal(pipe2(report, O_CLOEXEC), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		line = body(context);
		_exit(write(report[1], &line, sizeof(line)) == sizeof(line) ? 0 : 1);
	}
	close(report[1]);
	if (read(report[0], &line, sizeof(line)) != sizeof(line))
		line = -1;
	close(report[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (line != 0)
		fail_msg("child failed at line %d (wait status 0x%x)", line, (unsigned)status);
}

int scratch_drop_privileges(void)
{
	if (getuid() != 0)
		return 0;
	return setgroups(0, NULL) < 0 || setgid(ORDINARY_USER) < 0 || setuid(ORDINARY_USER) < 0 ?
		       -errno :
		       0;
}

int scratch_refuse_call(unsigned number, unsigned error)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog program = { .len = 4, .filter = code };

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
			       prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0 ?
		       -1 :
		       0;
}

int scratch_refuse_openat2(unsigned error)
{
	return scratch_refuse_call(SYS_openat2, error);
}
