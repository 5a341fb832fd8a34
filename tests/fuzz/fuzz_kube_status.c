/* What an API server answers: "<status>\n<header lines>\n\n<body>". Required: an object comes with a
 * 2xx alone, a refusal is a line with a class, and pauses are within their limit. */
#include "executor/http/retry.h"
#include "executor/kube/status.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/targets.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

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
	struct http_response response;
	_cleanup_json_ struct json_object *object = NULL;
	struct kube_status status = { 0 };
	struct error err = ERROR_NONE;
	int r;

	fuzz_take_response(&input, &response);
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
