/* Time: monotonic milliseconds for waiting, Go durations and RFC 3339 for the pod protocol. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <time.h>

/* Milliseconds on CLOCK_MONOTONIC. */
int64_t clock_now_ms(void);

/* A duration as Go writes it ("1m0s", "10ms", "1.5h", "-3s", "0"): sum of number+unit pairs with
 * units ns us µs ms s m h. Result in nanoseconds; -EINVAL, -ERANGE.
 * Source: https://pkg.go.dev/time#ParseDuration */
int clock_parse_duration(const char *s, int64_t *ret_ns);

/* Go's rendering of a duration ("1m0s", "1.5s", "250ms", "0s"); returns buffer. */
#define CLOCK_DURATION_MAX 64
const char *clock_format_duration(int64_t ns, char buffer[CLOCK_DURATION_MAX]);

/* RFC 3339 with optional fraction and any offset, e.g. 2026-08-21T12:39:06Z. *ret_s is seconds
 * since 1970 and may be negative ("0001-01-01T00:00:00Z" is Go's zero time). As in Go, a leap
 * second (":60") is refused. -EINVAL. */
int clock_parse_rfc3339(const char *s, int64_t *ret_s);

/* Go's zero time, 0001-01-01T00:00:00Z, in seconds since 1970: "no deadline". */
#define CLOCK_ZERO_TIME_S (-62135596800LL)

/* 2026-08-21T12:39:06.123Z (digits = 3), without a fraction (digits = 0), or with up to nine decimals and
 * trailing zeros cut (digits = 9); returns buffer. */
#define CLOCK_RFC3339_MAX 40
const char *clock_format_rfc3339(const struct timespec *t, int digits,
				 char buffer[CLOCK_RFC3339_MAX]);
