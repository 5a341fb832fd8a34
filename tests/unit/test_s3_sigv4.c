/* The published examples: Amazon S3 API reference, "Signature Calculations for the Authorization
 * Header: Transferring Payload in a Single Chunk". */
#include "executor/artifact/object/sign.h"
#include "executor/artifact/s3/sigv4.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define EXAMPLE_TIME 1369353600 /* 2013-05-24T00:00:00Z */
#define CREDENTIAL \
	"AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,"
#define HOST "examplebucket.s3.amazonaws.com"

static void check(struct sigv4_request request, const struct sign_header *headers, size_t count,
		  const char *expected)
{
	_cleanup_buffer_ struct buffer out = BUFFER_INIT(4096);

	request.headers = headers;
	request.header_count = count;
	request.access_key = "AKIAIOSFODNN7EXAMPLE";
	request.secret_key = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
	request.region = "us-east-1";
	request.service = "s3";
	request.time = EXAMPLE_TIME;
	assert_int_equal(sigv4_authorization(&request, &out), 0);
	assert_string_equal(buffer_string(&out), expected);
}

static void test_get_object(void **state)
{
	const struct sign_header headers[] = {
		{ "host", HOST },
		{ "range", "bytes=0-9" },
		{ "x-amz-content-sha256", SIGV4_EMPTY_HASH },
		{ "x-amz-date", "20130524T000000Z" },
	};

	(void)state;
	check((struct sigv4_request){ .method = "GET",
				      .path = "/test.txt",
				      .query = "",
				      .payload_hash = SIGV4_EMPTY_HASH },
	      headers, 4,
	      CREDENTIAL
	      "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,"
	      "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
}

static void test_put_object(void **state)
{
	static const char hash[] =
		"44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072";
	const struct sign_header headers[] = {
		{ "date", "Fri, 24 May 2013 00:00:00 GMT" },
		{ "host", HOST },
		{ "x-amz-content-sha256", hash },
		{ "x-amz-date", "20130524T000000Z" },
		{ "x-amz-storage-class", "REDUCED_REDUNDANCY" },
	};

	(void)state;
	check((struct sigv4_request){ .method = "PUT",
				      .path = "/test%24file.text",
				      .query = "",
				      .payload_hash = hash },
	      headers, 5,
	      CREDENTIAL
	      "SignedHeaders=date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class,"
	      "Signature=98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
}

static void check_bucket(const char *query, const char *signature)
{
	const struct sign_header headers[] = {
		{ "host", HOST },
		{ "x-amz-content-sha256", SIGV4_EMPTY_HASH },
		{ "x-amz-date", "20130524T000000Z" },
	};
	char expected[512];

	snprintf(expected, sizeof(expected), "%sSignedHeaders=%s,Signature=%s", CREDENTIAL,
		 "host;x-amz-content-sha256;x-amz-date", signature);
	check((struct sigv4_request){ .method = "GET",
				      .path = "/",
				      .query = query,
				      .payload_hash = SIGV4_EMPTY_HASH },
	      headers, 3, expected);
}

static void test_get_lifecycle(void **state)
{
	(void)state;
	check_bucket("lifecycle=",
		     "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
}

static void test_list_objects(void **state)
{
	(void)state;
	check_bucket("max-keys=2&prefix=J",
		     "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
}

static void test_date(void **state)
{
	char date[SIGN_DATE_SIZE];

	(void)state;
	sign_date(EXAMPLE_TIME, date);
	assert_string_equal(date, "20130524T000000Z");
	sign_date(951826245, date); /* a leap day */
	assert_string_equal(date, "20000229T121045Z");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_get_object),    cmocka_unit_test(test_put_object),
		cmocka_unit_test(test_get_lifecycle), cmocka_unit_test(test_list_objects),
		cmocka_unit_test(test_date),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
