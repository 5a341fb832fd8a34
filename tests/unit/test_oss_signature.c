/* Both signatures against published results: the example of the API reference for version 1, and the
 * requests of the tests of Alibaba Cloud's SDKs (alibabacloud-oss-go-sdk-v2). */
#include "executor/artifact/oss/signature.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void check(int (*sign)(const struct oss_signing *signing, struct buffer *out),
		  const struct oss_signing *signing, const char *expected)
{
	_cleanup_buffer_ struct buffer out = BUFFER_INIT(4096);

	assert_int_equal(sign(signing, &out), 0);
	assert_string_equal(out.data, expected);
}

static void test_v1_of_the_reference(void **state)
{
	static const struct sign_header headers[] = {
		{ "content-md5", "ODBGOERFMDMzQTczRUY3NUE3NzA5QzdFNUYzMDQxNEM=" },
		{ "content-type", "text/html" },
		{ "x-oss-magic", "abracadabra" },
		{ "x-oss-meta-author", "foo@bar.com" },
	};
	const struct oss_signing signing = {
		.method = "PUT",
		.bucket = "oss-example",
		.key = "nelson",
		.headers = headers,
		.header_count = COUNT(headers),
		.access_key = "44CF9590006BF252F707",
		.secret_key = "OtxrzxIsfpFjA7SwPzILwy8Bw21TLhquhboDYROV",
		.time = 1132253398,
	};

	(void)state;
	check(oss_sign_v1, &signing, "OSS 44CF9590006BF252F707:26NBxoKdsyly4EDv6inkoDft/yA=");
}

static void test_v1_of_the_sdk(void **state)
{
	static const struct sign_header headers[] = {
		{ "content-md5", "eB5eJF1ptWaXm4bijSPyxw==" },
		{ "content-type", "text/html" },
		{ "x-oss-date", "Wed, 28 Dec 2022 10:27:41 GMT" },
		{ "x-oss-meta-author", "alice" },
		{ "x-oss-meta-magic", "abracadabra" },
	};
	const struct oss_signing signing = {
		.method = "PUT",
		.bucket = "examplebucket",
		.key = "nelson",
		.headers = headers,
		.header_count = COUNT(headers),
		.access_key = "ak",
		.secret_key = "sk",
		.time = 1672223261,
	};

	(void)state;
	check(oss_sign_v1, &signing, "OSS ak:kSHKmLxlyEAKtZPkJhG9bZb5k7M=");
}

/* What is part of the resource and what is not, by a signature of its own: both give the same. */
static void test_v1_sub_resources(void **state)
{
	static const struct object_query with[] = { { "uploadId", "u/1" },
						    { "prefix", "p" },
						    { "partNumber", "7" },
						    { "max-keys", "1" },
						    { NULL, NULL } };
	static const struct object_query without[] = { { "partNumber", "7" },
						       { "uploadId", "u/1" },
						       { NULL, NULL } };
	struct oss_signing signing = { .method = "PUT",
				       .bucket = "b",
				       .key = "k",
				       .query = with,
				       .access_key = "ak",
				       .secret_key = "sk",
				       .time = 1672223261 };
	_cleanup_buffer_ struct buffer first = BUFFER_INIT(4096), second = BUFFER_INIT(4096),
				       third = BUFFER_INIT(4096);

	(void)state;
	assert_int_equal(oss_sign_v1(&signing, &first), 0);
	signing.query = without;
	assert_int_equal(oss_sign_v1(&signing, &second), 0);
	assert_string_equal(first.data, second.data);
	signing.query = NULL;
	assert_int_equal(oss_sign_v1(&signing, &third), 0);
	assert_string_not_equal(first.data, third.data);
}

static const struct object_query odd_query[] = { { "param1", "value1" },  { "+param1", "value3" },
						 { "|param1", "value4" }, { "+param2", "" },
						 { "|param2", "" },       { "param2", "" },
						 { NULL, NULL } };

static void test_v4(void **state)
{
	static const struct sign_header headers[] = {
		{ "content-type", "text/plain" },
		{ "x-oss-content-sha256", OSS_UNSIGNED },
		{ "x-oss-date", "20231216T162057Z" },
		{ "x-oss-head1", "value" },
	};
	const struct oss_signing signing = {
		.method = "PUT",
		.bucket = "bucket",
		.key = "1234+-/123/1.txt",
		.query = odd_query,
		.headers = headers,
		.header_count = COUNT(headers),
		.access_key = "ak",
		.secret_key = "sk",
		.region = "cn-hangzhou",
		.time = 1702743657,
	};

	(void)state;
	check(oss_sign_v4, &signing,
	      "OSS4-HMAC-SHA256 Credential=ak/20231216/cn-hangzhou/oss/aliyun_v4_request,"
	      "Signature=e21d18daa82167720f9b1047ae7e7f1ce7cb77a31e8203a7d5f4624fa0284afe");
}

static void test_v4_with_a_token(void **state)
{
	static const struct sign_header headers[] = {
		{ "content-type", "text/plain" },     { "x-oss-content-sha256", OSS_UNSIGNED },
		{ "x-oss-date", "20231217T034736Z" }, { "x-oss-head1", "value" },
		{ "x-oss-security-token", "token" },
	};
	const struct oss_signing signing = {
		.method = "PUT",
		.bucket = "bucket",
		.key = "1234+-/123/1.txt",
		.query = odd_query,
		.headers = headers,
		.header_count = COUNT(headers),
		.access_key = "ak",
		.secret_key = "sk",
		.region = "cn-hangzhou",
		.time = 1702784856,
	};

	(void)state;
	check(oss_sign_v4, &signing,
	      "OSS4-HMAC-SHA256 Credential=ak/20231217/cn-hangzhou/oss/aliyun_v4_request,"
	      "Signature=b94a3f999cf85bcdc00d332fbd3734ba03e48382c36fa4d5af5df817395bd9ea");
}

static void test_date(void **state)
{
	char date[OSS_DATE_SIZE];

	(void)state;
	oss_date(1132253398, date);
	assert_string_equal(date, "Thu, 17 Nov 2005 18:49:58 GMT");
	oss_date(0, date);
	assert_string_equal(date, "Thu, 01 Jan 1970 00:00:00 GMT");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_v1_of_the_reference), cmocka_unit_test(test_v1_of_the_sdk),
		cmocka_unit_test(test_v1_sub_resources),    cmocka_unit_test(test_v4),
		cmocka_unit_test(test_v4_with_a_token),     cmocka_unit_test(test_date),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
