#include "executor/event/cpus.h"

#include "executor/base/cleanup.h"

#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The files are one short line, or a few; what is longer is not what we look for. */
#define FILE_BYTES 4096
#define PATH_BYTES 4096
/* Quotas are times in microseconds; no machine has more processors than this. */
#define HUNDREDTHS_MAX (100ull * 65536)

static bool read_file(const char *path, char text[FILE_BYTES])
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_NOCTTY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, FILE_BYTES - 1);

	if (n < 0)
		return false;
	text[n] = '\0';
	return true;
}

/* "<number>", after spaces; *text is moved behind it. */
static bool read_number(const char **text, unsigned long long *ret)
{
	char *end;

	*text += strspn(*text, " ");
	if (**text < '0' || **text > '9')
		return false;
	*ret = strtoull(*text, &end, 10); /* too large is as good as none */
	*text = end;
	return true;
}

static bool read_number_in(const char *directory, const char *name, unsigned long long *ret)
{
	char path[PATH_BYTES + 32], text[FILE_BYTES];
	const char *at = text;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	return read_file(path, text) && read_number(&at, ret);
}

static bool read_maximum(const char *directory, unsigned long long *quota,
			 unsigned long long *period)
{
	char path[PATH_BYTES + 32], text[FILE_BYTES];
	const char *at = text;

	snprintf(path, sizeof(path), "%s/cpu.max", directory);
	return read_file(path, text) && read_number(&at, quota) && read_number(&at, period);
}

/* One group's quota in hundredths of a processor; HUNDREDTHS_MAX = none. */
static unsigned long long quota_of(const char *directory, bool is_unified)
{
	unsigned long long quota, period;
	bool is_limited = is_unified ?
				  read_maximum(directory, &quota, &period) :
				  read_number_in(directory, "cpu.cfs_quota_us", &quota) &&
					  read_number_in(directory, "cpu.cfs_period_us", &period);

	if (!is_limited || period == 0 || quota > ULLONG_MAX / 100 ||
	    quota * 100 / period > HUNDREDTHS_MAX)
		return HUNDREDTHS_MAX;
	return quota * 100 / period;
}

/* The strictest of the group `path` and those above it, as far as they can be seen. */
static unsigned long long strictest(const char *mount, const char *path, bool is_unified)
{
	unsigned long long least = quota_of(mount, is_unified);
	char directory[PATH_BYTES];
	size_t top = strlen(mount);

	if (strstr(path, "/..") || (size_t)snprintf(directory, sizeof(directory), "%s%s", mount,
						    path) >= sizeof(directory))
		return least;
	for (char *slash = directory; slash; slash = strrchr(directory + top, '/')) {
		unsigned long long quota;

		if (slash != directory)
			*slash = '\0';
		quota = quota_of(directory, is_unified);
		least = quota < least ? quota : least;
	}
	return least;
}

static bool has_cpu(const char *controllers)
{
	for (const char *p = controllers; *p; p += strcspn(p, ",") + (p[strcspn(p, ",")] != '\0'))
		if (strncmp(p, "cpu", 3) == 0 && (p[3] == ',' || p[3] == '\0'))
			return true;
	return false;
}

/* A line of /proc/self/cgroup: "<id>:<controllers>:<path>"; version 2 has no controllers. */
static unsigned long long quota_by_line(const char *root, char *line)
{
	char *controllers = strchr(line, ':'), *path, mount[PATH_BYTES];

	if (!controllers)
		return HUNDREDTHS_MAX;
	path = strchr(++controllers, ':');
	if (!path)
		return HUNDREDTHS_MAX;
	*path++ = '\0';
	if (*controllers && !has_cpu(controllers))
		return HUNDREDTHS_MAX;
	/* The first is also where hybrid set-ups have `cpu`: a link to `cpu,cpuacct`. */
	snprintf(mount, sizeof(mount), "%ssys/fs/cgroup%s", root, *controllers ? "/cpu" : "");
	return strictest(mount, path, *controllers == '\0');
}

unsigned cpus_usable(const char *root)
{
	unsigned long long least = HUNDREDTHS_MAX;
	char path[PATH_BYTES], text[FILE_BYTES], *save = NULL;
	unsigned count = 1, allowed;
	cpu_set_t set;

	/* Machines with more processors than the set has room for fail it, and have plenty. */
	if (sched_getaffinity(0, sizeof(set), &set) == 0)
		count = (unsigned)CPU_COUNT(&set);
	else
		count = (unsigned)CPU_SETSIZE;
	snprintf(path, sizeof(path), "%sproc/self/cgroup", root);
	if (!read_file(path, text))
		return count;
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		unsigned long long quota = quota_by_line(root, line);

		least = quota < least ? quota : least;
	}
	allowed = (unsigned)((least + 50) / 100);
	allowed = allowed ? allowed : 1;
	return allowed < count ? allowed : count;
}
