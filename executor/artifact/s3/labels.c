#include "executor/artifact/s3/labels.h"

#include "executor/artifact/object/url.h"
#include "executor/base/buffer.h"
#include "executor/base/cleanup.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TAGGING "ARGOEXEC_S3_TAGGING"
#define METADATA "ARGOEXEC_S3_METADATA"
#define CONTENT_TYPE "ARGOEXEC_S3_CONTENT_TYPE"
#define TAG_NAME_MAX 128
#define TAG_VALUE_MAX 256
#define TAGGING_BYTES_MAX (S3_TAGS_MAX * 4 * (3 * (TAG_NAME_MAX + TAG_VALUE_MAX) + 2))

void s3_labels_done(struct s3_labels *labels)
{
	free(labels->tagging);
	free(labels->content_type);
	for (size_t i = 0; i < labels->metadata_count; i++)
		free(labels->metadata[i].value);
	*labels = (struct s3_labels){ 0 };
}

static int decode(char *s)
{
	/* A plus is a plus here. */
	for (char *p = s; *p; p++) {
		char digits[3] = "";

		if (*p != '%')
			continue;
		if (!isxdigit((unsigned char)p[1]) || !isxdigit((unsigned char)p[2]))
			return -EINVAL;
		memcpy(digits, p + 1, 2);
		*p = (char)strtoul(digits, NULL, 16);
		if (*p == '\0')
			return -EINVAL;
		memmove(p + 1, p + 3, strlen(p + 3) + 1);
	}
	return 0;
}

/* Calls add for each pair of the variable. */
static int each_pair(struct s3_labels *labels, const char *variable,
		     int (*add)(struct s3_labels *labels, const char *name, const char *value,
				struct error *err),
		     struct error *err)
{
	const char *text = getenv(variable);
	_cleanup_free_ char *copy = strdup(text ? text : "");
	char *rest = copy;
	int r = copy ? 0 : error_set(err, -ENOMEM, "out of memory");

	while (r == 0 && rest && *rest) {
		char *name = strsep(&rest, ",");
		char *value = strchr(name, '=');

		if (!value || value == name)
			return error_set(err, -EINVAL, "%s: '%s' is not name=value", variable,
					 name);
		*value++ = '\0';
		if (decode(name) < 0 || decode(value) < 0)
			return error_set(err, -EINVAL, "%s: a %% without two digits", variable);
		r = add(labels, name, value, err);
		if (r < 0)
			return error_prefix(err, r, "%s", variable);
	}
	return r;
}

static int add_tag(struct s3_labels *labels, const char *name, const char *value, struct error *err)
{
	struct buffer out = BUFFER_INIT(TAGGING_BYTES_MAX);
	unsigned count = 0;
	int r = 0;

	for (const char *p = labels->tagging; p; p = strchr(p + 1, '&'))
		count++;
	if (count == S3_TAGS_MAX)
		return error_set(err, -E2BIG, "more than %d tags", S3_TAGS_MAX);
	if (strlen(name) > 4 * TAG_NAME_MAX || strlen(value) > 4 * TAG_VALUE_MAX)
		return error_set(err, -EINVAL, "'%s': more than %d and %d characters", name,
				 TAG_NAME_MAX, TAG_VALUE_MAX);
	if (labels->tagging)
		r = buffer_append_format(&out, "%s&", labels->tagging);
	if (r == 0)
		r = object_url_encode(&out, name, false);
	if (r == 0)
		r = buffer_append_string(&out, "=");
	if (r == 0)
		r = object_url_encode(&out, value, false);
	if (r < 0) {
		buffer_done(&out);
		return error_errno(err, r, "'%s'", name);
	}
	free(labels->tagging);
	labels->tagging = buffer_take(&out);
	return 0;
}

/* A header's value that is signed and read back as it was (RFC 9110, 5.5). */
static bool is_header_value(const char *s)
{
	size_t size = strlen(s);

	for (const char *p = s; *p; p++)
		if (*p < ' ' || *p > '~')
			return false;
	return size == 0 || (s[0] != ' ' && s[size - 1] != ' ' && !strstr(s, "  "));
}

static int add_metadata(struct s3_labels *labels, const char *name, const char *value,
			struct error *err)
{
	struct s3_metadata *to = &labels->metadata[labels->metadata_count];
	size_t bytes = 0;
	int size;

	if (labels->metadata_count == S3_METADATA_MAX)
		return error_set(err, -E2BIG, "more than %d entries", S3_METADATA_MAX);
	size = snprintf(to->name, sizeof(to->name), "x-amz-meta-%s", name);
	for (char *p = to->name; *p; p++) {
		if (!isalnum((unsigned char)*p) && !strchr("-_.", *p))
			size = sizeof(to->name);
		*p = (char)tolower((unsigned char)*p);
	}
	if ((size_t)size >= sizeof(to->name) || !is_header_value(value))
		return error_set(err, -EINVAL,
				 "'%s': a name has letters, digits, '-', '_' and '.', a value "
				 "printable ASCII",
				 name);
	to->value = strdup(value);
	if (!to->value)
		return error_set(err, -ENOMEM, "out of memory");
	labels->metadata_count++;
	for (size_t i = 0; i < labels->metadata_count; i++)
		bytes += strlen(labels->metadata[i].name) + strlen(labels->metadata[i].value);
	return bytes > S3_METADATA_BYTES_MAX ?
		       error_set(err, -E2BIG, "more than %d bytes", S3_METADATA_BYTES_MAX) :
		       0;
}

int s3_labels_from_environment(struct s3_labels *labels, struct error *err)
{
	const char *type = getenv(CONTENT_TYPE);
	int r;

	*labels = (struct s3_labels){ 0 };
	r = each_pair(labels, TAGGING, add_tag, err);
	if (r == 0)
		r = each_pair(labels, METADATA, add_metadata, err);
	if (r == 0 && type && *type) {
		labels->content_type = strdup(type);
		if (!labels->content_type)
			r = error_set(err, -ENOMEM, "out of memory");
		else if (!is_header_value(type))
			r = error_set(err, -EINVAL, CONTENT_TYPE ": is no content type");
	}
	if (r < 0)
		s3_labels_done(labels);
	return r;
}
