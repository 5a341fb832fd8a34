#include "executor/artifact/oss/signature.h"

#include "executor/base/text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ALGORITHM "OSS4-HMAC-SHA256"
/* The longest key and query encoded, and a session token (a few kilobytes). */
#define CANONICAL_MAX (128 * 1024)

void oss_date(time_t time, char date[OSS_DATE_SIZE])
{
	/* Not strftime's names: they follow the locale. */
	static const char days[][4] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
	static const char months[][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
					  "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
	struct tm tm;

	gmtime_r(&time, &tm);
	snprintf(date, OSS_DATE_SIZE, "%s, %02d %s %04d %02d:%02d:%02d GMT", days[tm.tm_wday],
		 tm.tm_mday % 100, months[tm.tm_mon], (tm.tm_year + 1900) % 10000, tm.tm_hour,
		 tm.tm_min, tm.tm_sec);
}

static int append_headers(struct buffer *out, const struct oss_signing *signing, const char *prefix)
{
	int r = 0;

	for (size_t i = 0; i < signing->header_count && r == 0; i++)
		if (text_has_prefix(signing->headers[i].name, prefix))
			r = buffer_append_format(out, "%s:%s\n", signing->headers[i].name,
						 signing->headers[i].value);
	return r;
}

/* --- Version 1 ---------------------------------------------------------------------------------- */

static const char *header_value(const struct oss_signing *signing, const char *name)
{
	for (size_t i = 0; i < signing->header_count; i++)
		if (strcmp(signing->headers[i].name, name) == 0)
			return signing->headers[i].value;
	return "";
}

/* Of the parameters that we send these belong to the resource, in their order; prefix, max-keys and
 * the like do not. */
static const char *const sub_resources[] = { "continuation-token", "lifecycle", "logging",
					     "partNumber",         "uploadId",  "uploads" };

static int append_resource(struct buffer *out, const struct oss_signing *signing)
{
	const char *separator = "?";
	int r = buffer_append_string(out, "/");

	if (r == 0 && signing->bucket)
		r = buffer_append_format(out, "%s/", signing->bucket);
	if (r == 0 && signing->key)
		r = buffer_append_string(out, signing->key);
	for (size_t i = 0; i < sizeof(sub_resources) / sizeof(sub_resources[0]); i++) {
		for (const struct object_query *q = signing->query; q && q->name && r == 0; q++) {
			if (strcmp(q->name, sub_resources[i]) != 0)
				continue;
			r = buffer_append_format(out, "%s%s%s%s", separator, q->name,
						 *q->value ? "=" : "", q->value);
			separator = "&";
		}
	}
	return r;
}

int oss_sign_v1(const struct oss_signing *signing, struct buffer *out)
{
	_cleanup_buffer_ struct buffer text = BUFFER_INIT(CANONICAL_MAX);
	uint8_t signature[DIGEST_SHA1_BYTES];
	char date[OSS_DATE_SIZE];
	int r;

	oss_date(signing->time, date);
	r = buffer_append_format(&text, "%s\n%s\n%s\n%s\n", signing->method,
				 header_value(signing, "content-md5"),
				 header_value(signing, "content-type"), date);
	if (r == 0)
		r = append_headers(&text, signing, "x-oss-");
	if (r == 0)
		r = append_resource(&text, signing);
	if (r == 0)
		r = digest_hmac_sha1(signing->secret_key, strlen(signing->secret_key), text.data,
				     text.size, signature);
	if (r == 0)
		r = buffer_append_format(out, "OSS %s:", signing->access_key);
	return r < 0 ? r : digest_base64_encode(signature, sizeof(signature), out);
}

/* --- Version 4 ---------------------------------------------------------------------------------- */

/* The bucket is part of the path, wherever it is in the URL. */
static int append_canonical(struct buffer *out, const struct oss_signing *signing)
{
	int r = buffer_append_format(out, "%s\n/", signing->method);

	if (r == 0 && signing->bucket)
		r = buffer_append_format(out, "%s/", signing->bucket);
	if (r == 0 && signing->key)
		r = object_url_encode(out, signing->key, true);
	if (r == 0)
		r = buffer_append_string(out, "\n");
	if (r == 0)
		r = object_url_append_query(out, signing->query, true);
	if (r == 0)
		r = buffer_append_string(out, "\n");
	if (r == 0)
		r = append_headers(out, signing, "");
	/* An empty line, and another one for no additional headers. */
	return r < 0 ? r : buffer_append_string(out, "\n\n" OSS_UNSIGNED);
}

int oss_sign_v4(const struct oss_signing *signing, struct buffer *out)
{
	_cleanup_buffer_ struct buffer text = BUFFER_INIT(CANONICAL_MAX);
	char date[SIGN_DATE_SIZE], day[9], hex[SIGN_HEX_SIZE];
	const char *const links[] = { day, signing->region, "oss", "aliyun_v4_request", NULL };
	int r;

	sign_date(signing->time, date);
	snprintf(day, sizeof(day), "%.8s", date);
	r = append_canonical(&text, signing);
	if (r == 0)
		r = sign_hash(text.data, text.size, hex);
	if (r < 0)
		return r;
	buffer_reset(&text);
	r = buffer_append_format(&text, ALGORITHM "\n%s\n%s/%s/oss/aliyun_v4_request\n%s", date,
				 day, signing->region, hex);
	if (r == 0)
		r = sign_with_derived_key("aliyun_v4", signing->secret_key, links, text.data,
					  text.size, hex);
	if (r == 0)
		r = buffer_append_format(out,
					 ALGORITHM
					 " Credential=%s/%s/%s/oss/aliyun_v4_request,Signature=%s",
					 signing->access_key, day, signing->region, hex);
	return r;
}
