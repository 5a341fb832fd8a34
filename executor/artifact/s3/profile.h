/*
 * The files that AWS's tools share: ~/.aws/config and ~/.aws/credentials. Source: AWS SDKs and Tools
 * reference guide, "Using shared config and credentials files".
 */
#pragma once

#include "executor/artifact/store.h"
#include "executor/base/buffer.h"

#include <stdbool.h>

struct s3_profiles {
	struct buffer config, credentials; /* "" = there is no such file */
};

/* Reads the files of AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE, else those in the home directory;
 * either may be missing. Free with s3_profiles_done in either case. */
int s3_profiles_read(struct s3_profiles *profiles, const struct store_context *context,
		     struct error *err);
/* Zeroes them first. */
void s3_profiles_done(struct s3_profiles *profiles);

/* Whether one of the files knows that profile. */
bool s3_profiles_have(const struct s3_profiles *profiles, const char *profile);
/* A setting of a profile, the credentials file's first; "" if there is none. One that does not fit counts
 * as none. */
#define S3_PROFILE_VALUE_MAX 4096
const char *s3_profiles_get(const struct s3_profiles *profiles, const char *profile,
			    const char *name, char value[S3_PROFILE_VALUE_MAX]);
