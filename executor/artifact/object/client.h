/*
 * One bucket of an object store as a client sees it: sends requests, judges answers, tries again.
 * The operations (get, list, upload, …) stand on these calls and nothing else talks to the server.
 * What differs between Amazon S3 and Alibaba Cloud OSS, whose requests and documents are otherwise
 * alike, is in a struct object_protocol.
 */
#pragma once

#include "executor/artifact/object/url.h"
#include "executor/artifact/object/xml.h"
#include "executor/artifact/store.h"
#include "executor/http/retry.h"

#include <stdint.h>

struct crc64_table;
struct object_call;
struct object_client;
struct object_failure;
struct object_request;
struct object_sums;

struct object_protocol {
	const char *type; /* "s3" */
	/* Before the first request of an operation: finds out what requests need (region,
	 * credentials). May send requests of its own and wait. */
	int (*make_ready)(struct object_client *client, struct error *err);
	/* Returns when there are keys that are valid now. NULL = they never change. */
	int (*wait_for_keys)(struct object_client *client, struct error *err);
	/* Before the first request that stores something, once per client and before make_ready,
	 * which may need what it creates. May send and wait. */
	int (*prepare_put)(struct object_client *client, struct error *err);
	/* Addresses, dates and signs the call; never waits. */
	int (*prepare)(struct object_client *client, const struct object_call *call,
		       struct object_request *request, struct error *err);
	/* The class of an answer that is a failure, after correcting what it shows to be wrong
	 * (region, clock, credentials). `retry` may be NULL. */
	enum error_class (*judge)(struct object_client *client, const struct object_call *call,
				  const struct http_response *response, const struct retry *retry,
				  const struct object_failure *failure);
	/* Appends to the message what helps to understand that failure. NULL = nothing. */
	void (*explain)(const struct object_client *client, const struct object_call *call,
			const struct http_response *response, const struct object_failure *failure,
			struct error *err);
	/* Tells `retry` how the provider's Go client puts the failure (retry_note_text). */
	void (*put_as_go)(const struct http_response *response,
			  const struct object_failure *failure, struct retry *retry);
	/* Directories have markers: empty objects whose keys end in a slash. They are listed. */
	bool has_markers;
	bool has_batch; /* POST ?delete removes many objects at once */
	/* What an answer without a document says of its failure (HEAD has no body); NULL = nothing. */
	void (*read_failure)(const struct http_response *response, struct object_xml_error *error);
	/* The answers' header with the CRC-64 of the object or part, in decimal. NULL = none. */
	const char *checksum_header;
	const char *xml_namespace; /* of documents that are sent; NULL = none */
	/* What users set for uploads of files, see put_file.h. NULL = nothing. */
	const char *part_size_variable, *threads_variable;
};

struct object_client {
	const struct object_protocol *protocol;
	struct store_context context; /* with a cache */
	struct store_cache *own_cache; /* where the process has none */
	struct retry_policy policy;
	struct transient_pattern *transient; /* the policy's */
	const char *bucket, *key; /* the configuration's */
	int64_t clock_offset_s; /* server's clock minus ours, once it has complained */
	bool is_accepted; /* some request was: its signature is good */
	bool is_put_ready; /* prepare_put has succeeded */
	bool is_list_v1; /* the server knows only the first version of listing */
	bool is_batch_refused; /* the server deletes one object at a time */
	bool has_few_parts; /* it takes no more than OBJECT_PARTS_FEW of an upload */
	bool is_blind; /* it does not let us look whether an object is there */
	bool is_free; /* nobody is in make_ready or prepare_put */
	struct crc64_table *crc; /* NULL = the protocol has no checksums */
	unsigned checksum_failures;
};

/* `bucket` and `key` are borrowed. -EINVAL for environment variables that cannot be used. */
int object_client_init(struct object_client *client, const struct object_protocol *protocol,
		       const struct store_context *context, struct error *err);
void object_client_done(struct object_client *client);

