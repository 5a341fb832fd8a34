/* What an API server answers: "<status>\n<header lines>\n\n<body>". Required: an object comes with a
 * 2xx alone, a refusal is a line with a class, and pauses are within their limit. */
#include "executor/http/retry.h"
#include "executor/kube/status.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/targets.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BODY_BYTES_MAX (1 << 20)

static void check_refusal(int r, const struct kube_status *status, const struct error *err)
{
	fuzz_check_error(r, err);
	fuzz_check_line(status->reason);
	fuzz_require(status->retry_after_ms >= -1);
	if (r == -ENOENT)
		fuzz_require(status->http == 404);
	if (status->http == 401 || status->http == 403)
		fuzz_require(r == (err->class == ERROR_THROTTLED ? -EBUSY : -EACCES));
	if (status->http >= 500)
		fuzz_require((r == -EIO || err->class == ERROR_THROTTLED) &&
			     status->is_outcome_unknown);
}

void fuzz_kube_status(const char *data, size_t size)
{
	struct fuzz_input input = { data, size };
	struct fuzz_input number = fuzz_take_until(&input, '\n');
	struct http_response response = {
		.headers = BUFFER_INIT(HTTP_HEADER_BYTES_MAX),
		.body = BUFFER_INIT(BODY_BYTES_MAX),
		.content_length = -1,
	};
	_cleanup_json_ struct json_object *object = NULL;
	_cleanup_free_ char *text = fuzz_text(number.data, number.size);
	struct kube_status status = { 0 };
	struct error err = ERROR_NONE;
	int r;

	response.status = (int)(strtoul(text, NULL, 10) % 500) + 100;
	/* As the HTTP engine hands them over: lower case names, no NUL. */
	while (input.size > 0) {
		struct fuzz_input line = fuzz_take_until(&input, '\n');

		if (line.size == 0)
			break;
		if (!memchr(line.data, '\0', line.size) &&
		    buffer_append(&response.headers, line.data, line.size) == 0)
			buffer_append(&response.headers, "\n", 1);
	}
	response.is_body_cut = input.size > BODY_BYTES_MAX;
	buffer_append(&response.body, input.data, input.size);
	r = kube_status_decode("PATCH", "https://h/x", &response, &status, &object, &err);
	fuzz_require(status.http == response.status);
	if (r == 0) {
		fuzz_require(response.status / 100 == 2);
	} else {
		fuzz_require(!object);
		check_refusal(r, &status, &err);
	}
	http_response_done(&response);
}
