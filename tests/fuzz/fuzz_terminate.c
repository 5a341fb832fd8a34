/* The body of POST /v1/terminate. Required: what is accepted lies within the documented ranges; what
 * is refused leaves nothing behind, and its message fits into an answer that is valid JSON. */
#include "executor/json/json.h"
#include "executor/process/signals.h"
#include "signal/control_answer.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/targets.h"

#include <string.h>

#define GRACE_S_MAX 86400

static const char *const names[] = { "main", "a", "b-2" };
#define CONTAINERS (sizeof(names) / sizeof(names[0]))

static void check_accepted(const struct control_model *model,
			   const struct control_terminate *terminate)
{
	const struct termination_request *request = &terminate->request;

	fuzz_require(request->signo >= 1 && request->signo <= SIGNALS_MAX);
	fuzz_require(request->grace_ms == model->grace_ms ||
		     (request->grace_ms >= 0 && request->grace_ms <= GRACE_S_MAX * 1000LL &&
		      request->grace_ms % 1000 == 0));
	fuzz_require(memchr(request->reason, '\0', sizeof(request->reason)));
	fuzz_require(request->source == TERMINATION_BY_CONTROL);
	fuzz_require(terminate->count <= CONTAINERS && (!terminate->which == !terminate->count));
	for (size_t i = 0; i < terminate->count; i++)
		fuzz_require(terminate->which[i] < CONTAINERS);
}

/* The names in the body are those of the containers, to the last byte. */
static void check_names(const char *data, size_t size, const struct control_terminate *terminate)
{
	_cleanup_json_ struct json_object *body = NULL;
	struct json_object *list;

	fuzz_require(json_parse(data, size, "body", &body, NULL) == 0);
	list = json_get(body, "containers");
	for (size_t i = 0; i < terminate->count; i++) {
		size_t length;
		const char *name = json_string(json_at(list, i), &length);

		fuzz_require(strcmp(name, names[terminate->which[i]]) == 0);
		fuzz_require(strlen(name) == length);
	}
}

static void check_refused(int r, const struct error *err)
{
	_cleanup_buffer_ struct buffer answer = BUFFER_INIT(1 << 16);
	_cleanup_json_ struct json_object *value = NULL;
	struct error parse_error = ERROR_NONE;

	fuzz_check_error(r, err);
	fuzz_require(control_write_error(&answer, 400, err->message) == 0);
	fuzz_require(json_parse(answer.data, answer.size, "answer", &value, &parse_error) == 0);
	fuzz_require(strcmp(json_get_string(value, "error", ""), err->message) == 0);
}

void fuzz_terminate(const char *data, size_t size)
{
	struct terminator terminator = { .options = { .names = names, .count = CONTAINERS } };
	const struct control_model model = { .terminator = &terminator, .grace_ms = 30001 };
	struct control_terminate terminate;
	struct error err = ERROR_NONE;
	int r = control_parse_terminate(&model, data, size, &terminate, &err);

	if (r == 0)
		check_accepted(&model, &terminate);
	else
		check_refused(r, &err);
	fuzz_require(r == 0 || !terminate.which);
	if (r == 0 && terminate.count > 0)
		check_names(data, size, &terminate);
	control_terminate_done(&terminate);
}
