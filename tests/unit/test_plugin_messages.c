/* What goes over the wire to an artifact plugin, byte by byte, and what may come back. */
#include "executor/artifact/plugin/grpc.h"
#include "executor/artifact/plugin/message.h"
#include "executor/artifact/plugin/protobuf.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define REQUEST_MAX 4096

static void encode(const char *artifact, const char *path, bool is_save, struct buffer *out)
{
	_cleanup_json_ struct json_object *json = NULL;
	struct error err = ERROR_NONE;

	assert_int_equal(json_parse(artifact, strlen(artifact), "artifact", &json, &err), 0);
	*out = BUFFER_INIT(REQUEST_MAX);
	assert_int_equal(is_save ? message_save_request(json, path, out) :
				   message_load_request(json, path, out),
			 0);
}

static void check_bytes(struct buffer *out, const char *expected, size_t size)
{
	assert_int_equal(out->size, size);
	assert_memory_equal(out->data, expected, size);
	buffer_done(out);
}

static void test_requests(void **state)
{
	static const char load[] = "\x0a\x06\x0a\x01"
				   "a\x12\x01/"
				   "\x12\x02/x";
	static const char save[] = "\x0a\x02/x\x12\x03\x0a\x01"
				   "a";
	struct buffer out;

	(void)state;
	encode("{\"name\":\"a\",\"path\":\"/\"}", "/x", false, &out);
	check_bytes(&out, load, sizeof(load) - 1);
	encode("{\"name\":\"a\"}", "/x", true, &out);
	check_bytes(&out, save, sizeof(save) - 1);
	/* Nothing is known: an empty artifact is still one. */
	encode("{}", "", false, &out);
	check_bytes(&out, "\x0a\x00", 2);
}

static void test_every_field(void **state)
{
	static const char expected[] = "\x0a\x26"
				       "\x0a\x01n\x12\x01p\x18\xa4\x03\x22\x01"
				       "f\x2a\x0c\x0a\x01P\x12\x01"
				       "c\x18\xac\x02\x22\x01k\x30\x01\x3a\x01s\x40\x01\x4a\x01"
				       "e\x50\x01";
	struct buffer out;

	(void)state;
	encode("{\"deleted\":true,\"fromExpression\":\"e\",\"recurseMode\":true,\"subPath\":\"s\","
	       "\"optional\":true,\"plugin\":{\"key\":\"k\",\"connectionTimeoutSeconds\":300,"
	       "\"configuration\":\"c\",\"name\":\"P\"},\"from\":\"f\",\"mode\":420,\"path\":\"p\","
	       "\"name\":\"n\",\"archive\":{\"none\":{}},\"globalName\":\"g\"}",
	       "", false, &out);
	assert_int_equal(out.size, 2 + 0x26);
	check_bytes(&out, expected, sizeof(expected) - 1);
}

static void test_a_request_that_is_too_large(void **state)
{
	static const char artifact[] = "{\"name\":\"0123456789\"}";
	_cleanup_json_ struct json_object *json = NULL;
	_cleanup_buffer_ struct buffer out = BUFFER_INIT(8);

	(void)state;
	assert_int_equal(json_parse(artifact, strlen(artifact), "artifact", &json, NULL), 0);
	assert_int_equal(message_load_request(json, "/x", &out), -EMSGSIZE);
}

static int judge(const char *data, size_t size, struct error *err)
{
	/* A block of its own, so that a sanitizer sees every byte too many. */
	char *copy = memcpy(malloc(size + 1), data, size);
	struct buffer response = { .data = copy, .size = size };
	int r = message_judge_response(&response, err);

	free(copy);
	return r;
}

#define JUDGE(text, err) judge(text, sizeof(text) - 1, err)

