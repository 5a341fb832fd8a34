#include "executor/base/log.h"

#include "executor/base/text.h"
#include "executor/json/json.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

static struct log text_log, json_log;
static char line[LOG_LINE_MAX * 2];

static int set_up(void **state)
{
	(void)state;
	text_log = (struct log){ .fd = memfd_create("log", MFD_CLOEXEC), .level = LOG_DEBUG };
	json_log = (struct log){ .fd = text_log.fd, .level = LOG_DEBUG, .is_json = true };
	return text_log.fd < 0 ? -1 : 0;
}

static int tear_down(void **state)
{
	(void)state;
	return close(text_log.fd);
}

/* What was written since the last call: at most one line, its newline cut off. */
static const char *written(void)
{
	ssize_t n;

	assert_int_equal(lseek(text_log.fd, 0, SEEK_SET), 0);
	n = read(text_log.fd, line, sizeof(line) - 1);
	assert_true(n >= 0);
	line[n] = '\0';
	assert_int_equal(ftruncate(text_log.fd, 0), 0);
	assert_int_equal(lseek(text_log.fd, 0, SEEK_SET), 0);
	if (n > 0) {
		assert_true(n <= LOG_LINE_MAX);
		assert_ptr_equal(strchr(line, '\n'), line + n - 1);
		line[n - 1] = '\0';
	}
	return line;
}

/* The text record behind its time stamp, which is checked for its shape. */
static const char *text_rest(void)
{
	const char *s = written();

	assert_true(text_has_prefix(s, "time=20"));
	assert_int_equal(strspn(s + 5, "0123456789-T:.Z"), strlen("2026-08-21T12:39:06.123Z"));
	assert_memory_equal(s + 5 + 23, "Z ", 2);
	return s + 5 + 25;
}

static struct json_object *json_record(void)
{
	struct error err = ERROR_NONE;
	struct json_object *record;
	const char *s = written();

	if (json_parse(s, strlen(s), "record", &record, &err) < 0)
		fail_msg("%s: %s", err.message, s);
	assert_true(text_has_prefix(s, "{\"time\":\"20"));
	return record;
}

static void test_text_record(void **state)
{
	struct error none = ERROR_NONE, err = ERROR_NONE;

	(void)state;
	error_set(&err, -EIO, "it broke");
	log_info(&text_log, "Saved artifact", log_string("artifactName", "o"),
		 log_int("bytes", -12), log_bool("optional", true), log_bool("other", false),
		 log_duration("duration", 61000000000LL));
	assert_string_equal(text_rest(),
			    "level=INFO msg=\"Saved artifact\" artifactName=o bytes=-12 "
			    "optional=true other=false duration=1m1s argo=true");
	log_warn(&text_log, "x", log_error_field(&none));
	assert_string_equal(text_rest(), "level=WARN msg=x error=<nil> argo=true");
	log_error(&text_log, "x", log_error_field(&err));
	assert_string_equal(text_rest(), "level=ERROR msg=x error=\"it broke\" argo=true");
	log_debug(&text_log, "x", log_error_field(NULL));
	assert_string_equal(text_rest(), "level=DEBUG msg=x error=<nil> argo=true");
	log_debug(&text_log, "x", log_string("a", NULL));
	assert_string_equal(text_rest(), "level=DEBUG msg=x a=\"\" argo=true");
}

static void test_text_quoting(void **state)
{
	static const struct {
		const char *value, *shown;
	} cases[] = {
		{ "", "\"\"" },
		{ "plain-1.2/3:4,5", "plain-1.2/3:4,5" },
		{ "a b", "\"a b\"" },
		{ "a=b", "\"a=b\"" },
		{ "a\"b", "\"a\\\"b\"" },
		{ "back\\slash", "back\\slash" },
		{ "back\\ slash", "\"back\\\\ slash\"" },
		{ "a\nb\tc\rd", "\"a\\nb\\tc\\rd\"" },
		{ "\x01\x1f\x7f", "\"\\u0001\\u001f\\u007f\"" },
		{ "\xff!", "\"\xef\xbf\xbd!\"" },
		{ "\xed\xa0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"" },
		{ "\xe2\x82", "\"\xef\xbf\xbd\xef\xbf\xbd\"" },
	};
	char expected[200];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		log_info(&text_log, cases[i].value, log_string("k", cases[i].value));
		snprintf(expected, sizeof(expected), "level=INFO msg=%s k=%s argo=true",
			 cases[i].shown, cases[i].shown);
		assert_string_equal(text_rest(), expected);
	}
	log_info(&text_log, "x", log_string("k", "\xc3\xa4\xf0\x9f\x98\x80"));
	assert_non_null(strstr(text_rest(), "\xc3\xa4\xf0\x9f\x98\x80"));
}

static void test_json_record(void **state)
{
	struct json_object *record;
	struct error err = ERROR_NONE;

	(void)state;
	log_info(&json_log, "Saved artifact", log_string("artifactName", "o"),
		 log_int("bytes", INT64_MIN), log_bool("optional", true),
		 log_duration("duration", 61000000000LL), log_error_field(&err));
	assert_non_null(strstr(written(), "\"level\":\"INFO\",\"msg\":\"Saved artifact\","
					  "\"artifactName\":\"o\",\"bytes\":-9223372036854775808,"
					  "\"optional\":true,\"duration\":61000000000,"
					  "\"error\":null,\"argo\":true}"));
	error_set(&err, -EIO, "a \"quoted\"\nreason");
	log_error(&json_log, "", log_error_field(&err));
	record = json_record();
	assert_string_equal(json_get_string(record, "error", NULL), "a \"quoted\"\nreason");
	assert_string_equal(json_get_string(record, "level", NULL), "ERROR");
	assert_string_equal(json_get_string(record, "msg", NULL), "");
	assert_true(json_get_bool(record, "argo", false));
	json_free(record);
}

