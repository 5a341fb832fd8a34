/*
 * What users want every object to carry, by environment: ARGOEXEC_S3_TAGGING, ARGOEXEC_S3_METADATA
 * ("name=value,name=value"; %XX is a byte) and ARGOEXEC_S3_CONTENT_TYPE. Source: Amazon S3 user guide,
 * "Categorizing your objects using tags", "Working with object metadata".
 */
#pragma once

#include "executor/base/error.h"

#include <stddef.h>

#define S3_TAGS_MAX 10
#define S3_METADATA_MAX 16
#define S3_METADATA_BYTES_MAX 2048
/* "x-amz-meta-" and a name. */
#define S3_METADATA_NAME_MAX 128

struct s3_labels {
	char *tagging; /* as the header has it; NULL = none */
	char *content_type; /* instead of the one that a name suggests; NULL = none */
	struct s3_metadata {
		char name[S3_METADATA_NAME_MAX]; /* lower case, with the prefix */
		char *value;
	} metadata[S3_METADATA_MAX];
	size_t metadata_count;
};

/* -EINVAL with the variable's name for one that cannot be sent. Free with s3_labels_done in either case. */
int s3_labels_from_environment(struct s3_labels *labels, struct error *err);
void s3_labels_done(struct s3_labels *labels);
