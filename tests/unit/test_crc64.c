#include "executor/artifact/object/crc64.h"

#include "executor/base/cleanup.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct crc64_table table;

/* Bit by bit, as the polynomial is defined. */
static uint64_t slowly(const unsigned char *data, size_t size)
{
	uint64_t crc = ~0ULL;

	for (size_t i = 0; i < size; i++) {
		crc ^= data[i];
		for (int bit = 0; bit < 8; bit++)
			crc = (crc >> 1) ^ (crc & 1 ? 0xc96c5795d7870f42ULL : 0);
	}
	return ~crc;
}

static void fill(unsigned char *data, size_t size)
{
	uint32_t x = 1;

	for (size_t i = 0; i < size; i++) {
		x = x * 1664525 + 1013904223;
		data[i] = (unsigned char)(x >> 24);
	}
}

static void test_check_value(void **state)
{
	(void)state;
	/* The catalogue's check value of CRC-64/XZ. */
	assert_int_equal(crc64_update(&table, 0, "123456789", 9), 0x995dc9bbdf1939faULL);
	assert_int_equal(crc64_update(&table, 0, "", 0), 0);
}

static void test_all_lengths(void **state)
{
	unsigned char data[100];

	(void)state;
	fill(data, sizeof(data));
	for (size_t size = 0; size <= sizeof(data); size++)
		assert_int_equal(crc64_update(&table, 0, data, size), slowly(data, size));
	/* In two pieces, and not aligned. */
	for (size_t cut = 0; cut <= sizeof(data); cut++) {
		uint64_t crc = crc64_update(&table, 0, data, cut);

		crc = crc64_update(&table, crc, data + cut, sizeof(data) - cut);
		assert_int_equal(crc, slowly(data, sizeof(data)));
	}
}

static void test_combine(void **state)
{
	unsigned char data[1000];
	uint64_t whole;

	(void)state;
	fill(data, sizeof(data));
	whole = slowly(data, sizeof(data));
	for (size_t cut = 0; cut <= sizeof(data); cut += 37)
		assert_int_equal(
			crc64_combine(crc64_update(&table, 0, data, cut),
				      crc64_update(&table, 0, data + cut, sizeof(data) - cut),
				      sizeof(data) - cut),
			whole);
}

static void test_file(void **state)
{
	unsigned char data[100000];
	FILE *file = tmpfile();
	struct error err = ERROR_NONE;
	uint64_t crc = 0;

	(void)state;
	fill(data, sizeof(data));
	assert_non_null(file);
	assert_int_equal(fwrite(data, 1, sizeof(data), file), sizeof(data));
	assert_int_equal(fflush(file), 0);
	assert_int_equal(crc64_update_file(&table, &crc, fileno(file), 5, sizeof(data) - 5, &err),
			 0);
	assert_int_equal(crc, slowly(data + 5, sizeof(data) - 5));
	assert_int_equal(crc64_update_file(&table, &crc, fileno(file), 5, sizeof(data), &err),
			 -ESTALE);
	fclose(file);
}

static int set_up(void **state)
{
	(void)state;
	crc64_table_init(&table);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_check_value),
		cmocka_unit_test(test_all_lengths),
		cmocka_unit_test(test_combine),
		cmocka_unit_test(test_file),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
