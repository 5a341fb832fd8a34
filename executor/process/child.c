#include "executor/process/child.h"

#include "executor/base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* From fork to exec: async-signal-safe calls only. On failure errno goes into the pipe. */
static void become(const struct child_options *options, int report_fd)
{
	static const int targets[] = { STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO };
	const int sources[] = { options->stdin_fd, options->stdout_fd, options->stderr_fd };
	int saved;

	if (options->has_terminal) {
		if (setsid() < 0 || ioctl(options->stdin_fd, TIOCSCTTY, 0) < 0)
			goto failed;
	} else if (setpgid(0, 0) < 0) {
		goto failed;
	}
	for (size_t i = 0; i < 3; i++)
		if (sources[i] >= 0 && dup2(sources[i], targets[i]) < 0)
			goto failed;
	if (options->signals)
		signals_restore(options->signals);
	execve(options->path, options->argv, options->envp);
failed:
	saved = errno;
	(void)!write(report_fd, &saved, sizeof(saved));
	_exit(127);
}

int child_spawn(const struct child_options *options, pid_t *ret_pid, struct error *err)
{
	_cleanup_close_ int read_fd = -1;
	int report[2], failure = 0;
	ssize_t n;
	pid_t pid;

	if (pipe2(report, O_CLOEXEC) < 0)
		return error_errno(err, -errno, "fork/exec %s: pipe", options->path);
	read_fd = report[0];
	pid = fork();
	if (pid == 0)
		become(options, report[1]);
	if (pid < 0) {
		int saved = errno;

		close(report[1]);
		return error_errno(err, -saved, "fork/exec %s: fork", options->path);
	}
	close(report[1]);
	/* Both sides call setpgid: whoever comes first, the group exists when we go on. */
	if (!options->has_terminal)
		setpgid(pid, pid);
	do
		n = read(read_fd, &failure, sizeof(failure));
	while (n < 0 && errno == EINTR);
	if (n == sizeof(failure)) {
		waitpid(pid, NULL, 0);
		return error_errno(err, -failure, "fork/exec %s", options->path);
	}
	*ret_pid = pid;
	return 0;
}

const char *child_own_program(void)
{
	static const char self[] = "/proc/self/exe";

	/* Without /proc: the name under which we were executed. */
	return access(self, F_OK) == 0 ? self : (const char *)getauxval(AT_EXECFN);
}

int child_status_code(const struct child_status *status)
{
	return status->is_signalled ? 128 + status->number : status->number;
}

static int reap_one(idtype_t type, pid_t pid, siginfo_t *info)
{
	int r;

	info->si_pid = 0;
	do
		r = waitid(type, (id_t)pid, info, WEXITED | WNOHANG);
	while (r < 0 && errno == EINTR);
	return r == 0 && info->si_pid != 0;
}

int child_reap(pid_t pid, struct child_status *ret)
{
	siginfo_t info;
	int found = 0;

	if (pid > 0 && reap_one(P_PID, pid, &info)) {
		ret->is_signalled = info.si_code != CLD_EXITED;
		ret->number = info.si_status;
		found = 1;
	}
	if (found)
		return 1;
	while (reap_one(P_ALL, 0, &info)) {
		if (info.si_pid != pid)
			continue;
		ret->is_signalled = info.si_code != CLD_EXITED;
		ret->number = info.si_status;
		found = 1;
	}
	return found;
}

int child_signal_group(pid_t pid, int signo)
{
	if (kill(-pid, signo) == 0)
		return 0;
	return kill(pid, signo) < 0 ? -errno : 0;
}

/* 0 if an executable non-directory, else a negative errno. */
static int check_executable(const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	return faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) < 0 ? -errno : 0;
}

int child_find_program(const char *name, const char *path, char **ret, struct error *err)
{
	int r;

	if (strchr(name, '/')) {
		r = check_executable(name);
		if (r < 0)
			return error_errno(err, r, "exec: \"%s\"", name);
		*ret = strdup(name);
		return *ret ? 0 : error_set(err, -ENOMEM, "out of memory");
	}
	while (path && *name) {
		const char *end = strchrnul(path, ':');
		char *candidate = NULL;

		if (asprintf(&candidate, "%.*s%s%s", (int)(end - path), path,
			     end > path ? "/" : "./", name) < 0)
			return error_set(err, -ENOMEM, "out of memory");
		if (check_executable(candidate) == 0) {
			if (*path == '/') {
				*ret = candidate;
				return 0;
			}
			free(candidate);
			return error_set(err, -EACCES,
					 "exec: \"%s\": cannot run executable found relative to "
					 "current directory",
					 name);
		}
		free(candidate);
		path = *end ? end + 1 : NULL;
	}
	return error_set(err, -ENOENT, "exec: \"%s\": executable file not found in $PATH", name);
}