static void test_responses(void **state)
{
	struct error err = ERROR_NONE;

	(void)state;
	assert_int_equal(JUDGE("\x08\x01", &err), 0);
	assert_int_equal(JUDGE("\x12\x02no\x08\x01", &err), 0);
	/* The last one counts; unknown fields of every type are passed over. */
	assert_int_equal(JUDGE("\x08\x00\x08\x01", &err), 0);
	assert_int_equal(JUDGE("\x18\x05\x21"
			       "12345678\x2a\x03"
			       "abc\x35"
			       "1234\x08\x01",
			       &err),
			 0);
	assert_int_equal(JUDGE("", &err), -EREMOTEIO);
	assert_string_equal(err.message, "no reason was given");
	assert_int_equal(JUDGE("\x12\x03\0no", &err), -EREMOTEIO);
	assert_string_equal(err.message, "no reason was given");
	assert_int_equal(JUDGE("\x12\x03\xe4\x97\0", &err), -EREMOTEIO);
	assert_string_equal(err.message, "no reason was given");
	assert_int_equal(JUDGE("\x12\x05no\n\xff!", &err), -EREMOTEIO);
	assert_string_equal(err.message, "no ?!");
	assert_int_equal(err.class, ERROR_PERMANENT);
}

static void test_responses_that_are_none(void **state)
{
	static const struct {
		const char *text;
		size_t size;
	} bad[] = {
#define BAD(text) { text, sizeof(text) - 1 }
		BAD("\x08"),
		BAD("\x08\x80"),
		BAD("\x12\x02n"),
		BAD("\x12\xff\xff\xff\xff\x0fn"),
		BAD("\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01n"),
		BAD("\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"), /* more than 64 bits */
		BAD("\x02\x00"), /* field 0 */
		BAD("\x0b\x0c"), /* a group */
		BAD("\x0e"), /* a type that does not exist */
		BAD("\xf8\xff\xff\xff\xff\x01\x00"), /* a number beyond 2^29 */
		BAD("\x21"
		    "1234567"),
		BAD("\x35"
		    "123"),
	};
	struct error err;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		err = ERROR_NONE;
		assert_int_equal(judge(bad[i].text, bad[i].size, &err), -EBADMSG);
		assert_string_equal(err.message, "the answer is malformed");
	}
}

static int unframe(const char *data, size_t size, const char **ret, size_t *ret_size,
		   struct error *err)
{
	struct buffer body = { .data = (char *)data, .size = size };

	return grpc_unframe(&body, ret, ret_size, err);
}

static void test_frames(void **state)
{
	struct error err = ERROR_NONE;
	const char *message;
	size_t size;

	(void)state;
	assert_int_equal(unframe("\0\0\0\0\2ab", 7, &message, &size, &err), 0);
	assert_memory_equal(message, "ab", 2);
	assert_int_equal(size, 2);
	assert_int_equal(unframe("\0\0\0\0\0", 5, &message, &size, &err), 0);
	assert_int_equal(size, 0);
	for (size_t i = 0; i < 5; i++)
		assert_int_equal(unframe("\0\0\0\0\2ab", i, &message, &size, &err), -EBADMSG);
	assert_int_equal(unframe("\0\0\0\0\2a", 6, &message, &size, &err), -EBADMSG);
	assert_int_equal(unframe("\0\0\0\0\2abc", 8, &message, &size, &err), -EBADMSG);
	assert_int_equal(unframe("\0\xff\xff\xff\xff"
				 "ab",
				 7, &message, &size, &err),
			 -EBADMSG);
	assert_string_equal(err.message,
			    "the answer's message should have 4294967295 bytes and has 2");
	assert_int_equal(unframe("\1\0\0\0\2ab", 7, &message, &size, &err), -EBADMSG);
	assert_string_equal(err.message, "the answer is compressed, unasked");
}

static void check_decoding(const char *text, const char *expected)
{
	char buffer[64];

	snprintf(buffer, sizeof(buffer), "%s", text);
	grpc_decode_message(buffer);
	assert_string_equal(buffer, expected);
}

static void test_percent_encoding(void **state)
{
	(void)state;
	check_decoding("", "");
	check_decoding("plain", "plain");
	check_decoding("a%20b%C3%a9%25", "a b\xc3\xa9%");
	check_decoding("%", "%");
	check_decoding("100%", "100%");
	check_decoding("%4", "%4");
	check_decoding("%4x%zz%41", "%4x%zzA");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_requests),
		cmocka_unit_test(test_every_field),
		cmocka_unit_test(test_a_request_that_is_too_large),
		cmocka_unit_test(test_responses),
		cmocka_unit_test(test_responses_that_are_none),
		cmocka_unit_test(test_frames),
		cmocka_unit_test(test_percent_encoding),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
