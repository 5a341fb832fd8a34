#include "executor/archive/member.h"

#include "executor/base/cleanup.h"
#include "executor/base/path.h"
#include "executor/base/text.h"

#include <errno.h>
#include <string.h>

static bool leaves_top(const char *clean)
{
	return clean[0] == '.' && clean[1] == '.' && (clean[2] == '\0' || clean[2] == '/');
}

int member_locate(const char *name, char **ret)
{
	_cleanup_free_ char *clean = NULL;
	unsigned depth = 0;

	while (*name == '/')
		name++;
	if (strlen(name) > MEMBER_NAME_MAX)
		return -ENAMETOOLONG;
	clean = path_clean(name);
	if (!clean)
		return -ENOMEM;
	if (leaves_top(clean))
		return -EXDEV;
	for (const char *p = clean; *p; p++)
		depth += *p == '/';
	if (depth > MEMBER_DEPTH_MAX)
		return -ELOOP;
	if (strcmp(clean, ".") == 0)
		clean[0] = '\0';
	*ret = TAKE_PTR(clean);
	return 0;
}

bool member_link_is_inside(const char *location, const char *target)
{
	_cleanup_free_ char *directory = strdup(location);
	_cleanup_free_ char *clean = NULL;
	char *slash;

	if (!directory || target[0] == '/' || target[0] == '\0')
		return false;
	slash = strrchr(directory, '/');
	if (slash)
		*slash = '\0';
	else
		directory[0] = '\0';
	clean = path_join(directory, target);
	return clean && !leaves_top(clean) && strcmp(clean, ".") != 0;
}

bool member_link_needs_resolving(const char *target)
{
	bool has_name = false;

	while (*target) {
		size_t n = strcspn(target, "/");

		if (n == 2 && target[0] == '.' && target[1] == '.') {
			if (has_name)
				return true;
		} else if (n > 0 && !(n == 1 && target[0] == '.')) {
			has_name = true;
		}
		target += n;
		while (*target == '/')
			target++;
	}
	return false;
}

const char *member_printable(const char *name, char *buffer)
{
	size_t left = strlen(name), size = 0;

	while (left > 0) {
		size_t n = text_utf8_length(name, left);
		bool is_printable = n > 1 ||
				    (n == 1 && (unsigned char)*name >= ' ' && *name != 0x7f);

		n = n ? n : 1;
		if (size + n > MEMBER_PRINTABLE_MAX - 4) {
			memcpy(buffer + size, "...", 3);
			size += 3;
			break;
		}
		if (is_printable)
			memcpy(buffer + size, name, n);
		else
			buffer[size] = '?';
		size += is_printable ? n : 1;
		name += n;
		left -= n;
	}
	buffer[size] = '\0';
	return buffer;
}
