#include "signal/control_answer.h"

#include "executor/base/clock.h"
#include "executor/base/text.h"
#include "executor/json/json.h"
#include "executor/process/signals.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

/* A day: longer grace periods than any pod has. */
#define GRACE_S_MAX 86400

/* --- requests --------------------------------------------------------------------------- */

struct parsing {
	const struct control_model *model;
	struct control_terminate *terminate;
	struct error *err;
};

static int parse_number(struct json_object *value, const char *name, int64_t low, int64_t high,
			int64_t *ret, struct error *err)
{
	_cleanup_buffer_ struct buffer text = BUFFER_INIT(32);
	int64_t number;

	if (!json_is_number(value) || json_scalar_text(value, &text) < 0 ||
	    text_parse_int64(buffer_string(&text), &number) < 0 || number < low || number > high)
		return error_set(err, -EINVAL, "%s: not an integer from %lld to %lld", name,
				 (long long)low, (long long)high);
	*ret = number;
	return 0;
}

static int find_container(const struct control_model *model, struct json_object *value, size_t *ret)
{
	const struct terminator_options *options = &model->terminator->options;
	size_t size;
	const char *name = json_string(value, &size);

	/* "main\u0000x" is not "main". */
	for (size_t i = 0; name && i < options->count; i++) {
		if (strlen(options->names[i]) == size && strcmp(options->names[i], name) == 0) {
			*ret = i;
			return 0;
		}
	}
	return -ENOENT;
}

static int parse_containers(struct parsing *parsing, struct json_object *value)
{
	struct control_terminate *terminate = parsing->terminate;
	size_t count = json_length(value);

	if (!json_is_array(value) || count == 0 ||
	    count > parsing->model->terminator->options.count)
		return error_set(parsing->err, -EINVAL,
				 "containers: not a list of names of main containers");
	free(terminate->which);
	terminate->count = count;
	terminate->which = calloc(count, sizeof(*terminate->which));
	if (!terminate->which)
		return error_set(parsing->err, -ENOMEM, "out of memory");
	for (size_t i = 0; i < count; i++) {
		struct json_object *name = json_at(value, i);

		if (find_container(parsing->model, name, &terminate->which[i]) < 0)
			return error_set(parsing->err, -EINVAL,
					 "containers: \"%.64s\" is no main container of this pod",
					 json_string(name, NULL) ?: "");
	}
	return 0;
}

static int parse_reason(struct parsing *parsing, struct json_object *value)
{
	char *reason = parsing->terminate->request.reason;
	size_t size;
	const char *text = json_string(value, &size);

	if (!text || size >= TERMINATION_REASON_MAX || strlen(text) != size)
		return error_set(parsing->err, -EINVAL,
				 "reason: not a string of less than %d bytes",
				 TERMINATION_REASON_MAX);
	memcpy(reason, text, size + 1);
	return 0;
}

static int parse_field(const char *key, struct json_object *value, void *context)
{
	struct parsing *parsing = context;
	struct termination_request *request = &parsing->terminate->request;
	int64_t number = 0;
	int r;

	if (strcmp(key, "signal") == 0) {
		r = parse_number(value, key, 1, SIGNALS_MAX, &number, parsing->err);
		request->signo = (int)number;
		return r;
	}
	if (strcmp(key, "graceSeconds") == 0) {
		r = parse_number(value, key, 0, GRACE_S_MAX, &number, parsing->err);
		request->grace_ms = number * 1000;
		return r;
	}
	if (strcmp(key, "containers") == 0)
		return parse_containers(parsing, value);
	if (strcmp(key, "reason") == 0)
		return parse_reason(parsing, value);
	return error_set(parsing->err, -EINVAL, "unknown field \"%.64s\"", key);
}

int control_parse_terminate(const struct control_model *model, const char *body, size_t size,
			    struct control_terminate *ret, struct error *err)
{
	struct parsing parsing = { .model = model, .terminate = ret, .err = err };
	_cleanup_json_ struct json_object *value = NULL;
	int r;

	*ret = (struct control_terminate){
		.request = { .signo = SIGTERM,
			     .grace_ms = model->grace_ms,
			     .source = TERMINATION_BY_CONTROL },
	};
	if (size == 0)
		return 0;
	r = json_parse(body, size, "body", &value, err);
	if (r < 0)
		return error_set(err, -EINVAL, "the body is not JSON");
	if (!json_is_object(value))
		return error_set(err, -EINVAL, "the body is not a JSON object");
	r = json_each(value, parse_field, &parsing);
	if (r < 0)
		control_terminate_done(ret);
	return r;
}

void control_terminate_done(struct control_terminate *terminate)
{
	free(TAKE_PTR(terminate->which));
}

/* --- answers ---------------------------------------------------------------------------- */

static int print(struct json_object *object, int r, struct buffer *out)
{
	struct error err = ERROR_NONE;

	if (r == 0)
		r = json_print(object, out, &err);
	return r;
}

static int set_id(struct json_object *object, const char *key, unsigned id)
{
	char text[16];

	snprintf(text, sizeof(text), "t%u", id);
	return json_set_string(object, key, text);
}

int control_write_acknowledgement(struct buffer *out, unsigned id, enum termination_outcome outcome)
{
	_cleanup_json_ struct json_object *object = json_new_object();
	int r = object ? set_id(object, "id", id) : -ENOMEM;

	if (r == 0)
		r = json_set_string(object, "outcome", termination_outcome_name(outcome));
	return print(object, r, out);
}

