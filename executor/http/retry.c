#include "executor/http/retry.h"

#include "executor/base/clock.h"
#include "executor/base/text.h"
#include "executor/http/http.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

/* Least nominal pause once the rounds are used up and only the outage is waited for, and how it
 * grows: whatever a policy says, a minute shall not see hundreds of attempts. */
#define RETRY_OUTAGE_PAUSE_MS 1000
#define RETRY_OUTAGE_FACTOR 1.6
/* Unless the policy's own pauses are longer: the end of an outage shall be seen soon. */
#define RETRY_OUTAGE_PAUSE_MAX_MS 12000

static int invalid(struct error *err, const char *name, const char *value, const char *wanted)
{
	return error_set(err, -EINVAL, "%s: %s is not %s", name, value, wanted);
}

static int read_number(const char *name, double low, double *number, struct error *err)
{
	const char *value = getenv(name);
	char *end;

	if (!value || !*value)
		return 0;
	*number = strtod(value, &end);
	if (*end || end == value || !isfinite(*number) || *number < low)
		return invalid(err, name, value,
			       low > 0 ? "a number of at least 1" : "a number ≥ 0");
	return 0;
}

static int read_steps(const char *name, unsigned *ret, struct error *err)
{
	const char *value = getenv(name);
	int64_t steps;

	if (!value || !*value)
		return 0;
	if (text_parse_int64(value, &steps) < 0 || steps < 1 || steps > INT32_MAX)
		return invalid(err, name, value, "a whole number of at least 1");
	*ret = (unsigned)steps;
	return 0;
}

static int read_duration(const char *name, int64_t *ret_ms, struct error *err)
{
	const char *value = getenv(name);
	int64_t ns;

	if (!value || !*value)
		return 0;
	if (clock_parse_duration(value, &ns) < 0 || ns < 0)
		return invalid(err, name, value, "a duration such as 1s");
	*ret_ms = ns / 1000000;
	return 0;
}

int retry_policy_from_environment(struct retry_policy *ret, struct error *err)
{
	struct retry_policy policy = {
		.rounds = 5,
		.first_pause_ms = 1000,
		.factor = 1.6,
		.jitter = 0.5,
		.min_total_ms = RETRY_MIN_TOTAL_MS,
	};
	int r = read_steps("EXECUTOR_RETRY_BACKOFF_STEPS", &policy.rounds, err);

	if (r == 0)
		r = read_duration("EXECUTOR_RETRY_BACKOFF_DURATION", &policy.first_pause_ms, err);
	if (r == 0)
		r = read_number("EXECUTOR_RETRY_BACKOFF_FACTOR", 1, &policy.factor, err);
	if (r == 0)
		r = read_number("EXECUTOR_RETRY_BACKOFF_JITTER", 0, &policy.jitter, err);
	if (r == 0)
		*ret = policy;
	return r;
}

void retry_begin(struct retry *retry, const struct retry_policy *policy, struct event_loop *loop,
		 const struct log *log, const char *operation)
{
	*retry = (struct retry){
		.policy = policy,
		.loop = loop,
		.log = log,
		.operation = operation,
		.started_ms = clock_now_ms(),
	};
}

void retry_note_text(struct retry *retry, const char *format, ...)
{
	char text[RETRY_TEXT_MAX];
	va_list arguments;

	if (!retry || !retry->policy->transient)
		return;
	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	retry->is_matched = transient_pattern_matches(retry->policy->transient, text);
}

void retry_progress(struct retry *retry)
{
	retry->attempts = retry->round = retry->attempts_in_round = 0;
	retry->failed_ms = 0;
	retry->started_ms = clock_now_ms();
	memset(retry->count, 0, sizeof(retry->count));
}

static double capped_power(double first, double factor, unsigned n)
{
	while (n-- > 0 && factor > 1 && first < RETRY_PAUSE_MAX_MS)
		first *= factor;
	return first < RETRY_PAUSE_MAX_MS ? first : RETRY_PAUSE_MAX_MS;
}

/* The pause after round `round` (from 1 on), before full jitter. */
static double nominal_pause(const struct retry_policy *policy, unsigned round)
{
	double pause = capped_power((double)policy->first_pause_ms, policy->factor, round - 1) *
		       (1 + policy->jitter);

	return pause < RETRY_PAUSE_MAX_MS ? pause : RETRY_PAUSE_MAX_MS;
}

int64_t retry_patience_ms(const struct retry_policy *policy)
{
	double total = 0;

	if (policy->rounds == RETRY_ENDLESS)
		return 0;
	for (unsigned round = 1; round < policy->rounds; round++) {
		double pause = nominal_pause(policy, round);

		if (policy->factor <= 1 || pause >= RETRY_PAUSE_MAX_MS) {
			total += pause * (policy->rounds - round);
			break;
		}
		total += pause;
	}
	return total > (double)policy->min_total_ms ? (int64_t)total : policy->min_total_ms;
}

