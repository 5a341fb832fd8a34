#include "executor/artifact/s3/go_text.h"

#include "executor/http/status_text.h"

/* What it keeps of a body that is no Error document. */
#define BODY_MAX 1024

/* The Message; else the words that it has itself for a bare 404 or 403; else what the body holds; else
 * the status line. */
void s3_put_as_go(const struct http_response *response, const struct object_failure *failure,
		  struct retry *retry)
{
	const struct object_xml_error *error = &failure->error;
	const struct buffer *body = &response->body;

	if (error->message[0])
		retry_note_text(retry, "%s", error->message);
	else if (error->code[0])
		retry_note_text(retry, "Error response code %s.", error->code);
	else if (failure->status == 404)
		retry_note_text(retry, "The specified key does not exist.");
	else if (failure->status == 403)
		retry_note_text(retry, "Access Denied.");
	else if (body->size > 0)
		retry_note_text(retry, "%.*s%s",
				(int)(body->size < BODY_MAX ? body->size : BODY_MAX), body->data,
				body->size > BODY_MAX ? "..." : "");
	else
		retry_note_text(retry, "%d %s", failure->status, http_status_text(failure->status));
}
