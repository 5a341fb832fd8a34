#include "executor/artifact/s3/classify.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void test_codes(void **state)
{
	static const struct {
		const char *code;
		int status;
		enum error_class class;
	} rows[] = {
		{ "NoSuchKey", 404, ERROR_NOT_FOUND },
		{ "NoSuchBucket", 404, ERROR_PERMANENT },
		{ "NoSuchUpload", 404, ERROR_PERMANENT },
		{ "AccessDenied", 403, ERROR_PERMANENT },
		{ "SignatureDoesNotMatch", 403, ERROR_PERMANENT },
		{ "RequestTimeTooSkewed", 403, ERROR_CLOCK_SKEW },
		{ "ExpiredToken", 400, ERROR_EXPIRED_CREDENTIALS },
		{ "AuthorizationHeaderMalformed", 400, ERROR_WRONG_REGION },
		{ "PermanentRedirect", 301, ERROR_WRONG_REGION },
		{ "RequestTimeout", 400, ERROR_TRANSIENT },
		{ "InternalError", 200, ERROR_TRANSIENT },
		{ "OperationAborted", 409, ERROR_TRANSIENT },
		{ "PriorRequestNotComplete", 400, ERROR_TRANSIENT },
		{ "BandwidthLimitExceeded", 400, ERROR_THROTTLED },
		{ "SlowDown", 503, ERROR_THROTTLED },
		{ "SlowDown", 200, ERROR_THROTTLED },
		{ "LimitExceededException", 400, ERROR_THROTTLED },
		{ "KMS.ThrottlingException", 400, ERROR_THROTTLED },
		{ "NotImplemented", 501, ERROR_PERMANENT },
		{ "NeverHeardOf", 400, ERROR_PERMANENT },
		{ "NeverHeardOf", 500, ERROR_TRANSIENT },
		{ "NeverHeardOf", 404, ERROR_PERMANENT },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(s3_classify(rows[i].status, rows[i].code, "", true),
				 rows[i].class);
}

/* All that is tried again, by whichever of Argo's two loops or of the AWS SDKs: with a status that says nothing. */
static void test_codes_that_pass(void **state)
{
	static const char *const codes[] = {
		"RequestError",
		"RequestTimeout",
		"Throttling",
		"ThrottlingException",
		"RequestLimitExceeded",
		"RequestThrottled",
		"InternalError",
		"ExpiredToken",
		"ExpiredTokenException",
		"SlowDown",
		"SlowDownWrite",
		"SlowDownRead",
		"AuthorizationHeaderMalformed",
		"InvalidRegion",
		"ServiceUnavailable",
		"KMS.ThrottlingException",
		"KMS.InternalException",
		"PriorRequestNotComplete",
		"ProvisionedThroughputExceededException",
		"BandwidthLimitExceeded",
		"TooManyRequestsException",
		"TransactionInProgressException",
		"EC2ThrottledException",
		"LimitExceededException",
		"RequestTimeoutException",
		"IDPCommunicationError",
		"RequestTimeTooSkewed",
		"OperationAborted",
	};
	static const char *const refusals[] = {
		"NoSuchBucket",          "AccessDenied",          "InvalidAccessKeyId",
		"SignatureDoesNotMatch", "InvalidObjectState",    "AllAccessDisabled",
		"KMS.DisabledException", "KMS.NotFoundException",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		struct error err = { .class = s3_classify(400, codes[i], "", true) };

		if (!error_is_retryable(&err))
			fail_msg("%s", codes[i]);
	}
	for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++)
		assert_int_equal(s3_classify(403, refusals[i], "", true), ERROR_PERMANENT);
	for (int status = 500; status < 600; status++)
		assert_int_equal(s3_classify(status, "NeverHeardOf", "", true), ERROR_TRANSIENT);
}

static void test_status_alone(void **state)
{
	static const int transient[] = { 408, 499, 500, 502, 503, 504, 520 };
	static const int permanent[] = { 301, 400, 401, 403, 405, 409, 411, 412, 416 };

	(void)state;
	for (size_t i = 0; i < sizeof(transient) / sizeof(transient[0]); i++)
		assert_int_equal(s3_classify(transient[i], "", "", true), ERROR_TRANSIENT);
	for (size_t i = 0; i < sizeof(permanent) / sizeof(permanent[0]); i++)
		assert_int_equal(s3_classify(permanent[i], "", "", true), ERROR_PERMANENT);
	assert_int_equal(s3_classify(429, "", "", true), ERROR_THROTTLED);
	assert_int_equal(s3_classify(404, "", "", true), ERROR_NOT_FOUND);
	assert_int_equal(s3_classify(404, "", "", false), ERROR_PERMANENT);
}

static void test_words(void **state)
{
	(void)state;
	assert_int_equal(s3_classify(400, "Odd", "Please reduce your request rate.", true),
			 ERROR_THROTTLED);
	assert_int_equal(s3_classify(400, "", "Rate exceeded", true), ERROR_THROTTLED);
}

/* docs/stores/s3.md prints the table: "| `Code` | class |". */
static void test_documentation(void **state)
{
	char line[512], code[64], class[64];
	FILE *page = fopen("docs/stores/s3.md", "re");
	int rows = 0;

	(void)state;
	if (!page)
		fail_msg("run from the root of the project: docs/stores/s3.md is not here");
	while (fgets(line, sizeof(line), page)) {
		if (sscanf(line, "| `%63[A-Za-z0-9.]` | %63[a-z ] |", code, class) != 2 ||
		    !isupper((unsigned char)code[0])) /* a field of the location */
			continue;
		class[strcspn(class, "|")] = '\0';
		while (*class && class[strlen(class) - 1] == ' ')
			class[strlen(class) - 1] = '\0';
		assert_string_equal(error_class_name(s3_classify(400, code, "", true)), class);
		rows++;
	}
	fclose(page);
	assert_int_equal(rows, 43);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_codes),         cmocka_unit_test(test_codes_that_pass),
		cmocka_unit_test(test_status_alone),  cmocka_unit_test(test_words),
		cmocka_unit_test(test_documentation),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
