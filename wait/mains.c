#include "wait/mains.h"

#include "executor/base/cleanup.h"
#include "executor/base/path.h"
#include "executor/process/files.h"
#include "wait/reporting.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>

/* What is kept of the grace period for saving after a SIGKILL; of a short one, no more than a
 * half. */
#define SAVING_MS_MIN 5000

/* After a SIGKILL that a deadline led to, a wrapper has this long to save and end. */
#define AFTER_KILL_MS 10000

/* A wrapper that was given up on may go on saving for as long as the controller holds a node open
 * whose report is not complete (Argo 4.1). */
#define REST_MS 600000

static ssize_t find(const struct mains *mains, const char *container)
{
	for (size_t i = 0; i < mains->template->container_count; i++)
		if (strcmp(mains->template->containers[i], container) == 0)
			return (ssize_t)i;
	return -1;
}

size_t mains_count(const struct mains *mains, enum main_state state)
{
	size_t count = 0;

	for (size_t i = 0; i < mains->template->container_count; i++)
		count += mains->states[i] == state;
	return count;
}

/* The deadline and the grace period are those of main, not of saving what it has left. */
static void stop_waiting(struct mains *mains)
{
	mains->is_done = true;
	event_timer_clear(&mains->deadline);
	event_timer_clear(&mains->kill);
	event_timer_clear(&mains->give_up);
}

static void settle(struct mains *mains)
{
	size_t unseen = mains->is_finishing ? 0 : mains_count(mains, MAIN_UNSEEN);

	mains->is_over = unseen + mains_count(mains, MAIN_ALIVE) == 0;
	if (mains->is_over)
		stop_waiting(mains);
}

static bool has_exit_code(const struct mains *mains, const char *container)
{
	char path[PATH_MAX_BYTES];
	struct stat st;

	files_container_path(mains->root, container, "exitcode", path, sizeof(path));
	return lstat(path, &st) == 0;
}

const char *mains_state_name(enum main_state state)
{
	static const char *const names[] = { "waiting", "running", "ended", "lost" };

	return names[state];
}

static void on_change(void *context, size_t i)
{
	struct mains *mains = context;

	if (mains->on_change)
		mains->on_change(mains, i);
}

static void enter(struct mains *mains, size_t i, enum main_state state)
{
	const char *container = mains->template->containers[i];

	mains->states[i] = state;
	log_debug(mains->log, "Main container", log_string("containerName", container),
		  log_string("state", mains_state_name(state)));
	if (state == MAIN_ENDED || state == MAIN_LOST)
		terminator_ended(&mains->terminator, i);
	else
		on_change(mains, i);
}

/* By the channel to who is connected, by file to who is not there yet. */
static void deliver(void *context, size_t i, int signo)
{
	struct mains *mains = context;
	const char *container = mains->template->containers[i];

	if (mains->states[i] == MAIN_ALIVE)
		channel_server_signal(mains->channel, container, signo);
	else if (mains->states[i] == MAIN_UNSEEN)
		files_write_signal(mains->root, container, signo, NULL);
}

static void ask(struct mains *mains, const size_t *i, int signo, int64_t grace_ms,
		enum termination_source source)
{
	bool is_by_pod = source == TERMINATION_BY_POD;
	struct termination_request request = {
		.signo = signo,
		.grace_ms = grace_ms,
		.source = source,
		.uid = is_by_pod ? mains->asker_uid : (uid_t)-1,
		.pid = is_by_pod ? mains->asker_pid : 0,
	};

	terminator_ask(&mains->terminator, &request, i, 1, NULL);
	terminator_flush(&mains->terminator);
}

/* Members that depend on it, and sidecars, know nothing but its exit code file: without one they
 * would wait for ever, and we for them. */
static void enter_lost(struct mains *mains, size_t i)
{
	const char *container = mains->template->containers[i];
	struct error err = ERROR_NONE;

	enter(mains, i, MAIN_LOST);
	log_warn(mains->log,
		 "The wrapper died without an exit code; was the container out of memory?",
		 log_string("containerName", container));
	if (files_write_exit_code(mains->root, container, 128 + SIGKILL, &err) < 0)
		log_warn(mains->log, "Failed to write its exit code", log_error_field(&err));
	if (mains->on_lost)
		mains->on_lost(mains, container);
}

/* Signals left in a file (by people, or older executors) go to the wrapper by the channel: it
 * does not look for files as long as it is connected. */
static void on_file_signal(struct inbox *inbox, int signo)
{
	struct mains_inbox *owner = (struct mains_inbox *)inbox;
	struct mains *mains = owner->mains;
	size_t i = (size_t)(owner - mains->inboxes);

	if (signo != terminator_sent(&mains->terminator, i))
		ask(mains, &i, signo, TERMINATION_NO_GRACE_END, TERMINATION_BY_FILE);
}

