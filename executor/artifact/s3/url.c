#include "executor/artifact/s3/url.h"

#include "executor/base/text.h"

#include <errno.h>
#include <string.h>

/* --- Amazon's host names ------------------------------------------------------------------ */

static const char *const amazon_suffixes[] = { ".amazonaws.com", ".amazonaws.com.cn",
					       ".vpce.amazonaws.com", ".vpce.amazonaws.com.cn" };

/* The bare host without its port, if it is Amazon's: *ret_size is the length before the suffix,
 * *ret_suffix the suffix (the longest that fits). */
static bool amazon_host(const char *host, size_t *ret_size, const char **ret_suffix)
{
	size_t size = strcspn(host, ":");

	*ret_suffix = NULL;
	for (size_t i = 0; i < sizeof(amazon_suffixes) / sizeof(amazon_suffixes[0]); i++) {
		size_t length = strlen(amazon_suffixes[i]);

		if (size > length &&
		    memcmp(host + size - length, amazon_suffixes[i], length) == 0) {
			*ret_size = size - length;
			*ret_suffix = amazon_suffixes[i];
		}
	}
	return *ret_suffix != NULL;
}

static bool is_private_link(const char *suffix)
{
	return text_has_prefix(suffix, ".vpce");
}

/* What may stand before the region, longest first. */
static const char *const service_prefixes[] = {
	"s3-fips.dualstack.", "s3.dualstack.", "s3-fips.", "s3-fips-",
	"s3express-control.", "s3.",           "s3-",
};

bool s3_url_host_region(const char *host, char region[OBJECT_REGION_MAX])
{
	char name[OBJECT_HOST_MAX];
	const char *suffix, *rest;
	size_t size;

	if (!amazon_host(host, &size, &suffix) || size >= sizeof(name))
		return false;
	memcpy(name, host, size);
	name[size] = '\0';
	if (is_private_link(suffix)) {
		rest = strstr(name, ".s3.");
		if (!rest || !strstr(name, "vpce-"))
			return false;
		rest += 4;
	} else if (strstr(name, ".s3-outposts.")) {
		rest = strstr(name, ".s3-outposts.") + 13;
	} else if (text_has_prefix(name, "s3express-") && strchr(name, '.')) {
		rest = strchr(name, '.') + 1;
	} else {
		size_t i = 0, count = sizeof(service_prefixes) / sizeof(service_prefixes[0]);

		while (i < count && !text_has_prefix(name, service_prefixes[i]))
			i++;
		if (i == count || text_has_prefix(name, "s3-external-") ||
		    text_has_prefix(name, "s3-accelerate"))
			return false;
		rest = name + strlen(service_prefixes[i]);
	}
	if (!object_url_is_region(rest))
		return false;
	memcpy(region, rest, strlen(rest) + 1);
	return true;
}

bool s3_url_is_amazon(const char *host)
{
	char region[OBJECT_REGION_MAX];
	const char *suffix;
	size_t size;

	if (!amazon_host(host, &size, &suffix))
		return false;
	return (size == 2 && memcmp(host, "s3", 2) == 0) ||
	       text_has_prefix(host, "s3-external-1.") || s3_url_host_region(host, region);
}

/* Amazon's regional endpoint with IPv6 instead of the one that was configured, so that the answer
 * is not a redirect. Endpoints for a purpose stay as they are. */
static int append_host(struct buffer *out, const char *host, const char *region)
{
	const char *suffix;
	size_t size;

	if (!s3_url_is_amazon(host) || !amazon_host(host, &size, &suffix) ||
	    is_private_link(suffix) || *region == '\0' || strchr(host, ':') ||
	    memmem(host, size, "fips", 4) || memmem(host, size, "outposts", 8) ||
	    memmem(host, size, "s3express", 9))
		return buffer_append_string(out, host);
	return buffer_append_format(out, "s3%s.%s%s", strstr(region, "-iso") ? "" : ".dualstack",
				    region, suffix);
}

/* --- style, path, query --------------------------------------------------------------------- */

static bool is_virtual(const struct s3_target *target)
{
	const struct s3_config *config = target->config;
	char bare[OBJECT_HOST_MAX];
	size_t size = strcspn(config->host, ":");

	if (target->want_path_style || config->addressing == S3_ADDRESSING_PATH)
		return false;
	if (config->addressing == S3_ADDRESSING_VIRTUAL)
		return true;
	/* Amazon's wildcard certificate covers one label only. */
	if ((!config->is_insecure && strchr(config->bucket, '.')) || size >= sizeof(bare))
		return false;
	memcpy(bare, config->host, size);
	bare[size] = '\0';
	return s3_url_is_amazon(bare) || strcmp(bare, "storage.googleapis.com") == 0 ||
	       text_has_suffix(bare, ".aliyuncs.com");
}

int s3_url_build(struct object_url *url, const struct s3_target *target)
{
	const struct s3_config *config = target->config;
	bool is_bucket_in_host = is_virtual(target);
	int r = 0;

	object_url_init(url);
	if (is_bucket_in_host)
		r = buffer_append_format(&url->host, "%s.", config->bucket);
	if (r == 0)
		r = append_host(&url->host, config->host, target->region);
	if (r == 0)
		r = buffer_append_string(&url->path, "/");
	if (r == 0 && !is_bucket_in_host) {
		r = object_url_encode(&url->path, config->bucket, false);
		if (r == 0)
			r = buffer_append_string(&url->path, "/");
	}
	if (r == 0 && target->key)
		r = object_url_encode(&url->path, target->key, true);
	if (r == 0)
		r = object_url_append_query(&url->query, target->query, false);
	if (r == 0)
		r = object_url_join(url, config->is_insecure);
	return r < 0 ? -ENOMEM : 0;
}
