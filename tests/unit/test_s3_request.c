/* The header lines of each kind of request: what is encrypted, vouched for, signed. */
#include "executor/artifact/s3/client.h"
#include "executor/base/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SSE "x-amz-server-side-encryption"
#define ABC_SHA256 "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define ABC_MD5 "kAFQmDzST7DWlj99KOF/cg=="

static struct s3_bucket bucket;
static char password[] = "32byteslongsecretkeymustprovided";

static const struct object_query init_query[] = { { "uploads", "" }, { NULL, NULL } };
static const struct object_query part_query[] = { { "partNumber", "1" },
						  { "uploadId", "u" },
						  { NULL, NULL } };
static const struct object_query upload_query[] = { { "uploadId", "u" }, { NULL, NULL } };

enum kind { HEAD, GET, PUT, INIT, PART, COMPLETE, ABORT, DELETE, LIST, KINDS };

#define BODY .body = { .data = "abc", .size = 3 }
static const struct object_call calls[KINDS] = {
	[HEAD] = { .method = "HEAD", .key = "a/b" },
	[GET] = { .method = "GET", .key = "a/b" },
	[PUT] = { .method = "PUT", .key = "a/b", .is_object = true, BODY },
	[INIT] = { .method = "POST", .key = "a/b", .query = init_query },
	[PART] = { .method = "PUT", .key = "a/b", .query = part_query, .is_object = true, BODY },
	[COMPLETE] = { .method = "POST", .key = "a/b", .query = upload_query, BODY },
	[ABORT] = { .method = "DELETE", .key = "a/b", .query = upload_query },
	[DELETE] = { .method = "DELETE", .key = "a/b" },
	[LIST] = { .method = "GET" },
};

static struct s3_client client_of(const char *host)
{
	return (struct s3_client){
		.config = { .host = (char *)host,
			    .bucket = (char *)"my-bucket",
			    .keys = { .access_key = (char *)"AK", .secret_key = (char *)"sk" } },
		.bucket = &bucket,
		.region = "eu-west-1",
	};
}

/* The value of a line; NULL = there is none. Valid until object_request_done(). */
static const char *line_of(const struct object_request *request, const char *name)
{
	size_t size = strlen(name);

	for (size_t i = 0; i < request->line_count; i++)
		if (strncmp(request->lines[i], name, size) == 0 && request->lines[i][size] == ':')
			return request->lines[i] + size + 2;
	return NULL;
}

static struct object_request prepare(struct s3_client *client, enum kind kind)
{
	struct object_request request;
	struct error err = ERROR_NONE;

	if (s3_request_prepare(&client->base, &calls[kind], &request, &err) < 0)
		fail_msg("%s", err.message);
	return request;
}

/* `kinds` is a set of bits. Whatever is sent is signed. */
static void check(struct s3_client *client, const char *name, const char *value, unsigned kinds)
{
	for (enum kind kind = 0; kind < KINDS; kind++) {
		struct object_request request = prepare(client, kind);
		const char *found = line_of(&request, name);

		if (kinds & 1U << kind) {
			assert_non_null(found);
			assert_string_equal(found, value);
			assert_non_null(strstr(line_of(&request, "authorization"), name));
		} else {
			assert_null(found);
		}
		object_request_done(&request);
	}
}

#define NEW (1U << PUT | 1U << INIT)

static void test_encryption(void **state)
{
	struct s3_client client = client_of("minio:9000");

	(void)state;
	check(&client, SSE, NULL, 0);
	client.config.sse.kind = S3_SSE_S3;
	check(&client, SSE, "AES256", NEW);
	check(&client, SSE "-context", NULL, 0);
	client.config.sse.kind = S3_SSE_KMS;
	client.config.sse.kms_key = (char *)"key";
	client.config.sse.kms_context = (char *)"e30=";
	check(&client, SSE, "aws:kms", NEW);
	check(&client, SSE "-aws-kms-key-id", "key", NEW);
	check(&client, SSE "-context", "e30=", NEW);
}

static void test_key_of_ones_own(void **state)
{
	unsigned all = NEW | 1U << HEAD | 1U << GET | 1U << PART;
	struct object_request request;
	struct s3_client client = client_of("minio:9000");

	(void)state;
	client.config.sse = (struct s3_sse){ .kind = S3_SSE_CUSTOMER,
					     .password = password,
					     .password_size = sizeof(password) - 1 };
	check(&client, SSE, NULL, 0);
	check(&client, SSE "-customer-algorithm", "AES256", all | 1U << COMPLETE);
	check(&client, SSE "-customer-key",
	      "c9EX+/NV2z55rlGvp3QVuxo8qEQRwvL5o+BPuVw2hXY=", all | 1U << COMPLETE);
	check(&client, SSE "-customer-key-md5", "PLxI+N7dWMCjhLbaTEgwDg==", all | 1U << COMPLETE);
	/* Amazon wants none with the end of an upload. */
	client.config.host = (char *)"s3.amazonaws.com";
	check(&client, SSE "-customer-algorithm", "AES256", all);
	/* Each object has a key of its own. */
	assert_int_equal(s3_request_prepare(&client.base,
					    &(struct object_call){ .method = "GET", .key = "a/c" },
					    &request, NULL),
			 0);
	assert_string_not_equal(line_of(&request, SSE "-customer-key"),
				"c9EX+/NV2z55rlGvp3QVuxo8qEQRwvL5o+BPuVw2hXY=");
	object_request_done(&request);
	free(client.derived.object);
}

static void test_md5(void **state)
{
	struct s3_client client = client_of("minio:9000");

	(void)state;
	check(&client, "content-md5", NULL, 0);
	client.config.want_object_locking = true;
	check(&client, "content-md5", ABC_MD5, 1U << PUT | 1U << PART);
	client.config.want_object_locking = false;
	bucket.is_md5_demanded = true;
	check(&client, "content-md5", ABC_MD5, 1U << PUT | 1U << PART);
	bucket.is_md5_demanded = false;
}

static void check_hash(bool is_insecure, enum kind kind, const char *expected)
{
	struct s3_client client = client_of("minio:9000");
	struct object_request request;

	client.config.is_insecure = is_insecure;
	request = prepare(&client, kind);
	assert_string_equal(line_of(&request, "x-amz-content-sha256"), expected);
	object_request_done(&request);
}

/* Data over https is not hashed; documents are, everywhere. */
static void test_payload_hash(void **state)
{
	static const char empty[] =
		"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

	(void)state;
	for (int is_insecure = 0; is_insecure < 2; is_insecure++) {
		check_hash(is_insecure, GET, empty);
		check_hash(is_insecure, INIT, empty);
		check_hash(is_insecure, COMPLETE, ABC_SHA256);
		check_hash(is_insecure, PUT, is_insecure ? ABC_SHA256 : "UNSIGNED-PAYLOAD");
		check_hash(is_insecure, PART, is_insecure ? ABC_SHA256 : "UNSIGNED-PAYLOAD");
	}
}

static void test_scope_and_token(void **state)
{
	struct s3_client client = client_of("minio:9000");
	struct object_request request;

	(void)state;
	client.config.keys.token = (char *)"token/+=";
	check(&client, "x-amz-security-token", "token/+=", (1U << KINDS) - 1);
	request = prepare(&client, GET);
	assert_non_null(strstr(line_of(&request, "authorization"), "/eu-west-1/s3/aws4_request,"));
	object_request_done(&request);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_encryption),
		cmocka_unit_test(test_key_of_ones_own),
		cmocka_unit_test(test_md5),
		cmocka_unit_test(test_payload_hash),
		cmocka_unit_test(test_scope_and_token),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