static void test_json_keeps_every_character(void **state)
{
	struct json_object *record;
	char value[128];

	(void)state;
	for (unsigned c = 1; c < 128; c++)
		value[c - 1] = (char)c;
	value[127] = '\0';
	log_info(&json_log, value, log_string("k", value));
	record = json_record();
	assert_string_equal(json_get_string(record, "msg", NULL), value);
	assert_string_equal(json_get_string(record, "k", NULL), value);
	json_free(record);
	log_info(&json_log, "\xff", log_string("k", "a\xc3"));
	record = json_record();
	assert_string_equal(json_get_string(record, "msg", NULL), "\xef\xbf\xbd");
	assert_string_equal(json_get_string(record, "k", NULL), "a\xef\xbf\xbd");
	json_free(record);
}

/* Values of every length and of every kind of character, several of them: each record is one whole
 * line with its end. */
static void check_long_values(const char *unit, size_t size)
{
	static char value[20001];

	for (size_t i = 0; i + size < sizeof(value); i += size)
		memcpy(value + i, unit, size + 1);
	for (size_t length = 5900; length <= 20000 / size * size; length += 510 * size) {
		char saved = value[length / size * size];
		struct json_object *record;

		value[length / size * size] = '\0';
		log_info(&text_log, "m", log_string("a", value), log_string("b", value),
			 log_string("c", value), log_int("d", 1));
		assert_true(text_has_suffix(text_rest(), " argo=true"));
		log_info(&json_log, value, log_string("a", value), log_string("b", value),
			 log_string("c", value), log_int("d", 1));
		record = json_record();
		assert_true(json_get_bool(record, "argo", false));
		json_free(record);
		value[length / size * size] = saved;
	}
}

static void test_long_values_leave_a_whole_line(void **state)
{
	(void)state;
	check_long_values("x", 1);
	check_long_values("x ", 2);
	check_long_values("\"", 1);
	check_long_values("\x01", 1);
	check_long_values("\xff", 1);
	check_long_values("\xf0\x9f\x98\x80", 4);
}

static void test_a_cut_value_says_so(void **state)
{
	static char value[7001];
	struct json_object *record;
	const char *shown;

	(void)state;
	memset(value, 'x', sizeof(value) - 1);
	log_info(&json_log, "m", log_string("a", value), log_int("after", 1));
	record = json_record();
	shown = json_get_string(record, "a", "");
	assert_true(strlen(shown) < 7000 && strlen(shown) > 5000);
	assert_true(text_has_suffix(shown, "x\xe2\x80\xa6"));
	assert_int_equal(json_get_int(record, "after", 0), 1);
	json_free(record);
}

static void test_level_filter(void **state)
{
	(void)state;
	for (enum log_level limit = LOG_DEBUG; limit <= LOG_ERROR; limit++) {
		for (enum log_level level = LOG_DEBUG; level <= LOG_ERROR; level++) {
			text_log.level = limit;
			log_at(&text_log, level, "m");
			assert_int_equal(written()[0] != '\0', level >= limit);
		}
	}
	text_log.level = LOG_DEBUG;
}

static void test_levels_and_formats(void **state)
{
	static const struct {
		const char *word;
		int level; /* -1 = refused */
	} cases[] = {
		{ "trace", LOG_DEBUG },  { "debug", LOG_DEBUG }, { "info", LOG_INFO },
		{ "print", LOG_INFO },   { "warn", LOG_WARN },   { "warning", LOG_WARN },
		{ "error", LOG_ERROR },  { "fatal", LOG_ERROR }, { "panic", LOG_ERROR },
		{ "WaRnInG", LOG_WARN }, { "INFO", LOG_INFO },   { "", -1 },
		{ "inf", -1 },           { "info ", -1 },        { "0", -1 },
	};
	bool is_json = false;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		enum log_level level = LOG_DEBUG;
		int r = log_parse_level(cases[i].word, &level);

		assert_int_equal(r, cases[i].level < 0 ? -EINVAL : 0);
		assert_int_equal(level, cases[i].level < 0 ? LOG_DEBUG : cases[i].level);
	}
	assert_int_equal(log_parse_format("JSON", &is_json), 0);
	assert_true(is_json);
	assert_int_equal(log_parse_format("xml", &is_json), -EINVAL);
	assert_int_equal(log_parse_format("", &is_json), -EINVAL);
	assert_true(is_json);
	assert_int_equal(log_parse_format("Text", &is_json), 0);
	assert_false(is_json);
}

/* A log that cannot be written to is no reason to fail. */
static void test_closed_log(void **state)
{
	const struct log nowhere = { .fd = -1 };

	(void)state;
	log_error(&nowhere, "m");
	assert_string_equal(written(), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text_record),
		cmocka_unit_test(test_text_quoting),
		cmocka_unit_test(test_json_record),
		cmocka_unit_test(test_json_keeps_every_character),
		cmocka_unit_test(test_long_values_leave_a_whole_line),
		cmocka_unit_test(test_a_cut_value_says_so),
		cmocka_unit_test(test_level_filter),
		cmocka_unit_test(test_levels_and_formats),
		cmocka_unit_test(test_closed_log),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
