#include "executor/stage/engine_environment.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Not ARGOEXEC_ as such: the control socket's token and key are named there. */
static const char *const prefixes[] = {
	"ARGOEXEC_S3_", "ARTIFACT_", "EXECUTOR_RETRY_", "AWS_",   "ALIBABA_CLOUD_",
	"OSS_",         "SSL_CERT_", "ASAN_",           "UBSAN_", "LSAN_",
};

static const char *const names[] = {
	"ARGOEXEC_CONFINEMENT",
	"TRANSIENT_ERROR_PATTERN",
	"HTTP_PROXY",
	"HTTPS_PROXY",
	"NO_PROXY",
	"http_proxy",
	"https_proxy",
	"no_proxy",
	"HOME",
	"PATH",
	"TMPDIR",
	"TZ",
	/* c-ares, as libc: search domains, options, another file of hosts */
	"LOCALDOMAIN",
	"RES_OPTIONS",
	"CARES_HOSTS",
};

bool engine_environment_has(const char *variable)
{
	size_t size = strcspn(variable, "=");

	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++)
		if (strncmp(variable, prefixes[i], strlen(prefixes[i])) == 0)
			return true;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strlen(names[i]) == size && strncmp(variable, names[i], size) == 0)
			return true;
	return false;
}

char **engine_environment(void)
{
	size_t count = 0, kept = 0;
	char **copy;

	while (environ && environ[count])
		count++;
	copy = calloc(count + 1, sizeof(*copy));
	for (size_t i = 0; copy && i < count; i++)
		if (engine_environment_has(environ[i]))
			copy[kept++] = environ[i];
	return copy;
}
