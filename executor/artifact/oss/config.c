#include "executor/artifact/oss/config.h"

#include "executor/artifact/object/field.h"
#include "executor/artifact/oss/url.h"
#include "executor/base/text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "Bucket naming conventions" of the OSS user guide. */
#define BUCKET_MIN 3
#define BUCKET_MAX 63

void oss_config_done(struct oss_config *config)
{
	free(config->host);
	free(config->bucket);
	free(config->key);
	object_keys_done(&config->keys);
	*config = (struct oss_config){ 0 };
}

/* Without a scheme it is http: endpoints of a private network are written so. */
static int clean_endpoint(struct oss_config *config, struct error *err)
{
	if (*config->host == '\0')
		return error_set(err, -EINVAL,
				 "endpoint: is required (host or host:port, or a URL of them)");
	config->is_http = field_trim_endpoint(config->host) != 's';
	if (!field_is_host(config->host))
		return error_set(err, -EINVAL, "endpoint '%s': is no host name or address",
				 config->host);
	config->is_address = oss_url_is_address(config->host);
	return 0;
}

static int check_bucket(const char *bucket, struct error *err)
{
	size_t size = strlen(bucket);

	if (size == 0)
		return error_set(err, -EINVAL, "bucket: is required");
	if (size < BUCKET_MIN || size > BUCKET_MAX)
		return error_set(err, -EINVAL, "bucket '%s': must have %d to %d characters", bucket,
				 BUCKET_MIN, BUCKET_MAX);
	if (strspn(bucket, "abcdefghijklmnopqrstuvwxyz0123456789-") != size || bucket[0] == '-' ||
	    bucket[size - 1] == '-')
		return error_set(err, -EINVAL,
				 "bucket '%s': has only lower-case letters, digits and, inside, "
				 "hyphens",
				 bucket);
	return 0;
}

static int find_region(struct oss_config *config, struct error *err)
{
	const char *name = getenv("OSS_REGION");

	config->is_region_named = oss_url_host_region(config->host, config->region);
	if (config->is_region_named || !name || *name == '\0')
		return 0;
	if (text_has_prefix(name, "oss-"))
		name += 4;
	if (!object_url_is_region(name))
		return error_set(err, -EINVAL, "OSS_REGION: '%s' is not a region name", name);
	snprintf(config->region, sizeof(config->region), "%s", name);
	return 0;
}

static int read_credentials(struct oss_config *config, struct json_object *location,
			    const struct store_context *context, struct error *err)
{
	struct object_keys *to = &config->keys;
	int r = object_keys_read(to, location, context, err);

	if (r == 0)
		r = field_copy(location, "securityToken", &to->token, err);
	if (r < 0)
		return r;
	if (*to->token == '\0') {
		free(to->token);
		to->token = NULL;
	}
	if (to->access_key && *to->access_key && to->secret_key && *to->secret_key)
		return object_keys_check(to, NULL) == 0 ?
			       0 :
			       error_set(err, -EINVAL,
					 "the access key or the security token contains control "
					 "characters");
	return error_set(err, -EINVAL,
			 "no credentials: accessKeySecret and secretKeySecret, or useSDKCreds, are "
			 "required");
}

static int read_days(struct json_object *rule, const char *field, int64_t *ret, struct error *err)
{
	struct json_object *value = json_get(rule, field);

	if (value && !json_is_number(value))
		return error_set(err, -EINVAL, "%s: expected a number, found %s", field,
				 json_kind_name(value));
	*ret = json_get_int(rule, field, 0);
	if (*ret < 0 || *ret > INT32_MAX)
		return error_set(err, -EINVAL, "%s: %" PRIi64 " is no number of days", field, *ret);
	return 0;
}

static int parse_lifecycle(struct oss_config *config, struct json_object *location,
			   struct error *err)
{
	struct json_object *rule = json_get(location, "lifecycleRule");
	int r;

	if (rule && !json_is_object(rule))
		return error_set(err, -EINVAL, "lifecycleRule: expected an object, found %s",
				 json_kind_name(rule));
	r = read_days(rule, "markInfrequentAccessAfterDays", &config->access_days, err);
	if (r == 0)
		r = read_days(rule, "markDeletionAfterDays", &config->deletion_days, err);
	if (r == 0 && config->deletion_days > 0 && config->access_days > config->deletion_days)
		r = error_set(err, -EINVAL,
			      "markInfrequentAccessAfterDays cannot be large than "
			      "markDeletionAfterDays");
	return r < 0 ? error_prefix(err, r, "lifecycleRule") : 0;
}

static int parse(struct oss_config *config, struct json_object *location,
		 const struct store_context *context, struct error *err)
{
	int r = field_copy(location, "endpoint", &config->host, err);

	if (r == 0)
		r = clean_endpoint(config, err);
	if (r == 0)
		r = find_region(config, err);
	if (r == 0)
		r = field_copy(location, "bucket", &config->bucket, err);
	if (r == 0)
		r = check_bucket(config->bucket, err);
	if (r == 0)
		r = field_key(location, &config->key, err);
	if (r == 0)
		r = field_bool(location, "createBucketIfNotPresent", &config->want_bucket, err);
	if (r == 0)
		r = parse_lifecycle(config, location, err);
	if (r == 0)
		r = field_bool(location, "useSDKCreds", &config->want_chain, err);
	if (r == 0 && !config->want_chain)
		r = read_credentials(config, location, context, err);
	return r;
}

int oss_config_parse(struct oss_config *config, struct json_object *location,
		     const struct store_context *context, struct error *err)
{
	int r;

	*config = (struct oss_config){ 0 };
	if (!json_is_object(location))
		return error_set(err, -EINVAL, "oss: expected an object, found %s",
				 json_kind_name(location));
	r = parse(config, location, context, err);
	if (r < 0) {
		oss_config_done(config);
		return error_prefix(err, r, "oss");
	}
	return 0;
}
