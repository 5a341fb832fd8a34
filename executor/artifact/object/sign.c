#include "executor/artifact/object/sign.h"

#include <string.h>

/* A secret has a few dozen bytes; this is what a secret file may hold at most, and the prefix. */
#define SECRET_MAX (1024 * 1024 + 16)

void sign_date(time_t time, char date[SIGN_DATE_SIZE])
{
	struct tm tm;

	gmtime_r(&time, &tm);
	if (strftime(date, SIGN_DATE_SIZE, "%Y%m%dT%H%M%SZ", &tm) == 0)
		date[0] = '\0';
}

int sign_hash(const char *text, size_t size, char hex[SIGN_HEX_SIZE])
{
	uint8_t hash[DIGEST_SHA256_BYTES];
	int r = digest_of(DIGEST_SHA256, text, size, hash);

	if (r == 0)
		digest_hex(hash, sizeof(hash), hex);
	return r;
}

static int derive_key(const char *prefix, const char *secret, const char *const *links,
		      uint8_t key[DIGEST_SHA256_BYTES])
{
	struct buffer first = BUFFER_INIT(SECRET_MAX);
	uint8_t next[DIGEST_SHA256_BYTES];
	int r = buffer_append_format(&first, "%s%s", prefix, secret);

	if (r == 0)
		r = digest_hmac_sha256(first.data, first.size, links[0], strlen(links[0]), key);
	if (first.data)
		explicit_bzero(first.data, first.size);
	buffer_done(&first);
	for (links++; *links && r == 0; links++) {
		r = digest_hmac_sha256(key, DIGEST_SHA256_BYTES, *links, strlen(*links), next);
		memcpy(key, next, sizeof(next));
	}
	explicit_bzero(next, sizeof(next));
	return r;
}

int sign_with_derived_key(const char *prefix, const char *secret, const char *const *links,
			  const char *text, size_t size, char hex[SIGN_HEX_SIZE])
{
	uint8_t key[DIGEST_SHA256_BYTES], signature[DIGEST_SHA256_BYTES];
	int r = derive_key(prefix, secret, links, key);

	if (r == 0)
		r = digest_hmac_sha256(key, sizeof(key), text, size, signature);
	explicit_bzero(key, sizeof(key));
	if (r == 0)
		digest_hex(signature, sizeof(signature), hex);
	return r;
}
