/* What signatures of version 4 have in common, Amazon's and Alibaba Cloud's. */
#pragma once

#include "executor/http/digest.h"

#include <time.h>

#define SIGN_DATE_SIZE 17 /* yyyymmddThhmmssZ and NUL */
#define SIGN_HEX_SIZE (2 * DIGEST_SHA256_BYTES + 1)

struct sign_header {
	const char *name; /* lower case */
	const char *value; /* without white space at its ends */
};

/* The time of a signature, in UTC. */
void sign_date(time_t time, char date[SIGN_DATE_SIZE]);

/* The SHA-256 of a text in hexadecimal. 0 or a negative errno. */
int sign_hash(const char *text, size_t size, char hex[SIGN_HEX_SIZE]);

/* Signs a text with a key that is derived from prefix and secret by one HMAC-SHA256 for each link
 * (day, region, service, …; the last is NULL). 0 or a negative errno. */
int sign_with_derived_key(const char *prefix, const char *secret, const char *const *links,
			  const char *text, size_t size, char hex[SIGN_HEX_SIZE]);
