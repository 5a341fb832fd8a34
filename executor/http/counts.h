/*
 * What the requests to stores came to, as plain data without pointers: it can be copied, sent to
 * another process and shown there. One kind of store ("s3") has one line, one endpoint another.
 */
#pragma once

#include "executor/base/error.h"
#include "executor/http/gate.h"

#include <stdint.h>

/* Kinds of stores, and endpoints, beyond these are not told. */
#define HTTP_COUNTS_STORES_MAX 8
#define HTTP_COUNTS_ENDPOINTS_MAX 16
#define HTTP_STORE_NAME_MAX 16
#define HTTP_ENDPOINT_MAX 160

struct http_store_counts {
	char store[HTTP_STORE_NAME_MAX];
	uint64_t requests; /* given to the network */
	uint64_t sent_bytes, received_bytes; /* bodies, those of failed attempts too */
	uint64_t failures[ERROR_CLASS_COUNT]; /* attempts that failed */
	uint64_t retries[ERROR_CLASS_COUNT]; /* of those: another attempt follows */
};

struct http_endpoint_counts {
	char endpoint[HTTP_ENDPOINT_MAX]; /* "https://host:port" */
	enum gate_state state;
	double limit; /* requests at a time; only while slowed */
	unsigned running, waiting; /* requests: started; held back */
	uint64_t slowed, failed; /* how often it came to that */
};

struct http_counts {
	struct http_store_counts stores[HTTP_COUNTS_STORES_MAX];
	struct http_endpoint_counts endpoints[HTTP_COUNTS_ENDPOINTS_MAX];
	unsigned store_count, endpoint_count;
};
