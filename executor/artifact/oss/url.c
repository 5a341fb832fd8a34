#include "executor/artifact/oss/url.h"

#include "executor/base/text.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

bool oss_url_is_address(const char *host)
{
	char bare[INET_ADDRSTRLEN];
	size_t size = strcspn(host, ":");
	struct in_addr address;

	if (*host == '[')
		return true;
	if (size >= sizeof(bare))
		return false;
	memcpy(bare, host, size);
	bare[size] = '\0';
	return inet_pton(AF_INET, bare, &address) == 1;
}

bool oss_url_host_region(const char *host, char region[OBJECT_REGION_MAX])
{
	char name[OBJECT_HOST_MAX];
	size_t size = strcspn(host, ":");
	char *end;

	if (size >= sizeof(name))
		return false;
	memcpy(name, host, size);
	name[size] = '\0';
	end = strstr(name, ".aliyuncs.com");
	if (!end || end[13] != '\0')
		return false;
	*end = '\0';
	if (text_has_suffix(name, ".oss")) {
		/* Both IPv4 and IPv6: <region>.oss.aliyuncs.com */
		name[strlen(name) - 4] = '\0';
		memmove(name + 4, name, strlen(name) + 1);
		memcpy(name, "oss-", 4);
	}
	if (!text_has_prefix(name, "oss-") || text_has_prefix(name, "oss-accelerate"))
		return false;
	if (text_has_suffix(name, "-internal"))
		name[strlen(name) - 9] = '\0';
	if (!object_url_is_region(name + 4))
		return false;
	memcpy(region, name + 4, strlen(name + 4) + 1);
	return true;
}

int oss_url_build(struct object_url *url, const struct oss_target *target)
{
	const struct oss_config *config = target->config;
	bool is_in_host = target->bucket && !config->is_address;
	int r = 0;

	object_url_init(url);
	if (is_in_host)
		r = buffer_append_format(&url->host, "%s.", target->bucket);
	if (r == 0)
		r = buffer_append_string(&url->host, config->host);
	if (r == 0)
		r = buffer_append_string(&url->path, "/");
	if (r == 0 && target->bucket && !is_in_host)
		r = buffer_append_format(&url->path, "%s/", target->bucket);
	if (r == 0 && target->key)
		r = object_url_encode(&url->path, target->key, true);
	if (r == 0)
		r = object_url_append_query(&url->query, target->query, true);
	if (r == 0)
		r = object_url_join(url, config->is_http);
	return r < 0 ? -ENOMEM : 0;
}