/* The protocol's make_ready, with for_put after its prepare_put: whatever is not known yet is found
 * out once, however many operations begin together. */
int object_client_make_ready(struct object_client *client, bool for_put, struct error *err);

/* How a call failed, for those who act on particular codes. */
struct object_failure {
	int status; /* 0 = no answer came */
	unsigned attempts; /* after a success: those that failed before */
	struct object_xml_error error;
};

/* One request, before it is addressed, dated and signed. Strings and body are borrowed. */
struct object_call {
	const char *operation; /* for messages: "put object" */
	const char *method;
	const char *key; /* NULL = the bucket itself */
	const struct object_query *query; /* NULL, or ends with name NULL */
	struct http_body body;
	/* For the body's checksums, computed before each attempt; NULL = nobody needs them. */
	struct object_sums *sums;
	bool is_object; /* the body is object data: over https it need not be hashed */
	const char *content_type; /* NULL = none */
	const char *range; /* value of a Range header */
	const char *if_match;
	size_t body_max; /* of the answer; 0 = the HTTP client's default */
	bool is_service; /* about all buckets */
	bool is_best_effort; /* one attempt */
	bool want_path_style;
	bool want_default_region; /* signed for us-east-1 and sent to the endpoint as it is, for
				   * questions that come before the region is known */
	bool want_object_lock; /* bucket creation */
	bool want_md5; /* the body's, as the operation demands it */
	/* If given, looks at a 2xx before it counts as success; fails like object_check(). */
	int (*judge)(const struct object_call *call, const struct http_response *response,
		     struct object_failure *failure, struct error *err);
	void *context; /* of judge */
};

/* An addressed and signed call; the HTTP request points into it. */
#define OBJECT_HEADER_LINES 48
struct object_request {
	struct object_url url;
	char *lines[OBJECT_HEADER_LINES];
	size_t line_count;
	struct http_request http;
};

/* Adds "name: value" to the lines; nothing if value is NULL. 0 or a negative errno. */
int object_request_add(struct object_request *request, const char *name, const char *value);
/* Begins the history of a call; `call` must outlive it, also as the request's attempts. */
void object_retry_begin(const struct object_client *client, const struct object_call *call,
			struct retry *retry);

/* Makes request->http of the call, the URL and the lines. */
void object_request_finish(struct object_request *request, const struct object_call *call);
void object_request_done(struct object_request *request);

/* 0 for a 2xx that call->judge accepts; else err is filled, retry->retry_after_ms set as the server
 * asks (retry may be NULL), and the client corrected if that is what the answer calls for.
 * `failure` may be NULL. */
int object_check(struct object_client *client, const struct object_call *call,
		 const struct http_response *response, struct retry *retry,
		 struct object_failure *failure, struct error *err);

/* The time in a header (RFC 9110, 5.6.7, as it is to be written), in seconds since 1970. False without. */
bool object_date_of(const struct http_response *response, const char *name, int64_t *ret_s);

/* True if the server's clock explains the refusal; then *offset_s leads from ours to it. */
bool object_follow_clock(int64_t *offset_s, const struct http_response *response);
/* The same for the clock of a client. */
bool object_correct_clock(struct object_client *client, const struct http_response *response);
/* Whether a cause of failure is out of the way. Requests that were under way together complain one
 * after the other: the first has the cause corrected, the others find it so and may try again once
 * too. */
bool object_is_corrected(bool is_changed, const struct retry *retry, enum error_class class);

/* "<operation> <bucket>/<key>" for messages and the retry record; returns buffer. */
#define OBJECT_OPERATION_MAX (OBJECT_KEY_BYTES_MAX + 160)
const char *object_describe(const struct object_client *client, const struct object_call *call,
			    char buffer[OBJECT_OPERATION_MAX]);

/* Sends it and waits, with retries, until a 2xx (0) or a final failure. `failure` may be NULL. Free
 * *response with http_response_done in either case. */
int object_perform(struct object_client *client, const struct object_call *call,
		   struct http_response *response, struct object_failure *failure,
		   struct error *err);