int control_write_error(struct buffer *out, int status, const char *message)
{
	_cleanup_json_ struct json_object *object = json_new_object();
	int r = object ? json_set(object, "status", json_new_int(status)) : -ENOMEM;

	if (r == 0)
		r = json_set_string(object, "error", message);
	return print(object, r, out);
}

static int set_time(struct json_object *object, const char *key, const struct timespec *time)
{
	char text[CLOCK_RFC3339_MAX];

	return json_set_string(object, key, clock_format_rfc3339(time, 3, text));
}

static int set_asked(struct json_object *object, const struct termination *termination)
{
	const struct termination_request *by = &termination->by;
	int r = set_id(object, "id", termination->id);

	if (r == 0)
		r = json_set(object, "signal", json_new_int(by->signo));
	if (r == 0)
		r = json_set_string(object, "source", termination_source_name(by->source));
	if (r == 0)
		r = set_time(object, "askedAt", &termination->asked_at);
	if (r == 0 && by->uid != (uid_t)-1)
		r = json_set(object, "uid", json_new_int((int64_t)by->uid));
	if (r == 0 && by->pid > 0)
		r = json_set(object, "pid", json_new_int(by->pid));
	if (r == 0 && by->peer[0])
		r = json_set_string(object, "peer", by->peer);
	if (r == 0 && by->reason[0])
		r = json_set_string(object, "reason", by->reason);
	if (r == 0 && termination->kill_at_ms) {
		int64_t left_ms = termination->kill_at_ms - clock_now_ms();

		r = json_set(object, "secondsToKill", json_new_int((left_ms + 999) / 1000));
	}
	return r;
}

static struct json_object *describe(const struct control_model *model, size_t i)
{
	const struct termination *termination = &model->terminator->terminations[i];
	_cleanup_json_ struct json_object *object = json_new_object();
	struct json_object *asked;
	int r = object ? json_set_string(object, "name", model->terminator->options.names[i]) :
			 -ENOMEM;

	if (r == 0)
		r = json_set_string(object, "state", model->state(model->context, i));
	if (r == 0)
		r = json_set_string(object, "termination",
				    termination_phase_name(termination->phase));
	if (r == 0 && termination->id) {
		asked = json_new_object();
		r = json_set(object, "request", asked);
		if (r == 0)
			r = set_asked(asked, termination);
	}
	return r == 0 ? TAKE_PTR(object) : NULL;
}

static struct json_object *describe_artifact(const struct ledger_entry *entry)
{
	_cleanup_json_ struct json_object *object = json_new_object();
	int r = object ? json_set_string(object, "name", entry->name) : -ENOMEM;

	if (r == 0)
		r = json_set_string(object, "direction", ledger_direction_name(entry->direction));
	if (r == 0)
		r = json_set_string(object, "state",
				    ledger_state_name(entry->direction, entry->state));
	if (r == 0)
		r = json_set(object, "bytesDone", json_new_int((int64_t)entry->bytes));
	if (r == 0 && entry->bytes_total >= 0)
		r = json_set(object, "bytesTotal", json_new_int(entry->bytes_total));
	if (r == 0)
		r = json_set(object, "retries", json_new_int(entry->retries));
	return r == 0 ? TAKE_PTR(object) : NULL;
}

size_t control_item_count(const struct control_model *model)
{
	return model->terminator->options.count + (model->ledger ? model->ledger->count : 0);
}

int control_write_event(struct buffer *out, const struct control_model *model, size_t item)
{
	_cleanup_json_ struct json_object *object = json_new_object();
	size_t containers = model->terminator->options.count;
	struct timespec now;
	int r;

	clock_gettime(CLOCK_REALTIME, &now);
	r = object ? set_time(object, "time", &now) : -ENOMEM;
	if (r == 0 && item < containers)
		r = json_set(object, "container", describe(model, item));
	else if (r == 0)
		r = json_set(object, "artifact",
			     describe_artifact(&model->ledger->entries[item - containers]));
	return print(object, r, out);
}

static int set_artifacts(struct json_object *object, const struct ledger *ledger)
{
	struct json_object *artifacts = json_new_array();
	int r = json_set(object, "artifacts", artifacts);

	for (size_t i = 0; r == 0 && ledger && i < ledger->count; i++)
		r = json_append(artifacts, describe_artifact(&ledger->entries[i]));
	if (r == 0 && ledger && ledger->omitted)
		r = json_set(object, "artifactsOmitted", json_new_int((int64_t)ledger->omitted));
	return r;
}

int control_write_status(struct buffer *out, const struct control_model *model,
			 const struct control_statistics *statistics)
{
	_cleanup_json_ struct json_object *object = json_new_object();
	struct json_object *containers = json_new_array();
	int64_t uptime_ms = clock_now_ms() - statistics->started_ms;
	int r = object ? json_set_string(object, "role", model->role) : -ENOMEM;

	if (r == 0)
		r = json_set(object, "uptimeSeconds", json_new_int(uptime_ms / 1000));
	if (r == 0)
		r = json_set(object, "graceSeconds", json_new_int(model->grace_ms / 1000));
	if (r == 0 && model->deadline_s)
		r = set_time(object, "deadline",
			     &(struct timespec){ .tv_sec = (time_t)model->deadline_s });
	for (size_t i = 0; r == 0 && i < model->terminator->options.count; i++)
		r = containers ? json_append(containers, describe(model, i)) : -ENOMEM;
	if (r == 0)
		r = json_set(object, "containers", TAKE_PTR(containers));
	json_free(containers);
	if (r == 0)
		r = set_artifacts(object, model->ledger);
	if (r == 0 && model->confinement)
		r = control_set_confinement(object, model);
	return print(object, r, out);
}
