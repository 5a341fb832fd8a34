#include "emissary/run.h"

#include "executor/base/cleanup.h"
#include "executor/base/path.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void settle(struct run *run)
{
	run->is_done = run->pid == 0 && run->streams_open == 0;
}

static void on_stream_end(struct capture *capture, void *context)
{
	struct run *run = context;

	if (capture->error.code)
		log_warn(run->log, "The copy of the output is incomplete",
			 log_error_field(&capture->error));
	run->streams_open--;
	settle(run);
}

void run_signal(struct run *run, int signo)
{
	if (run->pid > 0)
		child_signal_group(run->pid, signo);
}

void run_reap(struct run *run)
{
	if (run->pid <= 0) {
		child_reap(0, NULL);
		return;
	}
	if (!child_reap(run->pid, &run->status))
		return;
	run->pid = 0;
	for (size_t i = 0; i < 2; i++)
		if (run->streams[i].input.fd >= 0)
			capture_child_ended(&run->streams[i]);
	settle(run);
}

static int open_copy(const char *directory, const char *name, int flags, int *ret,
		     struct error *err)
{
	char path[PATH_MAX_BYTES];

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	*ret = open(path,
		    O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY |
			    flags,
		    0666);
	return *ret < 0 ? error_errno(err, -errno, "open %s", path) : 0;
}

/* Passes what comes out of input_fd (taken over) on to our stdout (stream 0) or stderr (1). */
static int pass_on(struct run *run, size_t stream, int input_fd, struct error *err)
{
	const int files[CAPTURE_FILES_MAX] = { stream == 0 ? run->stdout_copy_fd : -1,
					       run->combined_fd };
	int r = capture_init(&run->streams[stream], run->loop, input_fd,
			     stream == 0 ? STDOUT_FILENO : STDERR_FILENO, files);

	if (r < 0)
		return error_errno(err, r, "capture output");
	run->streams[stream].on_end = on_stream_end;
	run->streams[stream].context = run;
	run->streams_open++;
	return 0;
}

/* Puts a pipe in front of stdout or stderr; *ret is the child's end. */
static int tap(struct run *run, size_t stream, int *ret, struct error *err)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return error_errno(err, -errno, "pipe");
	*ret = ends[1];
	return pass_on(run, stream, ends[0], err);
}

/* The pty's output goes to our stdout; there is no telling the child's streams apart. */
static int tap_terminal(struct run *run, struct error *err)
{
	int master_fd = fcntl(run->terminal.master_fd, F_DUPFD_CLOEXEC, 0);

	return master_fd < 0 ? error_errno(err, -errno, "pty") : pass_on(run, 0, master_fd, err);
}

struct ends {
	int in, out, err;
};

static int arrange_streams(struct run *run, struct ends *ends, struct error *err)
{
	int r = 0;

	if (run->is_captured) {
		r = open_copy(run->directory, "stdout", run->is_first ? 0 : O_TRUNC,
			      &run->stdout_copy_fd, err);
		if (r == 0)
			r = open_copy(run->directory, "combined", 0, &run->combined_fd, err);
	}
	if (r < 0)
		return r;
	if (isatty(STDIN_FILENO)) {
		r = terminal_init(&run->terminal, run->loop);
		if (r < 0)
			return error_errno(err, r, "allocate pty");
		ends->in = ends->out = ends->err = run->terminal.slave_fd;
		return tap_terminal(run, err);
	}
	if (!run->is_captured)
		return 0;
	r = tap(run, 0, &ends->out, err);
	return r < 0 ? r : tap(run, 1, &ends->err, err);
}

static void release(struct run *run)
{
	for (size_t i = 0; i < 2; i++)
		capture_done(&run->streams[i]);
	terminal_done(&run->terminal);
	if (run->stdout_copy_fd >= 0)
		close(TAKE_FD(run->stdout_copy_fd));
	if (run->combined_fd >= 0)
		close(TAKE_FD(run->combined_fd));
}

static int start(struct run *run, const struct command *command, struct error *err)
{
	struct ends ends = { -1, -1, -1 };
	bool has_terminal;
	int r = arrange_streams(run, &ends, err);

	has_terminal = run->terminal.slave_fd >= 0;
	if (r == 0)
		r = child_spawn(&(struct child_options){ .path = command->argv[0],
							 .argv = command->argv,
							 .envp = environ,
							 .stdin_fd = ends.in,
							 .stdout_fd = ends.out,
							 .stderr_fd = ends.err,
							 .has_terminal = has_terminal,
							 .signals = run->signals },
				&run->pid, err);
	if (has_terminal) {
		terminal_started(&run->terminal);
	} else {
		if (ends.out >= 0)
			close(ends.out);
		if (ends.err >= 0)
			close(ends.err);
	}
	return r;
}

int run_command(struct run *run, const struct command *command, struct error *err)
{
	int r;

	run->is_done = false;
	run->pid = 0;
	run->streams_open = 0;
	run->stdout_copy_fd = run->combined_fd = -1;
	run->terminal = (struct terminal){ .master_fd = -1, .slave_fd = -1 };
	for (size_t i = 0; i < 2; i++)
		run->streams[i] = (struct capture){ .input.fd = -1 };
	r = start(run, command, err);
	if (r == 0) {
		/* Ended already? Its SIGCHLD stays pending, but need not be the one we see. */
		run_reap(run);
		r = event_loop_wait_uncancelled(run->loop, &run->is_done);
		if (r < 0)
			error_errno(err, r, "wait for %s", command->argv[0]);
	}
	release(run);
	return r;
}
