#include "signal/commands.h"

#include "executor/base/text.h"
#include "executor/json/json.h"
#include "executor/process/files.h"
#include "executor/process/signals.h"
#include "signal/client.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

/* "15", "TERM" or "SIGTERM", in any case. */
static int parse_signal(const char *word, struct error *err)
{
	const char *name = strncasecmp(word, "SIG", 3) == 0 ? word + 3 : word;
	int64_t number;

	if (text_parse_int64(word, &number) == 0 && number >= 1 && number <= SIGNALS_MAX)
		return (int)number;
	for (int signo = 1; signo < SIGSYS + 1; signo++) {
		const char *known = sigabbrev_np(signo);

		if (known && strcasecmp(known, name) == 0)
			return signo;
	}
	return error_set(err, -EINVAL, "signal: \"%.64s\" is no signal's number (1 to %d) or name",
			 word, SIGNALS_MAX);
}

static int build_request(const struct role *role, int signo, struct buffer *out, struct error *err)
{
	_cleanup_json_ struct json_object *request = json_new_object();
	struct json_object *names;
	int r = request ? json_set(request, "signal", json_new_int(signo)) : -ENOMEM;

	if (r == 0)
		r = json_set_string(request, "reason", "argoexec signal");
	if (r == 0 && role->container) {
		names = json_new_array();
		r = json_set(request, "containers", names);
		if (r == 0)
			r = json_append(names,
					json_new_string(role->container, strlen(role->container)));
	}
	return r < 0 ? error_set(err, r, "out of memory") : json_print(request, out, err);
}

/* To who asked, and not to the termination log: that one is the container's own. */
static int fail(const struct error *err)
{
	dprintf(STDERR_FILENO, "Error: %s\n", err->message);
	return ROLE_FAILED;
}

/* The answer as it is, or what it says went wrong. */
static int finish(int status, int wanted, const struct buffer *answer, struct error *err)
{
	_cleanup_json_ struct json_object *refusal = NULL;

	if (status == wanted) {
		dprintf(STDOUT_FILENO, "%s\n", buffer_string(answer));
		return ROLE_OK;
	}
	if (status >= 0) {
		json_parse(buffer_string(answer), answer->size, "answer", &refusal, NULL);
		error_set(err, -EPROTO, "refused (%d): %s", status,
			  json_get_string(refusal, "error", "no reason given"));
	}
	return fail(err);
}

int signal_main(const struct role *role)
{
	_cleanup_buffer_ struct buffer request = BUFFER_INIT(CLIENT_ANSWER_BYTES_MAX);
	_cleanup_buffer_ struct buffer answer = BUFFER_INIT(CLIENT_ANSWER_BYTES_MAX);
	struct error err = ERROR_NONE;
	int status = parse_signal(role->argv[0], &err);

	if (status >= 0)
		status = build_request(role, status, &request, &err);
	if (status >= 0)
		status = client_request(FILES_VAR_RUN_ARGO, "POST", "/v1/terminate",
					buffer_string(&request), &answer, &err);
	return finish(status, 202, &answer, &err);
}

static int print_event(const char *text, size_t size)
{
	return dprintf(STDOUT_FILENO, "%.*s\n", (int)size, text) < 0 ? -errno : 0;
}

int status_main(const struct role *role)
{
	_cleanup_buffer_ struct buffer answer = BUFFER_INIT(CLIENT_ANSWER_BYTES_MAX);
	struct error err = ERROR_NONE;
	int r;

	if (!role->wants_watch) {
		r = client_request(FILES_VAR_RUN_ARGO, "GET", "/v1/status", NULL, &answer, &err);
		return finish(r, 200, &answer, &err);
	}
	r = client_watch(FILES_VAR_RUN_ARGO, print_event, &err);
	if (r == 0 || r == -EPIPE)
		return ROLE_OK;
	return fail(&err);
}