static void forward_signal_file(struct mains *mains, size_t i)
{
	inbox_look(&mains->inboxes[i].inbox, &mains->watch);
}

static void look(struct event_watch *watch)
{
	struct mains *mains = (struct mains *)((char *)watch - offsetof(struct mains, watch));

	for (size_t i = 0; i < mains->template->container_count; i++) {
		const char *container = mains->template->containers[i];

		if (mains->states[i] == MAIN_ALIVE)
			forward_signal_file(mains, i);
		else if (mains->states[i] == MAIN_UNSEEN && has_exit_code(mains, container))
			enter(mains, i, MAIN_ENDED);
	}
	settle(mains);
	if (mains->on_look)
		mains->on_look(mains);
}

static void on_hello(void *context, const char *container, pid_t peer)
{
	struct mains *mains = context;
	ssize_t i = find(mains, container);

	if (i < 0 || mains->states[i] != MAIN_UNSEEN)
		return;
	log_debug(mains->log, "A wrapper has connected", log_string("containerName", container),
		  log_int("pid", peer));
	enter(mains, (size_t)i, MAIN_ALIVE);
	forward_signal_file(mains, (size_t)i);
	/* What was asked for before it came. */
	if (terminator_sent(&mains->terminator, (size_t)i))
		deliver(mains, (size_t)i, terminator_sent(&mains->terminator, (size_t)i));
}

static void on_gone(void *context, const char *container)
{
	struct mains *mains = context;
	ssize_t i = find(mains, container);

	if (i < 0 || mains->states[i] != MAIN_ALIVE)
		return;
	if (has_exit_code(mains, container))
		enter(mains, (size_t)i, MAIN_ENDED);
	else
		enter_lost(mains, (size_t)i);
	settle(mains);
}

/* Its command has that signal already. Others than SIGTERM may mean something else to it. */
static void on_heard(void *context, const char *container, int signo, pid_t pid, uid_t uid)
{
	struct mains *mains = context;
	ssize_t i = find(mains, container);
	struct termination_request request = { .signo = SIGTERM,
					       .grace_ms = TERMINATION_NO_GRACE_END,
					       .source = TERMINATION_BY_KERNEL,
					       .uid = uid,
					       .pid = pid };

	if (i >= 0 && signo == SIGTERM && mains->states[i] == MAIN_ALIVE)
		terminator_note(&mains->terminator, &request, (size_t)i);
}

static enum channel_verdict on_offer(void *context, struct channel_offer *offer)
{
	struct mains *mains = context;

	return offers_consider(&mains->offers, offer);
}

static void on_parts(void *context, uint64_t peer, const int *codes, int *fds, unsigned count)
{
	struct mains *mains = context;

	offers_take_parts(&mains->offers, peer, codes, fds, count);
}

static void on_left(void *context, uint64_t peer)
{
	struct mains *mains = context;

	offers_forget(&mains->offers, peer);
}

static void on_kill(struct event_timer *timer)
{
	struct mains *mains = (struct mains *)((char *)timer - offsetof(struct mains, kill));

	log_warn(mains->log, "Killing the main containers: they did not end in time");
	ask(mains, NULL, SIGKILL, TERMINATION_NO_GRACE_END, TERMINATION_BY_POD);
}

static void on_give_up(struct event_timer *timer)
{
	struct mains *mains = (struct mains *)((char *)timer - offsetof(struct mains, give_up));

	log_warn(mains->log, "No longer waiting for the main containers");
	stop_waiting(mains);
}

/* Whoever has connected by now is alive, though not heard yet: the loop gives events in no order. A
 * batch accepts one of them, and the next one hears it. */
static void hear_who_is_there(struct mains *mains)
{
	for (size_t i = 0; i <= mains->template->container_count; i++)
		event_loop_poll(mains->loop);
}

void mains_finish_up(struct mains *mains, pid_t pid, uid_t uid)
{
	int64_t grace = mains->grace_ms;
	int64_t saving = grace / 5 > SAVING_MS_MIN ? grace / 5 : SAVING_MS_MIN;

	if (mains->is_finishing || mains->is_done)
		return;
	if (mains_count(mains, MAIN_UNSEEN) > 0)
		hear_who_is_there(mains);
	/* Another request, or the end of all, may have been among it. */
	if (mains->is_finishing || mains->is_done)
		return;
	if (saving > grace / 2)
		saving = grace / 2;
	mains->is_finishing = true;
	mains->asker_pid = pid;
	mains->asker_uid = uid;
	event_timer_set(&mains->kill, grace - saving);
	event_timer_set(&mains->give_up, grace - reporting_reserve_ms(grace));
	/* Nobody waits for what comes from now on: it shall not begin. */
	for (size_t i = 0; i < mains->template->container_count; i++)
		if (mains->states[i] == MAIN_UNSEEN)
			ask(mains, &i, SIGTERM, TERMINATION_NO_GRACE_END, TERMINATION_BY_POD);
	settle(mains);
}

