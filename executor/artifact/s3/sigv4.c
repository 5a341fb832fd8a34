#include "executor/artifact/s3/sigv4.h"

#include "executor/artifact/object/sign.h"

#include <stdio.h>
#include <string.h>

#define ALGORITHM "AWS4-HMAC-SHA256"
/* The longest key and query encoded, and a session token (a few kilobytes). */
#define CANONICAL_MAX (128 * 1024)

static int append_names(struct buffer *out, const struct sigv4_request *request)
{
	int r = 0;

	for (size_t i = 0; i < request->header_count && r == 0; i++)
		r = buffer_append_format(out, "%s%s", i > 0 ? ";" : "", request->headers[i].name);
	return r;
}

static int append_canonical(struct buffer *out, const struct sigv4_request *request)
{
	int r = buffer_append_format(out, "%s\n%s\n%s\n", request->method, request->path,
				     request->query);

	for (size_t i = 0; i < request->header_count && r == 0; i++)
		r = buffer_append_format(out, "%s:%s\n", request->headers[i].name,
					 request->headers[i].value);
	if (r == 0)
		r = buffer_append_string(out, "\n");
	if (r == 0)
		r = append_names(out, request);
	if (r == 0)
		r = buffer_append_format(out, "\n%s", request->payload_hash);
	return r;
}

int sigv4_authorization(const struct sigv4_request *request, struct buffer *out)
{
	_cleanup_buffer_ struct buffer text = BUFFER_INIT(CANONICAL_MAX);
	char date[SIGN_DATE_SIZE], day[9], hex[SIGN_HEX_SIZE];
	const char *const links[] = { day, request->region, request->service, "aws4_request",
				      NULL };
	int r;

	sign_date(request->time, date);
	snprintf(day, sizeof(day), "%.8s", date);
	r = append_canonical(&text, request);
	if (r == 0)
		r = sign_hash(text.data, text.size, hex);
	if (r < 0)
		return r;
	buffer_reset(&text);
	r = buffer_append_format(&text, ALGORITHM "\n%s\n%s/%s/%s/aws4_request\n%s", date, day,
				 request->region, request->service, hex);
	if (r == 0)
		r = sign_with_derived_key("AWS4", request->secret_key, links, text.data, text.size,
					  hex);
	if (r == 0)
		r = buffer_append_format(
			out, ALGORITHM " Credential=%s/%s/%s/%s/aws4_request,SignedHeaders=",
			request->access_key, day, request->region, request->service);
	if (r == 0)
		r = append_names(out, request);
	return r < 0 ? r : buffer_append_format(out, ",Signature=%s", hex);
}
