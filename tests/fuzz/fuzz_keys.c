/* What those answer who give out temporary keys, S3's and OSS's: "<status>\n<header lines>\n\n<body>". Required:
 * keys that can be signed with and be part of a header, or none and a refusal that is a line with a class. */
#include "executor/artifact/object/chain.h"
#include "executor/artifact/s3/sts.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/targets.h"

#include <string.h>

static void check(int r, struct object_keys *keys, const struct error *err)
{
	if (r < 0) {
		fuzz_check_error(r, err);
		fuzz_require(!keys->access_key && !keys->secret_key && !keys->token);
		return;
	}
	fuzz_require(keys->access_key && *keys->access_key);
	fuzz_require(keys->secret_key && *keys->secret_key);
	fuzz_require(!keys->token || *keys->token);
	fuzz_require(object_keys_check(keys, NULL) == 0);
	object_keys_done(keys);
}

static void check_sts(const struct http_response *response)
{
	struct object_keys keys = { 0 };
	struct error err = ERROR_NONE;
	int64_t offset_s = 0;
	int r = sts_take_keys(response, &keys, &offset_s, &err);

	fuzz_require(r < 0 || response->status / 100 == 2);
	fuzz_require(offset_s == 0 || err.class == ERROR_TRANSIENT);
	check(r, &keys, &err);
}

static void check_json(const struct http_response *response, const char *secret, const char *token)
{
	struct object_keys keys = { 0 };
	struct error err = ERROR_NONE;
	int r = chain_take_json(response, secret, token, &keys, &err);

	check(r, &keys, &err);
}

static void check_name(const struct http_response *response)
{
	char name[CHAIN_NAME_MAX];
	struct error err = ERROR_NONE;
	int r = chain_take_name(response, name, &err);

	if (r < 0)
		fuzz_check_error(r, &err);
	else
		fuzz_require(*name && !strpbrk(name, " \t\r\n"));
}

void fuzz_keys(const char *data, size_t size)
{
	struct fuzz_input input = { data, size };
	struct http_response response;

	fuzz_take_response(&input, &response);
	check_sts(&response);
	check_json(&response, "SecretAccessKey", "Token");
	check_json(&response, "AccessKeySecret", "SecurityToken");
	check_name(&response);
	http_response_done(&response);
}
