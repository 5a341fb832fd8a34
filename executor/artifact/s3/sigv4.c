#include "executor/artifact/s3/sigv4.h"

#include "executor/http/digest.h"

#include <stdio.h>
#include <string.h>

#define ALGORITHM "AWS4-HMAC-SHA256"
/* The longest key and query encoded, and a session token (a few kilobytes). */
#define CANONICAL_MAX (128 * 1024)

void sigv4_date(time_t time, char date[SIGV4_DATE_SIZE])
{
	struct tm tm;

	gmtime_r(&time, &tm);
	if (strftime(date, SIGV4_DATE_SIZE, "%Y%m%dT%H%M%SZ", &tm) == 0)
		date[0] = '\0';
}

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

static int derive_key(const struct sigv4_request *request, const char *day,
		      uint8_t key[DIGEST_SHA256_BYTES])
{
	const char *const links[] = { request->region, request->service, "aws4_request" };
	struct buffer first = BUFFER_INIT(CANONICAL_MAX);
	uint8_t next[DIGEST_SHA256_BYTES];
	int r = buffer_append_format(&first, "AWS4%s", request->secret_key);

	if (r == 0)
		r = digest_hmac_sha256(first.data, first.size, day, strlen(day), key);
	if (first.data)
		explicit_bzero(first.data, first.size);
	buffer_done(&first);
	for (size_t i = 0; i < sizeof(links) / sizeof(links[0]) && r == 0; i++) {
		r = digest_hmac_sha256(key, DIGEST_SHA256_BYTES, links[i], strlen(links[i]), next);
		memcpy(key, next, sizeof(next));
	}
	explicit_bzero(next, sizeof(next));
	return r;
}

static int hash_hex(const struct buffer *text, char hex[2 * DIGEST_SHA256_BYTES + 1])
{
	uint8_t hash[DIGEST_SHA256_BYTES];
	int r = digest_of(DIGEST_SHA256, text->data, text->size, hash);

	if (r == 0)
		digest_hex(hash, sizeof(hash), hex);
	return r;
}

/* The hexadecimal signature of the string to sign. */
static int sign(const struct sigv4_request *request, const char *day, const struct buffer *text,
		char hex[2 * DIGEST_SHA256_BYTES + 1])
{
	uint8_t key[DIGEST_SHA256_BYTES], signature[DIGEST_SHA256_BYTES];
	int r = derive_key(request, day, key);

	if (r == 0)
		r = digest_hmac_sha256(key, sizeof(key), text->data, text->size, signature);
	explicit_bzero(key, sizeof(key));
	if (r == 0)
		digest_hex(signature, sizeof(signature), hex);
	return r;
}

int sigv4_authorization(const struct sigv4_request *request, struct buffer *out)
{
	_cleanup_buffer_ struct buffer text = BUFFER_INIT(CANONICAL_MAX);
	char date[SIGV4_DATE_SIZE], day[9], hex[2 * DIGEST_SHA256_BYTES + 1];
	int r;

	sigv4_date(request->time, date);
	snprintf(day, sizeof(day), "%.8s", date);
	r = append_canonical(&text, request);
	if (r == 0)
		r = hash_hex(&text, hex);
	if (r < 0)
		return r;
	buffer_reset(&text);
	r = buffer_append_format(&text, ALGORITHM "\n%s\n%s/%s/%s/aws4_request\n%s", date, day,
				 request->region, request->service, hex);
	if (r == 0)
		r = sign(request, day, &text, hex);
	if (r == 0)
		r = buffer_append_format(
			out, ALGORITHM " Credential=%s/%s/%s/%s/aws4_request,SignedHeaders=",
			request->access_key, day, request->region, request->service);
	if (r == 0)
		r = append_names(out, request);
	return r < 0 ? r : buffer_append_format(out, ",Signature=%s", hex);
}
