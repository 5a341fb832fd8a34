/*
 * The XML documents of S3 that we read (API reference, "Response Elements" of each operation).
 * Whatever a server sends is untrusted: no document type declarations (hence no entities), at most
 * S3_XML_DEPTH_MAX levels and S3_XML_TEXT_MAX bytes in one element.
 */
#pragma once

#include "executor/artifact/s3/url.h"
#include "executor/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define S3_XML_DEPTH_MAX 16
/* A key has 1024 bytes, each of them three when encoded; upload ids and tokens are shorter. */
#define S3_XML_TEXT_MAX 8192

#define S3_CODE_MAX 64
#define S3_TEXT_MAX 512

/* Error. Printable text only, cut to the size of the field; "" for what was not there. */
struct s3_xml_error {
	char code[S3_CODE_MAX];
	char message[S3_TEXT_MAX];
	char region[S3_REGION_MAX];
};
/* False if the bytes are no Error document. */
bool s3_xml_parse_error(const char *data, size_t size, struct s3_xml_error *ret);

/* ListBucketResult of ListObjectsV2, one page. */
struct s3_xml_list {
	struct s3_xml_entry {
		char *key; /* decoded */
		int64_t size;
	} * entries;
	size_t count;
	size_t capacity;
	bool is_truncated;
	char *next_token; /* NULL = none */
};
int s3_xml_parse_list(const char *data, size_t size, struct s3_xml_list *ret, struct error *err);
void s3_xml_list_done(struct s3_xml_list *list);

/* InitiateMultipartUploadResult/UploadId; the caller frees it. */
int s3_xml_parse_upload(const char *data, size_t size, char **ret_id, struct error *err);

/* CompleteMultipartUploadResult; its ETag says that the object is there. */
int s3_xml_parse_complete(const char *data, size_t size, struct error *err);

/* LocationConstraint, translated to a region: "" is us-east-1, "EU" is eu-west-1. */
int s3_xml_parse_location(const char *data, size_t size, char region[S3_REGION_MAX],
			  struct error *err);
