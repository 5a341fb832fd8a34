#include "executor/artifact/oss/classify.h"
#include "executor/artifact/s3/classify.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_codes(void **state)
{
	static const struct {
		int status;
		const char *code;
		enum error_class class;
	} rows[] = {
		{ 404, "NoSuchKey", ERROR_NOT_FOUND },
		{ 404, "NoSuchBucket", ERROR_PERMANENT },
		{ 404, "NoSuchUpload", ERROR_PERMANENT },
		{ 500, "InternalError", ERROR_TRANSIENT },
		{ 503, "ServiceUnavailable", ERROR_TRANSIENT },
		{ 400, "RequestTimeout", ERROR_TRANSIENT },
		{ 400, "BadRequest", ERROR_TRANSIENT },
		{ 503, "Throttling", ERROR_THROTTLED },
		{ 503, "SlowDown", ERROR_THROTTLED },
		{ 503, "DownloadTrafficRateLimitExceeded", ERROR_THROTTLED },
		{ 403, "SecurityTokenExpired", ERROR_EXPIRED_CREDENTIALS },
		{ 401, "", ERROR_EXPIRED_CREDENTIALS },
		{ 403, "RequestTimeTooSkewed", ERROR_CLOCK_SKEW },
		{ 403, "AccessDenied", ERROR_PERMANENT },
		{ 403, "SignatureDoesNotMatch", ERROR_PERMANENT },
		{ 403, "InvalidAccessKeyId", ERROR_PERMANENT },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(oss_classify(rows[i].status, rows[i].code, "", true),
				 rows[i].class);
	assert_int_equal(oss_classify(400, "InvalidArgument",
				      "Invalid signing date in Authorization header.", true),
			 ERROR_CLOCK_SKEW);
	assert_int_equal(oss_classify(400, "InvalidArgument", "", true), ERROR_PERMANENT);
}

/* All that Argo or a newer SDK tries again, with a status that says nothing. */
static void test_codes_that_pass(void **state)
{
	static const char *const codes[] = {
		"RequestTimeout",
		"QuotaExceeded.Refresh",
		"Default",
		"ServiceUnavailable",
		"Throttling",
		"RequestTimeTooSkewed",
		"SocketException",
		"SocketTimeout",
		"ServiceBusy",
		"DomainNetWorkVisitedException",
		"ConnectionTimeout",
		"CachedTimeTooLarge",
		"InternalError",
		"BadRequest",
		"SecurityTokenExpired",
	};
	static const int statuses[] = { 401, 408, 429, 500, 599 };

	(void)state;
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		struct error err = { .class = oss_classify(400, codes[i], "", true) };

		if (!error_is_retryable(&err))
			fail_msg("%s", codes[i]);
	}
	for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++) {
		struct error err = { .class = oss_classify(statuses[i], "", "", true) };

		assert_true(error_is_retryable(&err));
	}
}

/* InternalError, and whatever has no code that is known: the store makes no difference. */
static void test_as_s3(void **state)
{
	static const char *const codes[] = { "", "InternalError", "NobodyKnows" };

	(void)state;
	for (int status = 300; status < 600; status++) {
		if (status == 401)
			continue;
		for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
			for (int is_object = 0; is_object < 2; is_object++)
				assert_int_equal(oss_classify(status, codes[i], "", is_object),
						 s3_classify(status, codes[i], "", is_object));
	}
	assert_int_equal(oss_classify(500, "InternalError", "", true), ERROR_TRANSIENT);
	assert_int_equal(oss_classify(502, "", "", true), ERROR_TRANSIENT);
	assert_int_equal(oss_classify(599, "NobodyKnows", "", false), ERROR_TRANSIENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_codes),
		cmocka_unit_test(test_codes_that_pass),
		cmocka_unit_test(test_as_s3),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
