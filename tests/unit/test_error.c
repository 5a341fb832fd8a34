#include "executor/base/error.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void test_set_fills_code_class_and_text(void **state)
{
	struct error err = ERROR_NONE;

	(void)state;
	assert_int_equal(error_set(&err, -EINVAL, "field %s: %d", "x", 7), -EINVAL);
	assert_int_equal(err.code, -EINVAL);
	assert_int_equal(err.class, ERROR_PERMANENT);
	assert_string_equal(err.message, "field x: 7");
	assert_int_equal(error_set(&err, -ENOENT, "gone"), -ENOENT);
	assert_int_equal(err.class, ERROR_NOT_FOUND);
	assert_int_equal(error_set(&err, -ECANCELED, "stop"), -ECANCELED);
	assert_int_equal(err.class, ERROR_CANCELLED);
	assert_int_equal(error_set_class(&err, -ENOENT, ERROR_THROTTLED, "less"), -ENOENT);
	assert_int_equal(err.class, ERROR_THROTTLED);
	assert_string_equal(err.message, "less");
}

static void test_null_is_welcome(void **state)
{
	(void)state;
	assert_int_equal(error_set(NULL, -EIO, "x"), -EIO);
	assert_int_equal(error_set_class(NULL, -EIO, ERROR_TRANSIENT, "x"), -EIO);
	assert_int_equal(error_errno(NULL, -EIO, "x"), -EIO);
	assert_int_equal(error_prefix(NULL, -EIO, "x"), -EIO);
	assert_int_equal(error_append(NULL, "x"), 0);
}

static void test_errno_in_words(void **state)
{
	struct error err = ERROR_NONE;
	char text[128];

	(void)state;
	error_errno(&err, -ENOENT, "open %s", "/x");
	assert_string_equal(err.message, "open /x: no such file or directory");
	error_errno(&err, -EIO, "read");
	assert_string_equal(err.message, "read: input/output error");
	assert_string_equal(error_text(EACCES, text, sizeof(text)), "permission denied");
	assert_string_equal(error_text(-EACCES, text, sizeof(text)), "permission denied");
	assert_string_equal(error_text(-99999, text, sizeof(text)), "unknown error");
	assert_string_equal(error_text(-EACCES, text, 5), "perm");
}

/* Abbreviations keep their capitals. */
static void test_abbreviations(void **state)
{
	char text[128];

	(void)state;
	assert_string_equal(error_text(EADV, text, sizeof(text)), "advertise error");
	assert_string_equal(error_text(EDOTDOT, text, sizeof(text)), "RFS specific error");
}

static void test_prefix_and_append(void **state)
{
	struct error err = ERROR_NONE;

	(void)state;
	error_set_class(&err, -EBUSY, ERROR_TRANSIENT, "refused");
	assert_int_equal(error_prefix(&err, -EIO, "put %s", "a/b"), -EBUSY);
	assert_int_equal(error_prefix(&err, -EIO, "artifact o"), -EBUSY);
	assert_int_equal(error_append(&err, " (%d attempts)", 3), -EBUSY);
	assert_string_equal(err.message, "artifact o: put a/b: refused (3 attempts)");
	assert_int_equal(err.class, ERROR_TRANSIENT);
}

/* Whatever the offset, a cut message ends with a whole character. */
static void test_cut_at_a_character(void **state)
{
	char text[ERROR_MESSAGE_MAX * 2];
	struct error err = ERROR_NONE;

	(void)state;
	for (size_t offset = 0; offset < 4; offset++) {
		size_t size;

		memset(text, 'x', offset);
		for (size_t i = offset; i < sizeof(text) - 4; i += 4)
			memcpy(text + i, "\xf0\x9f\x98\x80", 5);
		error_set(&err, -EIO, "%s", text);
		size = strlen(err.message);
		assert_in_range(size, ERROR_MESSAGE_MAX - 4, ERROR_MESSAGE_MAX - 1);
		assert_int_equal((size - offset) % 4, 0);
		error_prefix(&err, -EIO, "p");
		size = strlen(err.message);
		assert_in_range(size, ERROR_MESSAGE_MAX - 4, ERROR_MESSAGE_MAX - 1);
		assert_int_equal((size - offset - 3) % 4, 0);
		error_set(&err, -EIO, "short");
		error_append(&err, "%s", text);
		size = strlen(err.message);
		assert_in_range(size, ERROR_MESSAGE_MAX - 4, ERROR_MESSAGE_MAX - 1);
		assert_int_equal((size - offset - 5) % 4, 0);
	}
}

static void test_classes(void **state)
{
	static const bool retryable[ERROR_CLASS_COUNT] = {
		[ERROR_TRANSIENT] = true,           [ERROR_THROTTLED] = true,
		[ERROR_EXPIRED_CREDENTIALS] = true, [ERROR_WRONG_REGION] = true,
		[ERROR_CLOCK_SKEW] = true,
	};
	struct error err = ERROR_NONE;

	(void)state;
	for (enum error_class class = 0; class < ERROR_CLASS_COUNT; class ++) {
		error_set_class(&err, -EIO, class, "x");
		assert_int_equal(error_is_retryable(&err), retryable[class]);
		assert_string_not_equal(error_class_name(class), "unknown");
		for (enum error_class other = 0; other < class; other++)
			assert_string_not_equal(error_class_name(class), error_class_name(other));
	}
	assert_string_equal(error_class_name(ERROR_CLASS_COUNT), "unknown");
	assert_string_equal(error_class_name(ERROR_NOT_FOUND), "not found");
}

static void test_class_is_told_once(void **state)
{
	struct error err = ERROR_NONE;

	(void)state;
	error_set_class(&err, -EIO, ERROR_THROTTLED, "put b/k");
	error_tell_class(&err);
	error_tell_class(&err);
	assert_string_equal(err.message, "put b/k (throttled)");
	error_set(&err, -EACCES, "put b/k: (status 403, permanent)");
	error_tell_class(&err);
	assert_string_equal(err.message, "put b/k: (status 403, permanent)");
	error_set(&err, -EACCES, "put b/permanent: forbidden (request 7)");
	error_tell_class(&err);
	assert_string_equal(err.message, "put b/permanent: forbidden (request 7) (permanent)");
	error_set(&err, -ENOENT, "it is not there");
	error_tell_class(&err);
	assert_string_equal(err.message, "it is not there");
	error_tell_class(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_set_fills_code_class_and_text),
		cmocka_unit_test(test_null_is_welcome),
		cmocka_unit_test(test_errno_in_words),
		cmocka_unit_test(test_abbreviations),
		cmocka_unit_test(test_prefix_and_append),
		cmocka_unit_test(test_cut_at_a_character),
		cmocka_unit_test(test_classes),
		cmocka_unit_test(test_class_is_told_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
