#include "executor/http/retry.h"

#include "executor/base/clock.h"
#include "executor/base/text.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

/* Least nominal pause once the rounds are used up and only the outage is waited for. */
#define RETRY_OUTAGE_PAUSE_MS 1000

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

/* The pause after the round that has just ended, before jitter. */
static double nominal_pause(const struct retry *retry)
{
	const struct retry_policy *policy = retry->policy;
	double pause = (double)policy->first_pause_ms;

	for (unsigned i = 1; i < retry->round && policy->factor > 1 && pause < RETRY_PAUSE_MAX_MS;
	     i++)
		pause *= policy->factor;
	pause *= 1 + policy->jitter;
	return pause < RETRY_PAUSE_MAX_MS ? pause : RETRY_PAUSE_MAX_MS;
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

/* Ends the round: the nominal pause before the next one, or -1 if it was the last. */
static double end_round(struct retry *retry, enum error_class class, int64_t now_ms)
{
	const struct retry_policy *policy = retry->policy;
	int64_t left_ms = policy->min_total_ms - (now_ms - retry->failed_ms);
	bool is_outage = class == ERROR_TRANSIENT || class == ERROR_THROTTLED;
	double pause;

	retry->round++;
	retry->attempts_in_round = 0;
	pause = nominal_pause(retry);
	if (policy->rounds == RETRY_ENDLESS || retry->round < policy->rounds)
		return pause;
	if (!is_outage || left_ms <= 0)
		return -1;
	if (pause < RETRY_OUTAGE_PAUSE_MS)
		pause = RETRY_OUTAGE_PAUSE_MS;
	return pause < (double)left_ms ? pause : (double)left_ms;
}

int64_t retry_decide(struct retry *retry, enum error_class class, int64_t now_ms, double random)
{
	int64_t least_ms = retry->retry_after_ms < RETRY_AFTER_MAX_MS ? retry->retry_after_ms :
									RETRY_AFTER_MAX_MS;
	struct error probe = { .class = class };
	int64_t pause_ms;
	double nominal;

	if (retry->attempts == 0)
		retry->failed_ms = now_ms;
	retry->retry_after_ms = 0;
	retry->attempts++;
	retry->attempts_in_round++;
	retry->count[class]++;
	if (!error_is_retryable(&probe))
		return -1;
	if (retry->attempts_in_round < RETRY_ATTEMPTS_PER_ROUND && class != ERROR_THROTTLED)
		nominal = quick_pause(retry, class);
	else
		nominal = end_round(retry, class, now_ms);
	if (nominal < 0)
		return -1;
	pause_ms = (int64_t)(random * nominal);
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

	if (retry->attempts < 2)
		return;
	error_append(err, " (%u attempts in %s", retry->attempts,
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

int64_t retry_next(struct retry *retry, struct error *err)
{
	enum error_class class = err->class;
	int64_t now_ms = clock_now_ms();
	int64_t pause_ms;

	if (class != ERROR_CANCELLED &&
	    transient_pattern_matches(retry->policy->transient, err->message))
		class = ERROR_TRANSIENT;
	pause_ms = retry_decide(retry, class, now_ms, draw());
	if (event_loop_is_cancelled(retry->loop))
		pause_ms = -1;
	if (retry->log)
		log_debug(retry->log, "Attempt failed", log_string("operation", retry->operation),
			  log_int("attempt", retry->attempts),
			  log_string("class", error_class_name(class)),
			  log_int("pauseMs", pause_ms), log_error_field(err));
	if (pause_ms < 0)
		append_counts(retry, now_ms, err);
	else if (retry->policy->on_retry)
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
