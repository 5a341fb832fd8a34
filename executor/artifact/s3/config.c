#include "executor/artifact/s3/config.h"

#include "executor/artifact/object/field.h"
#include "executor/artifact/object/url.h"
#include "executor/artifact/secret.h"
#include "executor/base/cleanup.h"
#include "executor/base/text.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BUCKET_MIN 3
#define BUCKET_MAX 63

void s3_config_done(struct s3_config *config)
{
	free(config->host);
	free(config->bucket);
	free(config->key);
	free(config->region);
	secret_free(config->ca_pem, config->ca_pem_size);
	free(config->role_arn);
	object_keys_done(&config->keys);
	s3_sse_done(&config->sse);
	*config = (struct s3_config){ 0 };
}

/* Only host and port are asked for; a scheme in front is what users write by habit, and whether
 * TLS is used is said by `insecure` alone. */
static int clean_endpoint(struct s3_config *config, struct error *err)
{
	const char *default_port = config->is_insecure ? ":80" : ":443";

	if (*config->host == '\0')
		return error_set(err, -EINVAL, "endpoint: is required (host or host:port)");
	field_trim_endpoint(config->host);
	if (strchr(config->host, '/'))
		return error_set(err, -EINVAL,
				 "endpoint '%s': Endpoint url cannot have fully qualified paths.",
				 config->host);
	if (!field_is_host(config->host))
		return error_set(
			err, -EINVAL,
			"endpoint '%s' does not follow ip address or domain name standards.",
			config->host);
	if (text_has_suffix(config->host, default_port))
		config->host[strlen(config->host) - strlen(default_port)] = '\0';
	return 0;
}

/* The rules of "Bucket naming rules" in the S3 user guide, with the older, wider alphabet, which
 * other servers still accept. */
static int check_bucket(const char *bucket, struct error *err)
{
	size_t size = strlen(bucket);
	struct in_addr address;

	if (size == 0)
		return error_set(err, -EINVAL, "bucket: is required");
	if (size < BUCKET_MIN || size > BUCKET_MAX)
		return error_set(err, -EINVAL, "bucket '%s': must have %d to %d characters", bucket,
				 BUCKET_MIN, BUCKET_MAX);
	for (size_t i = 0; i < size; i++) {
		bool is_inner = i > 0 && i < size - 1;

		if (!isalnum((unsigned char)bucket[i]) && !(is_inner && strchr(".-_:", bucket[i])))
			return error_set(err, -EINVAL, "bucket '%s': contains invalid characters",
					 bucket);
	}
	if (strstr(bucket, "..") || strstr(bucket, ".-") || strstr(bucket, "-."))
		return error_set(err, -EINVAL, "bucket '%s': contains invalid characters", bucket);
	if (inet_pton(AF_INET, bucket, &address) == 1)
		return error_set(err, -EINVAL, "bucket '%s': must not be an ip address", bucket);
	return 0;
}

static int read_keys(struct s3_config *config, struct json_object *location,
		     const struct store_context *context, struct error *err)
{
	struct object_keys *to = &config->keys;
	int r = object_keys_read(to, location, context, err);

	if (r == 0)
		r = secret_read(context, location, "sessionTokenSecret", true, &to->token, NULL,
				err);
	if (r < 0)
		return r;
	if (to->token && *to->token == '\0')
		secret_free_string(TAKE_PTR(to->token));
	if (field_has_control(to->access_key) || field_has_control(to->token))
		return error_set(
			err, -EINVAL,
			"accessKeySecret or sessionTokenSecret contains control characters");
	return 0;
}

static int find_keys(struct s3_config *config, struct json_object *location,
		     const struct store_context *context, struct error *err)
{
	bool want_sdk, has_access_key, has_secret_key;
	int r = field_copy(location, "roleARN", &config->role_arn, err);

	if (r == 0)
		r = field_bool(location, "useSDKCreds", &want_sdk, err);
	if (r == 0)
		r = read_keys(config, location, context, err);
	if (r < 0)
		return r;
	has_access_key = config->keys.access_key && *config->keys.access_key;
	has_secret_key = config->keys.secret_key && *config->keys.secret_key;
	if (has_access_key && has_secret_key)
		return 0;
	if (has_access_key != has_secret_key)
		return error_set(err, -EINVAL,
				 "accessKeySecret and secretKeySecret belong together: one of them "
				 "is missing or empty");
	object_keys_done(&config->keys);
	config->keys_from = *config->role_arn || want_sdk ? S3_KEYS_SDK : S3_KEYS_IAM;
	return 0;
}

static int read_ca(struct s3_config *config, struct json_object *location,
		   const struct store_context *context, struct error *err)
{
	int r = secret_read(context, location, "caSecret", false, &config->ca_pem,
			    &config->ca_pem_size, err);

	if (r < 0 || !config->ca_pem)
		return r;
	if (!memmem(config->ca_pem, config->ca_pem_size, "-----BEGIN CERTIFICATE-----", 27) &&
	    !memmem(config->ca_pem, config->ca_pem_size, "-----BEGIN TRUSTED CERTIFICATE-----", 35))
		return error_set(err, -EINVAL, "caSecret contains no certificate");
	return 0;
}

static int parse_options(struct s3_config *config, struct json_object *location, struct error *err)
{
	struct json_object *bucket = json_get(location, "createBucketIfNotPresent");
	const char *style = json_get_string(location, "addressingStyle", "");
	int r;

	if (strcmp(style, "path") == 0)
		config->addressing = S3_ADDRESSING_PATH;
	else if (strcmp(style, "virtual-hosted") == 0)
		config->addressing = S3_ADDRESSING_VIRTUAL;
	config->want_bucket = bucket != NULL;
	r = field_bool(bucket, "objectLocking", &config->want_object_locking, err);
	if (r < 0)
		return error_prefix(err, r, "createBucketIfNotPresent");
	return 0;
}

static int parse(struct s3_config *config, struct json_object *location,
		 const struct store_context *context, struct error *err)
{
	int r = field_bool(location, "insecure", &config->is_insecure, err);

	if (r == 0)
		r = field_copy(location, "endpoint", &config->host, err);
	if (r == 0)
		r = clean_endpoint(config, err);
	if (r == 0)
		r = field_copy(location, "bucket", &config->bucket, err);
	if (r == 0)
		r = check_bucket(config->bucket, err);
	if (r == 0)
		r = field_key(location, &config->key, err);
	if (r == 0)
		r = field_copy(location, "region", &config->region, err);
	if (r == 0)
		r = parse_options(config, location, err);
	if (r == 0)
		r = find_keys(config, location, context, err);
	if (r == 0)
		r = s3_sse_parse(&config->sse, json_get(location, "encryptionOptions"),
				 config->is_insecure, context, err);
	if (r == 0 && !config->is_insecure)
		r = read_ca(config, location, context, err);
	return r;
}

int s3_config_parse(struct s3_config *config, struct json_object *location,
		    const struct store_context *context, struct error *err)
{
	int r;

	*config = (struct s3_config){ 0 };
	if (!json_is_object(location))
		return error_set(err, -EINVAL, "s3: expected an object, found %s",
				 json_kind_name(location));
	r = parse(config, location, context, err);
	if (r < 0) {
		s3_config_done(config);
		return error_prefix(err, r, "s3");
	}
	return 0;
}
