#include "executor/artifact/store.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static int open_raw(const char *text, struct store **ret, struct error *err)
{
	const struct store_context context = { .secret_directory = "/nonexistent" };
	_cleanup_json_ struct json_object *location = NULL;

	assert_int_equal(json_parse(text, strlen(text), "location", &location, err), 0);
	return store_find("raw")->open(&context, location, ret, err);
}

static void check(const char *text, const void *expected, size_t size)
{
	struct error err = ERROR_NONE;
	struct reader *reader;
	struct store *store;
	int64_t reported;
	char data[64];

	if (open_raw(text, &store, &err) < 0)
		fail_msg("%s", err.message);
	assert_int_equal(store->operations->get(store, &reader, &reported, &err), 0);
	assert_int_equal(reported, size);
	assert_int_equal(reader->read(reader, data, sizeof(data), &err), size);
	assert_memory_equal(data, expected, size);
	assert_int_equal(reader->read(reader, data, sizeof(data), &err), 0);
	store->operations->get_done(store, reader);
	store->operations->close(store);
}

static void test_literal(void **state)
{
	(void)state;
	check("{\"data\":\"hello\\nworld\\n\"}", "hello\nworld\n", 12);
	check("{\"data\":\"\\u0000a\\u00e4\"}", "\0a\xc3\xa4", 4);
	check("{\"data\":\"\"}", "", 0);
	check("{}", "", 0);
}

static void test_wrong_type(void **state)
{
	struct error err = ERROR_NONE;
	struct store *store;

	(void)state;
	assert_int_equal(open_raw("{\"data\":{}}", &store, &err), -EINVAL);
	assert_string_equal(err.message, "raw: data: expected a string, found object");
}

static void test_read_only(void **state)
{
	(void)state;
	assert_null(store_find("raw")->put_file);
	assert_null(store_find("raw")->put_stream);
	assert_null(store_find("raw")->list);
}

static void test_find(void **state)
{
	(void)state;
	assert_string_equal(store_find("s3")->type, "s3");
	assert_string_equal(store_find("raw")->type, "raw");
	assert_null(store_find("floppy"));
	assert_null(store_find(""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_literal),
		cmocka_unit_test(test_wrong_type),
		cmocka_unit_test(test_read_only),
		cmocka_unit_test(test_find),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
