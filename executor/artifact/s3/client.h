/*
 * One S3 bucket as a client sees it: builds and signs requests, judges answers, tries again. The
 * operations (get, list, upload, …) stand on these calls and nothing else talks to the server.
 */
#pragma once

#include "executor/artifact/s3/config.h"
#include "executor/artifact/s3/url.h"
#include "executor/artifact/s3/xml.h"
#include "executor/artifact/store.h"
#include "executor/http/retry.h"

#include <stdint.h>

struct s3_client {
	struct store_context context;
	struct s3_config config;
	struct retry_policy policy;
	char region[S3_REGION_MAX]; /* "" until it is known; corrected by the server's answers */
	int64_t clock_offset_s; /* server's clock minus ours, once it has complained */
};

/* How a call failed, for those who act on particular codes. */
struct s3_failure {
	int status; /* 0 = no answer came */
	unsigned attempts;
	struct s3_xml_error error;
};

/* One request, before it is addressed, dated and signed. Strings and body are borrowed. */
struct s3_call {
	const char *operation; /* for messages: "put object" */
	const char *method;
	const char *key; /* NULL = the bucket itself */
	const struct s3_query *query; /* NULL, or ends with name NULL */
	struct http_body body;
	bool is_object; /* the body is object data: over https it need not be hashed */
	const char *content_type; /* NULL = none */
	const char *range; /* value of a Range header */
	const char *if_match;
	size_t body_max; /* of the answer; 0 = the HTTP client's default */
	bool want_path_style;
	bool want_default_region; /* signed for us-east-1 and sent to the endpoint as it is, for
				   * questions that come before the region is known */
	bool want_object_lock; /* bucket creation */
	/* If given, looks at a 2xx before it counts as success; fails like s3_check(). */
	int (*judge)(const struct s3_call *call, const struct http_response *response,
		     struct s3_failure *failure, struct error *err);
	void *context; /* of judge */
};

/* An addressed and signed call; the HTTP request points into it. */
#define S3_HEADER_LINES 12
struct s3_request {
	struct s3_url url;
	char *lines[S3_HEADER_LINES];
	size_t line_count;
	struct http_request http;
};

/* Takes the region from location or endpoint, if they name one and it is not known yet. */
int s3_client_take_region(struct s3_client *client, struct error *err);
/* The same, then asks the server. */
int s3_client_find_region(struct s3_client *client, struct error *err);

/* Signs for this moment, so call it again for every attempt. Reads the body once for its hash
 * where TLS does not protect it. Free with s3_request_done in either case. */
int s3_request_prepare(struct s3_client *client, const struct s3_call *call,
		       struct s3_request *request, struct error *err);
void s3_request_done(struct s3_request *request);

/* 0 for a 2xx that call->judge accepts; else err is filled, retry->retry_after_ms set as the server asks (retry may be
 * NULL), and region or clock corrected if that is what the answer calls for. `failure` may be
 * NULL. */
int s3_check(struct s3_client *client, const struct s3_call *call,
	     const struct http_response *response, struct retry *retry, struct s3_failure *failure,
	     struct error *err);

/* "<operation> <bucket>/<key>" for messages and the retry record; returns buffer. */
#define S3_OPERATION_MAX (S3_KEY_BYTES_MAX + 160)
const char *s3_describe(const struct s3_client *client, const struct s3_call *call,
			char buffer[S3_OPERATION_MAX]);

/* Sends it and waits, with retries, until a 2xx (0) or a final failure. `failure` may be NULL. Free
 * *response with http_response_done in either case. */
int s3_perform(struct s3_client *client, const struct s3_call *call, struct http_response *response,
	       struct s3_failure *failure, struct error *err);
