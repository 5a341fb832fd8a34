/* JSON. Required: what is accepted is printed as JSON that is accepted again and is equal, and
 * printed once more the same; copies are equal; nothing is nested deeper than JSON_DEPTH_MAX. */
#include "executor/json/json.h"
#include "executor/json/strict.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/targets.h"

#include <string.h>

#define PRINTED_BYTES_MAX (16 * 1024 * 1024)

static int check_member(const char *key, struct json_object *value, void *context);

static void check_depth(struct json_object *value, unsigned depth)
{
	_cleanup_buffer_ struct buffer text = BUFFER_INIT(PRINTED_BYTES_MAX);
	bool is_scalar = value && !json_is_object(value) && !json_is_array(value);

	fuzz_require(depth <= JSON_DEPTH_MAX);
	fuzz_require((json_scalar_text(value, &text) == 0) == is_scalar);
	if (json_is_array(value))
		for (size_t i = 0; i < json_length(value); i++)
			check_depth(json_at(value, i), depth + 1);
	else
		json_each(value, check_member, &depth);
}

static int check_member(const char *key, struct json_object *value, void *context)
{
	(void)key;
	check_depth(value, *(unsigned *)context + 1);
	return 0;
}

static void check_value(struct json_object *value)
{
	_cleanup_buffer_ struct buffer once = BUFFER_INIT(PRINTED_BYTES_MAX);
	_cleanup_buffer_ struct buffer twice = BUFFER_INIT(PRINTED_BYTES_MAX);
	_cleanup_json_ struct json_object *again = NULL, *copy = NULL;
	struct error err = ERROR_NONE;
	size_t offset;

	check_depth(value, 0);
	fuzz_require(json_print(value, &once, &err) == 0);
	fuzz_require(!strict_check(buffer_string(&once), once.size, &offset));
	fuzz_require(json_parse(buffer_string(&once), once.size, "again", &again, &err) == 0);
	fuzz_require(json_equal(value, again));
	fuzz_require(json_print(again, &twice, &err) == 0);
	fuzz_require(once.size == twice.size);
	fuzz_require(memcmp(buffer_string(&once), buffer_string(&twice), once.size) == 0);
	copy = json_copy(value);
	fuzz_require(!copy == !value && json_equal(value, copy));
}

void fuzz_json(const char *data, size_t size)
{
	_cleanup_json_ struct json_object *value = NULL;
	struct error err = ERROR_NONE;
	int r = json_parse(data, size, "document", &value, &err);

	if (r < 0) {
		fuzz_require(!value);
		fuzz_check_error(r, &err);
	} else {
		check_value(value);
	}
}