static double quick_pause(const struct retry *retry, enum error_class class)
{
	double pause = RETRY_QUICK_PAUSE_MS << (retry->attempts_in_round - 1);
	double limit = (double)retry->policy->first_pause_ms;
	bool is_cured = class == ERROR_EXPIRED_CREDENTIALS || class == ERROR_WRONG_REGION ||
			class == ERROR_CLOCK_SKEW;

	/* The caller has fetched what was missing; waiting would not help. */
	if (is_cured && retry->count[class] == 1)
		return 0;
	return pause < limit ? pause : limit;
}

/* Milliseconds of the outage for which it is worth to go on, its rounds being used up; ≤ 0 = none. */
static int64_t overtime(const struct retry *retry, int64_t now_ms)
{
	return retry->policy->min_total_ms - (now_ms - retry->failed_ms);
}

/* Ends the round: the nominal pause before the next one. */
static double end_round(struct retry *retry, bool is_overtime)
{
	const struct retry_policy *policy = retry->policy;
	double pause, outage, limit = RETRY_OUTAGE_PAUSE_MAX_MS;

	retry->round++;
	retry->attempts_in_round = 0;
	pause = nominal_pause(policy, retry->round);
	if (!is_overtime)
		return pause;
	outage = capped_power(RETRY_OUTAGE_PAUSE_MS, RETRY_OUTAGE_FACTOR,
			      retry->round - policy->rounds);
	if (policy->rounds > 1 && nominal_pause(policy, policy->rounds - 1) > limit)
		limit = nominal_pause(policy, policy->rounds - 1);
	pause = pause > outage ? pause : outage;
	return pause < limit ? pause : limit;
}

static bool is_outage(enum error_class class)
{
	return class == ERROR_TRANSIENT || class == ERROR_THROTTLED;
}

/* Within a round another attempt follows quickly. */
static bool is_quick(const struct retry *retry, enum error_class class)
{
	return retry->attempts_in_round < RETRY_ATTEMPTS_PER_ROUND && class != ERROR_THROTTLED &&
	       (retry->round == 0 || class != ERROR_TRANSIENT);
}

static void count_attempt(struct retry *retry, enum error_class class, int64_t now_ms)
{
	if (retry->failed_ms == 0)
		retry->failed_ms = now_ms;
	retry->attempts++;
	retry->attempts_in_round++;
	retry->count[class]++;
}

int64_t retry_decide(struct retry *retry, enum error_class class, int64_t now_ms, double random)
{
	int64_t least_ms = retry->retry_after_ms < RETRY_AFTER_MAX_MS ? retry->retry_after_ms :
									RETRY_AFTER_MAX_MS;
	struct error probe = { .class = class };
	int64_t pause_ms, left_ms;
	bool is_overtime;
	double nominal;

	retry->retry_after_ms = 0;
	if (retry->is_exhausted)
		return -1;
	count_attempt(retry, class, now_ms);
	if (!error_is_retryable(&probe))
		return -1;
	left_ms = overtime(retry, now_ms);
	is_overtime = retry->policy->rounds != RETRY_ENDLESS &&
		      retry->round + 1 >= retry->policy->rounds && !is_quick(retry, class);
	if (is_overtime && (!is_outage(class) || left_ms <= 0))
		return -1;
	nominal = is_quick(retry, class) ? quick_pause(retry, class) :
					   end_round(retry, is_overtime);
	pause_ms = (int64_t)(random * nominal);
	/* The last look is when the time is up. */
	if (is_overtime && pause_ms > left_ms)
		pause_ms = left_ms;
	if (pause_ms < least_ms)
		pause_ms = least_ms;
	if (retry->deadline_ms && now_ms + pause_ms > retry->deadline_ms)
		return -1;
	return pause_ms;
}

/* Uniform in [0, 1). */
static double draw(void)
{
	uint64_t bits = 0;

	if (getrandom(&bits, sizeof(bits), GRND_NONBLOCK) != sizeof(bits))
		bits = (uint64_t)clock_now_ms() * 0x9e3779b97f4a7c15ULL;
	return (double)(bits >> 11) * 0x1p-53;
}

static void append_counts(const struct retry *retry, int64_t now_ms, struct error *err)
{
	char duration[CLOCK_DURATION_MAX];
	const char *separator = ": ";

	if (retry->attempts < (retry->is_exhausted ? 1 : 2)) {
		if (retry->policy->tells_class)
			error_tell_class(err);
		return;
	}
	error_append(err, " (%u attempt%s in %s", retry->attempts, retry->attempts > 1 ? "s" : "",
		     clock_format_duration((now_ms - retry->started_ms) * 1000000, duration));
	for (enum error_class class = 0; class < ERROR_CLASS_COUNT; class ++) {
		if (retry->count[class] == 0)
			continue;
		error_append(err, "%s%u %s", separator, retry->count[class],
			     error_class_name(class));
		separator = ", ";
	}
	error_append(err, ")");
}

