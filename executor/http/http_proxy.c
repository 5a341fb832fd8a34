#include "executor/base/text.h"
#include "executor/http/http_internal.h"

#include <stdlib.h>
#include <string.h>

static const char *environment(const char *upper, const char *lower)
{
	const char *value = getenv(upper);

	return value && *value ? value : getenv(lower) ?: "";
}

/* Nobody means a proxy for this machine. */
static bool is_loopback(const char *url)
{
	const char *authority = strstr(url, "://");
	const char *host = authority ? authority + 3 : url;
	size_t size = strcspn(host, "/?#");
	const char *at = memrchr(host, '@', size);

	if (at) {
		size -= (size_t)(at + 1 - host);
		host = at + 1;
	}
	if (*host == '[')
		return strncmp(host, "[::1]", 5) == 0;
	for (size_t i = 0; i < size; i++)
		if (host[i] == ':')
			size = i;
	return (size == 9 && strncasecmp(host, "localhost", 9) == 0) ||
	       (text_has_prefix(host, "127.") && strspn(host, "0123456789.") == size);
}

const char *http_proxy_for(const char *url, const char **ret_exceptions)
{
	*ret_exceptions = environment("NO_PROXY", "no_proxy");
	if (is_loopback(url))
		return "";
	return strncasecmp(url, "https:", 6) == 0 ? environment("HTTPS_PROXY", "https_proxy") :
						    environment("HTTP_PROXY", "http_proxy");
}
