#include "executor/http/transient.h"

#include "executor/base/cleanup.h"

#include <errno.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#define STEPS_MAX 1000000
#define DEPTH_MAX 1000
#define HEAP_KIB_MAX 1024

struct transient_pattern {
	pcre2_code *code;
	pcre2_match_context *limits;
	pcre2_match_data *match;
};

void transient_pattern_free(struct transient_pattern *pattern)
{
	if (!pattern)
		return;
	pcre2_match_data_free(pattern->match);
	pcre2_match_context_free(pattern->limits);
	pcre2_code_free(pattern->code);
	free(pattern);
}

int transient_pattern_new(const char *text, struct transient_pattern **ret, struct error *err)
{
	/* Go's syntax: UTF-8, `$` is the very end, no single code units. */
	uint32_t options = PCRE2_UTF | PCRE2_MATCH_INVALID_UTF | PCRE2_DOLLAR_ENDONLY |
			   PCRE2_NEVER_BACKSLASH_C;
	_cleanup_(transient_pattern_freep) struct transient_pattern *pattern = NULL;
	PCRE2_UCHAR reason[128];
	PCRE2_SIZE offset;
	int fault;

	if (!*text) {
		*ret = NULL;
		return 0;
	}
	pattern = calloc(1, sizeof(*pattern));
	if (!pattern)
		return error_errno(err, -ENOMEM, "TRANSIENT_ERROR_PATTERN");
	pattern->code = pcre2_compile((PCRE2_SPTR)text, PCRE2_ZERO_TERMINATED, options, &fault,
				      &offset, NULL);
	if (!pattern->code) {
		pcre2_get_error_message(fault, reason, sizeof(reason));
		return error_set(
			err, -EINVAL,
			"TRANSIENT_ERROR_PATTERN is not a regular expression: %s (at byte %zu)",
			(const char *)reason, (size_t)offset);
	}
	pattern->limits = pcre2_match_context_create(NULL);
	pattern->match = pcre2_match_data_create(1, NULL);
	if (!pattern->limits || !pattern->match)
		return error_errno(err, -ENOMEM, "TRANSIENT_ERROR_PATTERN");
	pcre2_set_match_limit(pattern->limits, STEPS_MAX);
	pcre2_set_depth_limit(pattern->limits, DEPTH_MAX);
	pcre2_set_heap_limit(pattern->limits, HEAP_KIB_MAX);
	*ret = TAKE_PTR(pattern);
	return 0;
}

int transient_pattern_from_environment(struct transient_pattern **ret, struct error *err)
{
	const char *text = getenv("TRANSIENT_ERROR_PATTERN");

	return transient_pattern_new(text ? text : "", ret, err);
}

bool transient_pattern_matches(const struct transient_pattern *pattern, const char *text)
{
	return pattern && pcre2_match(pattern->code, (PCRE2_SPTR)text, strlen(text), 0, 0,
				      pattern->match, pattern->limits) >= 0;
}