bool mains_await_rest(struct mains *mains)
{
	mains->is_done = mains->is_over;
	event_timer_set(&mains->give_up, REST_MS);
	event_loop_wait_uncancelled(mains->loop, &mains->is_done);
	return mains->is_over;
}

static void on_deadline(struct event_timer *timer)
{
	struct mains *mains = (struct mains *)((char *)timer - offsetof(struct mains, deadline));

	log_info(mains->log, "The deadline has passed");
	mains->on_deadline(mains);
	ask(mains, NULL, SIGTERM, mains->grace_ms, TERMINATION_BY_DEADLINE);
	if (!mains->is_finishing)
		event_timer_set(&mains->give_up, mains->grace_ms + AFTER_KILL_MS);
}

static int start_timers(struct mains *mains, struct event_loop *loop,
			const struct environment *environment)
{
	int r = event_timer_init_wall(&mains->deadline, loop, on_deadline);

	if (r == 0)
		r = event_timer_init(&mains->kill, loop, on_kill);
	if (r == 0)
		r = event_timer_init(&mains->give_up, loop, on_give_up);
	if (r == 0 && environment->has_deadline)
		event_timer_set_at(&mains->deadline, environment->deadline_s);
	return r;
}

static int watch_directories(struct mains *mains, struct event_loop *loop, struct error *err)
{
	char path[PATH_MAX_BYTES];
	int r = event_watch_init(&mains->watch, loop, look);

	if (r < 0)
		return error_errno(err, r, "watch %s", mains->root);
	for (size_t i = 0; i < mains->template->container_count; i++) {
		const char *container = mains->template->containers[i];

		r = inbox_init(&mains->inboxes[i].inbox, loop, mains->root, container);
		if (r < 0)
			return error_errno(err, r, "timerfd");
		mains->inboxes[i].inbox.on_signal = on_file_signal;
		mains->inboxes[i].mains = mains;
		r = files_make_container_directory(mains->root, container, err);
		if (r < 0)
			return r;
		files_container_path(mains->root, container, "", path, sizeof(path));
		event_watch_add(&mains->watch, path, EVENT_WATCH_NAMES);
	}
	look(&mains->watch);
	return 0;
}

int mains_init(struct mains *mains, struct event_loop *loop, const struct template *template,
	       const struct environment *environment, const char *root, const struct log *log,
	       struct error *err)
{
	struct channel_server_options options = { .root = root,
						  .on_hello = on_hello,
						  .on_gone = on_gone,
						  .on_heard = on_heard,
						  .on_offer = on_offer,
						  .on_parts = on_parts,
						  .on_left = on_left,
						  .context = mains };
	struct terminator_options terminator = {
		.log = log, .deliver = deliver, .on_change = on_change, .context = mains
	};
	int r;

	*mains = (struct mains){ .loop = loop,
				 .log = log,
				 .template = template,
				 .root = root,
				 .grace_ms = environment->grace_s * 1000 };
	mains->states = calloc(template->container_count + 1, sizeof(*mains->states));
	mains->inboxes = calloc(template->container_count + 1, sizeof(*mains->inboxes));
	if (!mains->states || !mains->inboxes)
		return error_set(err, -ENOMEM, "out of memory");
	terminator.names = template->containers;
	terminator.count = template->container_count;
	r = terminator_init(&mains->terminator, loop, &terminator);
	if (r < 0)
		return error_errno(err, r, "timerfd");
	r = offers_init(&mains->offers, loop, template, log);
	if (r < 0)
		return error_errno(err, r, "timerfd");
	mains->channel = channel_server_new(loop, &options, err);
	if (!mains->channel)
		return err->code;
	mains->offers.channel = mains->channel;
	r = start_timers(mains, loop, environment);
	if (r < 0)
		return error_errno(err, r, "timerfd");
	return watch_directories(mains, loop, err);
}

void mains_done(struct mains *mains)
{
	offers_done(&mains->offers);
	channel_server_free(TAKE_PTR(mains->channel));
	event_watch_done(&mains->watch);
	event_timer_done(&mains->deadline);
	event_timer_done(&mains->kill);
	event_timer_done(&mains->give_up);
	for (size_t i = 0; mains->inboxes && i < mains->template->container_count; i++)
		inbox_done(&mains->inboxes[i].inbox);
	free(TAKE_PTR(mains->inboxes));
	terminator_done(&mains->terminator);
	free(TAKE_PTR(mains->states));
}