static size_t add_text(struct log_field *fields, size_t n, const char *name, const char *text)
{
	if (text && *text)
		fields[n++] = log_string(name, text);
	return n;
}

/* Users see that something is wrong and where, but not each of a thousand. */
static void record(struct retry *retry, enum error_class class, int64_t pause_ms, int64_t now_ms,
		   const struct error *err)
{
	struct log_field fields[11] = { log_string("operation", retry->operation) };
	unsigned hidden = 0;
	bool is_shown = pause_ms >= 0 && retry->attempts % RETRY_SHOWN_EVERY == 1 &&
			http_gate_may_show(retry, now_ms, &hidden);
	size_t n = 1;

	if (!retry->log)
		return;
	n = add_text(fields, n, "bucket", retry->bucket);
	n = add_text(fields, n, "key", retry->key);
	fields[n++] = log_int("attempt", retry->attempts);
	fields[n++] = log_string("class", error_class_name(class));
	n = add_text(fields, n, "code", retry->code);
	n = add_text(fields, n, "requestId", retry->request_id);
	if (pause_ms >= 0)
		fields[n++] = log_int("pauseMs", pause_ms);
	if (hidden > 0)
		fields[n++] = log_int("notShown", hidden);
	fields[n++] = log_error_field(err);
	fields[n].name = NULL;
	log_write(retry->log, is_shown ? LOG_INFO : LOG_DEBUG,
		  pause_ms >= 0 ? "Attempt failed, another one follows" : "Attempt failed", fields);
}

int64_t retry_next(struct retry *retry, struct error *err)
{
	enum error_class class = err->class;
	int64_t now_ms = clock_now_ms();
	int64_t pause_ms;

	http_gate_report(retry, err, retry->retry_after_ms, now_ms, draw());
	if (class != ERROR_CANCELLED &&
	    (retry->is_matched ||
	     transient_pattern_matches(retry->policy->transient, err->message)))
		class = ERROR_TRANSIENT;
	retry->is_matched = false;
	pause_ms = retry_decide(retry, class, now_ms, draw());
	if (event_loop_is_cancelled(retry->loop))
		pause_ms = -1;
	record(retry, class, pause_ms, now_ms, err);
	retry->code[0] = retry->request_id[0] = '\0';
	if (pause_ms < 0) {
		append_counts(retry, now_ms, err);
		return pause_ms;
	}
	http_gate_count_retry(retry, class);
	if (retry->policy->on_retry)
		retry->policy->on_retry(retry->policy->context);
	return pause_ms;
}

bool retry_again(struct retry *retry, struct error *err)
{
	int64_t pause_ms = retry_next(retry, err);

	if (pause_ms < 0)
		return false;
	if (event_loop_pause(retry->loop, pause_ms) == 0)
		return true;
	append_counts(retry, clock_now_ms(), err);
	return false;
}

int64_t retry_after_of(const struct http_response *response)
{
	static const char *const finer[] = { "retry-after-ms", "x-ms-retry-after-ms" };
	char header[64];
	int64_t ms;

	for (size_t i = 0; i < sizeof(finer) / sizeof(*finer); i++)
		if (http_response_header(response, finer[i], header, sizeof(header)) &&
		    text_parse_int64(header, &ms) == 0 && ms >= 0)
			return ms;
	if (http_response_header(response, "retry-after", header, sizeof(header)))
		return retry_parse_after(header);
	return -1;
}

int64_t retry_parse_after(const char *value)
{
	/* RFC 9110, 5.6.7: the format of today and the two that must still be understood. */
	static const char *const formats[] = {
		"%a, %d %b %Y %H:%M:%S GMT",
		"%A, %d-%b-%y %H:%M:%S GMT",
		"%a %b %e %H:%M:%S %Y",
	};
	int64_t seconds;

	if (*value && value[strspn(value, "0123456789")] == '\0') {
		if (text_parse_int64(value, &seconds) < 0 || seconds > INT64_MAX / 1000)
			return INT64_MAX;
		return seconds * 1000;
	}
	for (size_t i = 0; i < sizeof(formats) / sizeof(*formats); i++) {
		struct tm tm = { 0 };
		const char *end = strptime(value, formats[i], &tm);

		if (!end || *end)
			continue;
		seconds = (int64_t)timegm(&tm) - (int64_t)time(NULL);
		return seconds > 0 ? seconds * 1000 : 0;
	}
	return -1;
}
