#include "tests/unit/confine_probe.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

struct confine_ending confine_probe_run(const struct confine_probe *probe)
{
	struct confine_ending ending = { .status = -1 };
	struct confinement confinement;
	struct error err = ERROR_NONE;
	int ends[2];
	pid_t pid;

	assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
	pid = fork();
	if (pid == 0) {
		struct confine_options options = probe->options;

		options.notice_fd = ends[1];
		if (confine(probe->kind, &options, &confinement, &err) < 0)
			_exit(NOT_CONFINED);
		_exit((int)probe->body());
	}
	assert_true(pid > 0);
	close(ends[1]);
	assert_int_equal(waitpid(pid, &ending.status, 0), pid);
	ending.is_told = confine_notice(ends[0], ending.call);
	close(ends[0]);
	return ending;
}
