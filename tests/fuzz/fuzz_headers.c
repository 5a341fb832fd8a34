/*
 * Headers of answers, line by line as they come, and what is read out of them: lengths, ETags, pauses, the
 * server's clock. The first line is a time, which is put into a header as well. Required: names in lower
 * case, one line each, a value within its buffer, numbers within their ranges, a date that is understood.
 */
#include "executor/artifact/object/client.h"
#include "executor/base/cleanup.h"
#include "executor/http/http_internal.h"
#include "executor/http/retry.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/targets.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* 9999-12-31T23:59:59Z: later years have more digits. */
#define TIME_MAX_S 253402300799
/* Servers' clocks are not followed for less. */
#define TOLERANCE_S 65

static bool feed(struct http_transfer *transfer, struct fuzz_input line)
{
	_cleanup_buffer_ struct buffer copy = BUFFER_INIT(HTTP_HEADER_BYTES_MAX * 2);

	/* libcurl refuses them itself. */
	if (memchr(line.data, '\0', line.size))
		return true;
	fuzz_require(buffer_append(&copy, line.data, line.size) == 0);
	fuzz_require(buffer_append(&copy, "\r\n", 2) == 0);
	return http_payload_on_header(copy.data, 1, copy.size, transfer) == copy.size;
}

static void check_lines(const struct buffer *lines)
{
	const char *text = buffer_string(lines);

	while (*text) {
		const char *end = strchr(text, '\n');
		const char *colon = strstr(text, ": ");

		fuzz_require(end && colon && colon < end);
		for (const char *p = text; p < colon; p++)
			fuzz_require(*p < 'A' || *p > 'Z');
		text = end + 1;
	}
}

static void check_values(const struct http_response *response)
{
	static const char *const names[] = {
		"etag", "content-range", "content-length", "retry-after", "date", "location", "",
	};
	char large[HTTP_HEADER_BYTES_MAX + 1], small[8];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const char *value = http_response_header(response, names[i], large, sizeof(large));
		const char *start = http_response_header(response, names[i], small, sizeof(small));

		fuzz_require(!value == !start);
		fuzz_require(!value || (!strchr(value, '\n') &&
					strncmp(start, value, sizeof(small) - 1) == 0));
		http_response_trailer(response, names[i], small, sizeof(small));
	}
	fuzz_require(response->content_length >= -1 && response->status >= 0);
}

static int64_t distance(int64_t a, int64_t b)
{
	return a > b ? a - b : b - a;
}

/* The forms of RFC 9110, 5.6.7; the last one only with years that two digits tell. */
enum form { FORM_TODAY, FORM_ASCTIME, FORM_LONG, FORM_COUNT };

static void write_date(enum form form, const struct tm *tm, char *date, size_t size)
{
	char day[32];

	if (form == FORM_TODAY) {
		fuzz_require(strftime(date, size, "%a, %d %b %Y %H:%M:%S GMT", tm) > 0);
	} else if (form == FORM_ASCTIME) {
		fuzz_require(strftime(date, size, "%a %b %e %H:%M:%S %Y", tm) > 0);
	} else {
		fuzz_require(strftime(day, sizeof(day), "%A, %d-%b", tm) > 0);
		snprintf(date, size, "%s-%02d %02d:%02d:%02d GMT", day, tm->tm_year % 100,
			 tm->tm_hour, tm->tm_min, tm->tm_sec);
	}
}

static void check_date(int64_t time_s)
{
	struct http_response response = { .headers = BUFFER_INIT(256) };
	time_t t = (time_t)time_s;
	struct tm tm;
	char date[64];
	int64_t now_s = (int64_t)time(NULL), offset_s = 0, ms;

	fuzz_require(gmtime_r(&t, &tm));
	for (enum form form = FORM_TODAY; form < FORM_COUNT; form++) {
		if (form == FORM_LONG && tm.tm_year >= 169)
			continue;
		write_date(form, &tm, date, sizeof(date));
		ms = retry_parse_after(date);
		fuzz_require(ms >= 0 && ms % 1000 == 0);
		fuzz_require(time_s < now_s ? ms == 0 : distance(ms / 1000, time_s - now_s) <= 5);
	}
	write_date(FORM_TODAY, &tm, date, sizeof(date));
	fuzz_require(buffer_append_format(&response.headers, "date: %s\n", date) == 0);
	if (object_follow_clock(&offset_s, &response))
		fuzz_require(distance(offset_s, time_s - now_s) <= 5);
	else
		fuzz_require(distance(time_s, now_s) < TOLERANCE_S);
	http_response_done(&response);
}

void fuzz_headers(const char *data, size_t size)
{
	struct fuzz_input input = { data, size };
	struct fuzz_input first = fuzz_take_until(&input, '\n');
	_cleanup_free_ char *number = fuzz_text(first.data, first.size);
	struct http_transfer transfer = {
		.request = { .method = "GET", .url = "https://h/x" },
		.response = { .headers = BUFFER_INIT(HTTP_HEADER_BYTES_MAX),
			      .trailers = BUFFER_INIT(HTTP_HEADER_BYTES_MAX),
			      .content_length = -1 },
	};
	int64_t offset_s = 0;

	check_date((int64_t)(strtoull(number, NULL, 10) % (TIME_MAX_S + 1)));
	while (input.size > 0)
		if (!feed(&transfer, fuzz_take_until(&input, '\n'))) {
			fuzz_check_error(transfer.error.code, &transfer.error);
			break;
		}
	check_lines(&transfer.response.headers);
	check_lines(&transfer.response.trailers);
	check_values(&transfer.response);
	fuzz_require(retry_after_of(&transfer.response) >= -1);
	object_follow_clock(&offset_s, &transfer.response);
	http_response_done(&transfer.response);
}
