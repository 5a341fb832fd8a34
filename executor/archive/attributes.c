#include "executor/archive/attributes.h"

#include "executor/base/cleanup.h"

#include <errno.h>
#include <string.h>
#include <sys/xattr.h>

#define USERS "user."
/* As the kernel has it: a list of names is never longer (XATTR_LIST_MAX), nor is a value. */
#define KERNEL_BYTES_MAX (64 * 1024)

int attributes_add(struct buffer *list, const struct attribute *attribute)
{
	size_t before = list->size;
	int r;

	if (strncmp(attribute->name, USERS, strlen(USERS)) != 0 || strchr(attribute->name, '='))
		return 0;
	r = buffer_append(list, attribute->name, strlen(attribute->name) + 1);
	if (r == 0)
		r = buffer_append(list, &attribute->size, sizeof(attribute->size));
	if (r == 0)
		r = buffer_append(list, attribute->value, attribute->size);
	if (r < 0)
		list->size = before;
	return r;
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Pointers to the names, sorted, NULL behind the last: the order of the kernel is no order. */
static const char **sort_names(const char *names, size_t size)
{
	const char **sorted = calloc(size / 2 + 1, sizeof(*sorted)); /* a name and its NUL */
	size_t count = 0;

	if (!sorted)
		return NULL;
	for (const char *at = names; at < names + size; at += strlen(at) + 1)
		if (*at)
			sorted[count++] = at;
	qsort(sorted, count, sizeof(*sorted), compare);
	return sorted;
}

static int read_value(struct buffer *list, int fd, const char *name, char *value)
{
	struct attribute attribute = { .name = name, .value = value };
	ssize_t n = fgetxattr(fd, name, value, KERNEL_BYTES_MAX);

	if (n < 0) /* it vanished, or is not for us */
		return errno == ENODATA || errno == EACCES || errno == EPERM ? 0 : -errno;
	attribute.size = (uint32_t)n;
	return attributes_add(list, &attribute);
}

int attributes_read(struct buffer *list, int fd)
{
	_cleanup_free_ char *names = NULL, *value = NULL;
	_cleanup_free_ const char **sorted = NULL;
	ssize_t size = flistxattr(fd, NULL, 0);
	int r = 0;

	buffer_reset(list);
	if (size <= 0)
		return 0; /* nearly always; or the file system has no such thing */
	names = malloc(KERNEL_BYTES_MAX);
	value = malloc(KERNEL_BYTES_MAX);
	size = names ? flistxattr(fd, names, KERNEL_BYTES_MAX) : 0;
	if (size < 0)
		return -errno;
	sorted = names ? sort_names(names, (size_t)size) : NULL;
	if (!value || !sorted)
		return -ENOMEM;
	for (size_t i = 0; r == 0 && sorted[i]; i++)
		if (strncmp(sorted[i], USERS, strlen(USERS)) == 0)
			r = read_value(list, fd, sorted[i], value);
	return r;
}

bool attributes_next(const struct buffer *list, size_t *at, struct attribute *ret)
{
	if (*at >= list->size)
		return false;
	ret->name = list->data + *at;
	*at += strlen(ret->name) + 1;
	memcpy(&ret->size, list->data + *at, sizeof(ret->size));
	ret->value = list->data + *at + sizeof(ret->size);
	*at += sizeof(ret->size) + ret->size;
	return true;
}

int attributes_set(const struct buffer *list, int fd)
{
	struct attribute attribute;
	int failure = 0;

	for (size_t at = 0; attributes_next(list, &at, &attribute);)
		if (fsetxattr(fd, attribute.name, attribute.value, attribute.size, 0) < 0 &&
		    failure == 0)
			failure = -errno;
	return failure;
}
