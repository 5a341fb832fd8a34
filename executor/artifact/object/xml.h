/*
 * The XML documents of S3 and OSS that we read (API references, "Response elements" of each
 * operation); they have the same names.
 * Whatever a server sends is untrusted: no document type declarations (hence no entities), at most
 * OBJECT_XML_DEPTH_MAX levels and OBJECT_XML_TEXT_MAX bytes in one element.
 */
#pragma once

#include "executor/artifact/object/keys.h"
#include "executor/artifact/object/url.h"
#include "executor/artifact/store.h"
#include "executor/base/buffer.h"
#include "executor/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OBJECT_XML_DEPTH_MAX 16
/* A key has 1024 bytes, each of them three when encoded; upload ids and tokens are shorter. */
#define OBJECT_XML_TEXT_MAX 8192

#define OBJECT_CODE_MAX 64
#define OBJECT_TEXT_MAX 512

/* Error. Printable text only, cut to the size of the field; "" for what was not there. */
struct object_xml_error {
	char code[OBJECT_CODE_MAX];
	char message[OBJECT_TEXT_MAX];
	char region[OBJECT_REGION_MAX];
	/* OSS */
	char request_id[OBJECT_CODE_MAX];
	char ec[OBJECT_CODE_MAX]; /* the cause, finer than the code */
	char endpoint[OBJECT_TEXT_MAX]; /* where the bucket is, if not here */
};
/* False if the bytes are no Error document. */
bool object_xml_parse_error(const char *data, size_t size, struct object_xml_error *ret);

/* ListBucketResult, one page. */
struct object_xml_list {
	struct object_xml_entry {
		char *key; /* decoded */
		int64_t size;
	} * entries;
	size_t count;
	size_t capacity;
	bool is_truncated;
	char *next_token; /* NULL = none */
	/* The answer is one of ListObjects (version 1), also if version 2 was asked for. */
	bool is_v1;
	char *next_marker; /* decoded; NULL = none: the last key is it */
};
int object_xml_parse_list(const char *data, size_t size, struct object_xml_list *ret,
			  struct error *err);
void object_xml_list_done(struct object_xml_list *list);

/* The keys of the Errors of a DeleteResult; sizes are -1. */
int object_xml_parse_deleted(const char *data, size_t size, struct object_xml_list *ret,
			     struct error *err);

/* The Credentials of an answer of STS. */
int object_xml_parse_keys(const char *data, size_t size, struct object_keys *ret,
			  struct error *err);

/* InitiateMultipartUploadResult/UploadId; the caller frees it. */
int object_xml_parse_upload(const char *data, size_t size, char **ret_id, struct error *err);

/* ListMultipartUploadsResult: the first upload of `key` (or, if so wanted, of one below "<key>/") that was
 * begun between these times (seconds since 1970) and is not `other` (may be NULL). *ret is released by
 * object_xml_upload_done(); its id is NULL if there is none. */
struct object_xml_wanted {
	const char *key, *other;
	bool is_below_too;
	int64_t from_s, to_s;
};
struct object_xml_upload {
	char *key, *id;
};
int object_xml_find_upload(const char *data, size_t size, const struct object_xml_wanted *wanted,
			   struct object_xml_upload *ret, struct error *err);
void object_xml_upload_done(struct object_xml_upload *upload);
#define _cleanup_upload_ _cleanup_(object_xml_upload_done)

/* CompleteMultipartUploadResult; its ETag, as it is in headers, says that the object is there. One
 * that does not fit becomes "". */
int object_xml_parse_complete(const char *data, size_t size, char etag[STORE_ETAG_MAX],
			      struct error *err);

/* Appends text as the content of an element. 0 or a negative errno. */
int object_xml_escape(struct buffer *out, const char *s);
