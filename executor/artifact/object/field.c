#include "executor/artifact/object/field.h"

#include "executor/artifact/object/url.h"
#include "executor/base/text.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

int field_copy(struct json_object *location, const char *field, char **ret, struct error *err)
{
	struct json_object *value = json_get(location, field);
	size_t size = 0;
	const char *s = value ? json_string(value, &size) : "";

	if (!s)
		return error_set(err, -EINVAL, "%s: expected a string, found %s", field,
				 json_kind_name(value));
	if (strlen(s) != size)
		return error_set(err, -EINVAL, "%s: contains a zero byte", field);
	*ret = strdup(s);
	if (*ret)
		return 0;
	error_set(err, -ENOMEM, "out of memory");
	return -ENOMEM;
}

int field_bool(struct json_object *object, const char *field, bool *ret, struct error *err)
{
	struct json_object *value = json_get(object, field);

	if (value && strcmp(json_kind_name(value), "boolean") != 0)
		return error_set(err, -EINVAL, "%s: expected true or false, found %s", field,
				 json_kind_name(value));
	*ret = json_get_bool(object, field, false);
	return 0;
}

int field_key(struct json_object *location, char **ret, struct error *err)
{
	int r = field_copy(location, "key", ret, err);

	if (r == 0 && strlen(*ret) > OBJECT_KEY_BYTES_MAX)
		return error_set(err, -EINVAL, "key: longer than %d bytes", OBJECT_KEY_BYTES_MAX);
	return r;
}

char field_trim_endpoint(char *endpoint)
{
	const char *s = endpoint;
	char scheme = 0;
	size_t size;

	if (strncasecmp(s, "https://", 8) == 0) {
		s += 8;
		scheme = 's';
	} else if (strncasecmp(s, "http://", 7) == 0) {
		s += 7;
		scheme = 'h';
	}
	size = strlen(s);
	while (size > 0 && s[size - 1] == '/')
		size--;
	memmove(endpoint, s, size);
	endpoint[size] = '\0';
	return scheme;
}

/* The length of a name or an address in front of ":port", 0 if it is none; IPv6 stands in brackets
 * (RFC 3986, 3.2.2). */
static size_t host_length(const char *s)
{
	size_t length = strcspn(s, ":");

	if (*s == '[') {
		length = strspn(s + 1, "0123456789abcdefABCDEF:.") + 1;
		return length >= 3 && s[length] == ']' ? length + 1 : 0;
	}
	if (length > 253 || s[0] == '.' || s[0] == '-')
		return 0;
	for (size_t i = 0; i < length; i++)
		if (!isalnum((unsigned char)s[i]) && !strchr("-._", s[i]))
			return 0;
	return length;
}

bool field_is_host(const char *s)
{
	size_t length = host_length(s);
	const char *port = s + length;
	int64_t number;

	if (length == 0 || *port == '\0')
		return length > 0;
	return *port == ':' && isdigit((unsigned char)port[1]) &&
	       text_parse_int64(port + 1, &number) == 0 && number >= 1 && number <= 65535;
}

bool field_has_control(const char *s)
{
	for (; s && *s; s++)
		if (iscntrl((unsigned char)*s))
			return true;
	return false;
}
