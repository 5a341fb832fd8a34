#include "executor/stage/plugins.h"

#include "executor/base/path.h"
#include "executor/base/text.h"
#include "executor/process/files.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <sys/stat.h>

/* The next container; what cannot be one's name is passed over. */
static bool next(const char **cursor, char name[ENVIRONMENT_NAME_MAX])
{
	while (environment_next_name(cursor, name))
		if (text_is_dns_label(name))
			return true;
	return false;
}

void plugins_init(struct plugins *plugins, const struct environment *environment, const char *root,
		  const struct log *log)
{
	*plugins = (struct plugins){ .log = log,
				     .root = root,
				     .grace_ms = environment->grace_s * 1000,
				     .names = environment_get("ARGO_ARTIFACT_PLUGIN_NAMES") };
}

static void send(struct plugins *plugins, int signo)
{
	const char *cursor = plugins->names;
	char name[ENVIRONMENT_NAME_MAX];
	struct error err = ERROR_NONE;

	while (next(&cursor, name)) {
		int r = files_make_container_directory(plugins->root, name, &err);

		if (r == 0)
			r = files_write_signal(plugins->root, name, signo, &err);
		if (r < 0)
			log_warn(plugins->log, "Failed to end a plugin's sidecar",
				 log_string("containerName", name), log_error_field(&err));
		else
			log_debug(plugins->log, "Ending a plugin's sidecar",
				  log_string("containerName", name), log_int("signal", signo));
	}
}

void plugins_ask(struct plugins *plugins)
{
	send(plugins, SIGTERM);
}

/* The first that has not ended. */
static bool find_alive(const struct plugins *plugins, char name[ENVIRONMENT_NAME_MAX])
{
	const char *cursor = plugins->names;
	char path[PATH_MAX_BYTES];
	struct stat st;

	while (next(&cursor, name)) {
		files_container_path(plugins->root, name, "exitcode", path, sizeof(path));
		if (lstat(path, &st) < 0)
			return true;
	}
	return false;
}

void plugins_look(struct plugins *plugins)
{
	char name[ENVIRONMENT_NAME_MAX];

	plugins->is_done = plugins->is_given_up || !find_alive(plugins, name);
}

static void on_kill(struct event_timer *timer)
{
	struct plugins *plugins =
		(struct plugins *)((char *)timer - offsetof(struct plugins, kill));

	log_warn(plugins->log, "Killing the plugins' sidecars: they did not end in time");
	send(plugins, SIGKILL);
	event_timer_set(&plugins->give_up, PLUGINS_AFTER_KILL_MS);
}

static void on_give_up(struct event_timer *timer)
{
	struct plugins *plugins =
		(struct plugins *)((char *)timer - offsetof(struct plugins, give_up));

	plugins->is_given_up = plugins->is_done = true;
}

static int await(struct plugins *plugins, struct event_loop *loop, struct event_watch *watch)
{
	const char *cursor = plugins->names;
	char name[ENVIRONMENT_NAME_MAX], path[PATH_MAX_BYTES];
	int r = event_timer_init(&plugins->kill, loop, on_kill);

	if (r == 0)
		r = event_timer_init(&plugins->give_up, loop, on_give_up);
	if (r < 0)
		return r;
	while (next(&cursor, name)) {
		files_container_path(plugins->root, name, "", path, sizeof(path));
		event_watch_add(watch, path, EVENT_WATCH_NAMES);
	}
	event_timer_set(&plugins->kill, plugins->grace_ms);
	plugins_look(plugins);
	return event_loop_wait_uncancelled(loop, &plugins->is_done);
}

int plugins_await(struct plugins *plugins, struct event_loop *loop, struct event_watch *watch,
		  struct error *err)
{
	char name[ENVIRONMENT_NAME_MAX];
	int r;

	if (!find_alive(plugins, name))
		return 0;
	r = await(plugins, loop, watch);
	event_timer_done(&plugins->kill);
	event_timer_done(&plugins->give_up);
	if (r < 0)
		return error_errno(err, r, "wait for the plugins' sidecars");
	return find_alive(plugins, name) ?
		       error_set(err, -ETIMEDOUT,
				 "the artifact plugin in container %s does not end", name) :
		       0;
}
