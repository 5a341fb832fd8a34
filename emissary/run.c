#include "emissary/run.h"

#include "executor/base/cleanup.h"
#include "executor/base/clock.h"
#include "executor/process/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <sys/stat.h>
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

static void on_patience_over(struct event_timer *timer)
{
	struct run *run = (struct run *)((char *)timer - offsetof(struct run, patience));
	size_t dropped = 0;

	for (size_t i = 0; i < 2; i++)
		if (run->streams[i].input.fd >= 0)
			dropped += capture_give_up(&run->streams[i]);
	log_warn(run->log, "Nobody reads the output fast enough: the rest of it is dropped",
		 log_int("bytes", (int64_t)dropped));
}

static void arm_patience(struct run *run)
{
	int64_t until = run->output_until_ms;

	if (run->output_until_ms == 0 || run->pid > 0 || run->streams_open == 0)
		return;
	if (until < run->ended_ms + RUN_READER_MS)
		until = run->ended_ms + RUN_READER_MS;
	event_timer_set(&run->patience, until - clock_now_ms());
}

void run_limit_output(struct run *run, int64_t until_ms)
{
	if (run->output_until_ms == 0 || until_ms < run->output_until_ms)
		run->output_until_ms = until_ms;
	arm_patience(run);
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
	run->ended_ms = clock_now_ms();
	terminal_child_ended(&run->terminal);
	for (size_t i = 0; i < 2; i++)
		if (run->streams[i].input.fd >= 0)
			capture_child_ended(&run->streams[i]);
	arm_patience(run);
	settle(run);
	/* Orphans may have ended with it, and this SIGCHLD be theirs, too. */
	if (!run->is_done)
		child_reap(0, NULL);
}

/* A regular file that is there already is what an earlier attempt, or wrapper, has left. */
static int open_copy(const struct run *run, const char *name, int flags, int *ret,
		     struct error *err)
{
	_cleanup_close_ int fd = files_open(run->root, run->container, name,
					    O_WRONLY | O_CREAT | O_APPEND | flags, err);
	struct stat st;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return error_set(err, -EINVAL, "open %s/ctr/%s/%s: not a regular file", run->root,
				 run->container, name);
	*ret = TAKE_FD(fd);
	return 0;
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

	/* An earlier attempt may have removed it. */
	if (run->keeps_stdout || run->keeps_combined)
		r = files_make_container_directory(run->root, run->container, err);
	if (r == 0 && run->keeps_stdout)
		r = open_copy(run, "stdout", run->is_first ? 0 : O_TRUNC, &run->stdout_copy_fd,
			      err);
	if (r == 0 && run->keeps_combined)
		r = open_copy(run, "combined", 0, &run->combined_fd, err);
	if (r < 0)
		return r;
	if (isatty(STDIN_FILENO)) {
		r = terminal_init(&run->terminal, run->loop);
		if (r < 0)
			return error_errno(err, r, "allocate pty");
		ends->in = ends->out = ends->err = run->terminal.slave_fd;
		return tap_terminal(run, err);
	}
	if (run->keeps_stdout || run->keeps_combined)
		r = tap(run, 0, &ends->out, err);
	/* Without an archived log nothing is kept of stderr, and the command may have ours. */
	return r == 0 && run->keeps_combined ? tap(run, 1, &ends->err, err) : r;
}

static void release(struct run *run)
{
	event_timer_done(&run->patience);
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
	int r = event_timer_init(&run->patience, run->loop, on_patience_over);

	if (r < 0)
		return error_errno(err, r, "timerfd");
	r = arrange_streams(run, &ends, err);
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
	if (!has_terminal && ends.out >= 0)
		close(ends.out);
	if (!has_terminal && ends.err >= 0)
		close(ends.err);
	return r;
}

int run_command(struct run *run, const struct command *command, struct error *err)
{
	int r;

	run->is_done = false;
	run->pid = 0;
	run->streams_open = 0;
	run->output_until_ms = run->ended_ms = 0;
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
