#include "executor/artifact/oss/go_text.h"

void oss_put_as_go(const struct http_response *response, const struct object_failure *failure,
		   struct retry *retry)
{
	const struct object_xml_error *error = &failure->error;
	char header[OBJECT_CODE_MAX];
	const char *id = error->request_id;

	if (!*id)
		id = http_response_header(response, "x-oss-request-id", header, sizeof(header)) ?:
												  "";
	if (response->body.size > 0 && !error->code[0]) {
		retry_note_text(retry,
				"oss: unknown response body, status code = %d, RequestId = %s",
				failure->status, id);
		return;
	}
	retry_note_text(
		retry,
		"oss: service returned error: StatusCode=%d, ErrorCode=%s, ErrorMessage=\"%s\", "
		"RequestId=%s%s%s%s%s",
		failure->status, error->code, error->message, id,
		*error->endpoint ? ", Endpoint=" : "", error->endpoint, *error->ec ? ", Ec=" : "",
		error->ec);
}
