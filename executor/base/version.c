#include "executor/base/version.h"

#include <stdio.h>

#if defined(__x86_64__)
#define PLATFORM "linux/amd64"
#elif defined(__aarch64__)
#define PLATFORM "linux/arm64"
#else
#error "unknown platform: name it here as Go names it"
#endif

const char *version_text(void)
{
	return VERSION;
}

void version_print_details(int fd)
{
	dprintf(fd, "  BuildDate: %s\n  GitCommit: %s\n  GitTreeState: %s\n", BUILD_DATE,
		GIT_COMMIT, GIT_TREE_STATE);
	if (GIT_TAG[0])
		dprintf(fd, "  GitTag: %s\n", GIT_TAG);
	dprintf(fd, "  Compiler: gcc %s\n  Platform: %s\n", __VERSION__, PLATFORM);
}
