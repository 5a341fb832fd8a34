#include "executor/kube/status.h"

#include "executor/base/text.h"
#include "executor/http/retry.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* A text, where it counts, and what it means. */
struct rule {
	int http; /* 0 = any */
	enum error_class class;
	const char *reason; /* NULL = any */
	const char *text; /* part of the message; NULL = any */
};

/* Looked at from top to bottom; the first match decides. */
static const struct rule rules[] = {
	/* What it will say again of the same request. */
	{ 500, ERROR_PERMANENT, NULL, "etcdserver: request is too large" },
	{ 501, ERROR_PERMANENT, NULL, NULL },
	{ 505, ERROR_PERMANENT, NULL, NULL },
	/* A quota counts again when something else has ended. */
	{ 403, ERROR_TRANSIENT, NULL, "exceeded quota" },
	{ 409, ERROR_TRANSIENT, NULL, "Operation cannot be fulfilled on resourcequota" },
	{ 429, ERROR_THROTTLED, NULL, NULL },
	{ 0, ERROR_THROTTLED, "TooManyRequests", NULL },
	{ 0, ERROR_TRANSIENT, "ServerTimeout", NULL },
	{ 0, ERROR_TRANSIENT, "Timeout", NULL },
	{ 0, ERROR_TRANSIENT, "ServiceUnavailable", NULL },
	{ 408, ERROR_TRANSIENT, NULL, NULL },
	{ 0, ERROR_TRANSIENT, NULL, "etcdserver: leader changed" },
	{ 0, ERROR_TRANSIENT, NULL, "etcdserver: request timed out" },
	{ 0, ERROR_TRANSIENT, NULL, "etcdserver: too many requests" },
	/* A race inside database drivers below kine, the etcd of small clusters. */
	{ 0, ERROR_TRANSIENT, NULL, "upper: no more rows in this result set" },
	{ 404, ERROR_NOT_FOUND, NULL, NULL },
};

enum error_class kube_status_class(int http, const char *reason, const char *message)
{
	for (size_t i = 0; i < sizeof(rules) / sizeof(*rules); i++) {
		const struct rule *rule = &rules[i];

		if ((!rule->http || rule->http == http) &&
		    (!rule->reason || !strcmp(rule->reason, reason)) &&
		    (!rule->text || strstr(message, rule->text)))
			return rule->class;
	}
	/* Its own trouble, or that of what it asks: databases, webhooks, aggregated servers. */
	return http >= 500 ? ERROR_TRANSIENT : ERROR_PERMANENT;
}

static int code_of(int http, enum error_class class)
{
	if (class == ERROR_THROTTLED)
		return -EBUSY;
	if (http >= 500)
		return -EIO;
	switch (http) {
	case 401:
	case 403:
		return -EACCES;
	case 404:
		return -ENOENT;
	case 409:
		return -EEXIST;
	default:
		return -EINVAL;
	}
}

/* A message for one line: whatever would end or garble it becomes a blank. */
static void make_line(char *s)
{
	size_t size = strlen(s);

	for (size_t i = 0; i < size; i++)
		if ((unsigned char)s[i] < 0x20 || s[i] == 0x7f)
			s[i] = ' ';
	while (size > 0 && s[size - 1] == ' ')
		s[--size] = '\0';
}

static bool is_json_type(const char *content_type)
{
	return !*content_type || !strncasecmp(content_type, "application/json", 16) ||
	       strcasestr(content_type, "+json");
}

static int64_t longer_pause(int64_t pause_ms, int64_t seconds)
{
	if (seconds < 0 || seconds > INT32_MAX)
		return pause_ms;
	return seconds * 1000 > pause_ms ? seconds * 1000 : pause_ms;
}

/* For an answer without words of its own: what came instead, as far as it is worth reading. */
static void describe(char message[ERROR_MESSAGE_MAX], const char *method, const char *url, int http,
		     const char *detail)
{
	snprintf(message, ERROR_MESSAGE_MAX, "%s %s: HTTP status %d%s%.300s", method, url, http,
		 *detail ? ": " : "", detail);
}

static int decode_refusal(const char *method, const char *url, const struct http_response *response,
			  struct kube_status *status, struct error *err)
{
	_cleanup_json_ struct json_object *object = NULL;
	const char *text = NULL;
	char message[ERROR_MESSAGE_MAX];
	enum error_class class;

	if (response->body.size > 0 &&
	    json_parse(response->body.data, response->body.size, "answer", &object, NULL) == 0 &&
	    !strcmp(json_get_string(object, "kind", ""), "Status")) {
		text = json_get_string(object, "message", NULL);
		snprintf(status->reason, sizeof(status->reason), "%s",
			 json_get_string(object, "reason", ""));
		text_trim_partial_utf8(status->reason);
		make_line(status->reason);
		status->retry_after_ms = longer_pause(status->retry_after_ms,
						      json_get_int(json_get(object, "details"),
								   "retryAfterSeconds", -1));
	}
	if (text && *text)
		snprintf(message, sizeof(message), "%s", text);
	else
		describe(message, method, url, response->status,
			 object ? status->reason : buffer_string(&response->body));
	text_trim_partial_utf8(message);
	make_line(message);
	class = kube_status_class(response->status, status->reason, message);
	status->is_outcome_unknown = response->status >= 500;
	return error_set_class(err, code_of(response->status, class), class, "%s", message);
}

static int decode_success(const char *method, const char *url, const struct http_response *response,
			  struct kube_status *status, struct json_object **ret_object,
			  struct error *err)
{
	char type[128] = "";
	char what[512];
	int r;

	http_response_header(response, "content-type", type, sizeof(type));
	snprintf(what, sizeof(what), "%s %s: answer", method, url);
	if (ret_object)
		*ret_object = NULL;
	if (response->is_body_cut)
		return error_set(err, -EMSGSIZE, "%s: longer than %zu bytes", what,
				 response->body.size);
	if (!is_json_type(type)) {
		make_line(type);
		return error_set(err, -EPROTO,
				 "%s is %s, not JSON: is that a Kubernetes API server?", what,
				 type);
	}
	if (response->body.size == 0 || !ret_object)
		return 0;
	r = json_parse(response->body.data, response->body.size, what, ret_object, err);
	if (r == 0)
		return 0;
	/* Somebody between here and there ends bodies early: the request itself went through. */
	status->is_outcome_unknown = true;
	if (err)
		err->class = ERROR_TRANSIENT, err->code = -EBADMSG;
	return -EBADMSG;
}

int kube_status_decode(const char *method, const char *url, const struct http_response *response,
		       struct kube_status *status, struct json_object **ret_object,
		       struct error *err)
{
	char value[512];

	*status = (struct kube_status){ .http = response->status,
					.retry_after_ms = retry_after_of(response) };
	if (response->status >= 200 && response->status < 300)
		return decode_success(method, url, response, status, ret_object, err);
	if (response->status < 400) {
		if (!http_response_header(response, "location", value, sizeof(value)))
			snprintf(value, sizeof(value), "nowhere");
		make_line(value);
		return error_set(err, -EPROTO,
				 "%s %s: redirected (%d) to %s; name that server instead, "
				 "credentials are not sent on",
				 method, url, response->status, value);
	}
	return decode_refusal(method, url, response, status, err);
}
