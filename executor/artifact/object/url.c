#include "executor/artifact/object/url.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The longest prefix and a token of OBJECT_XML_TEXT_MAX bytes, every byte of them encoded. */
#define PATH_MAX_ENCODED (32 * 1024)

void object_url_init(struct object_url *url)
{
	*url = (struct object_url){
		.host = BUFFER_INIT(OBJECT_HOST_MAX),
		.path = BUFFER_INIT(PATH_MAX_ENCODED),
		.query = BUFFER_INIT(PATH_MAX_ENCODED),
		.url = BUFFER_INIT(2 * PATH_MAX_ENCODED + OBJECT_HOST_MAX),
	};
}

void object_url_done(struct object_url *url)
{
	buffer_done(&url->host);
	buffer_done(&url->path);
	buffer_done(&url->query);
	buffer_done(&url->url);
}

/* Not isalnum(): the alphabet is ASCII in every locale. */
static bool is_unreserved(unsigned char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
	       c == '-' || c == '.' || c == '_' || c == '~';
}

int object_url_encode(struct buffer *out, const char *s, bool keep_slash)
{
	int r = 0;

	for (; *s && r == 0; s++) {
		unsigned char c = (unsigned char)*s;

		if (is_unreserved(c) || (c == '/' && keep_slash))
			r = buffer_append(out, s, 1);
		else
			r = buffer_append_format(out, "%%%02X", c);
	}
	return r;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int object_url_decode(char *s)
{
	char *to = s;

	for (const char *p = s; *p; p++) {
		if (*p == '+') {
			*to++ = ' ';
		} else if (*p == '%') {
			int high = hex_digit(p[1]);
			int low = high < 0 ? -1 : hex_digit(p[2]);

			if (low < 0 || (high | low) == 0)
				return -EINVAL;
			*to++ = (char)(high << 4 | low);
			p += 2;
		} else {
			*to++ = *p;
		}
	}
	*to = '\0';
	return (int)(to - s);
}

bool object_url_is_region(const char *s)
{
	size_t size = strlen(s);

	return size > 0 && size < OBJECT_REGION_MAX &&
	       strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") ==
		       size;
}

/* Names are compared as they are when encoded: hexadecimal digits keep the order of bytes. */
static int compare_names(const void *a, const void *b)
{
	const unsigned char *p = (const void *)((const struct object_query *)a)->name;
	const unsigned char *q = (const void *)((const struct object_query *)b)->name;

	while (*p && *p == *q) {
		p++;
		q++;
	}
	if (*p && *q && is_unreserved(*p) != is_unreserved(*q))
		return (is_unreserved(*p) ? *p : '%') - (is_unreserved(*q) ? *q : '%');
	return *p - *q;
}

int object_url_append_query(struct buffer *out, const struct object_query *query, bool is_bare)
{
	struct object_query sorted[OBJECT_QUERY_MAX];
	size_t count = 0;
	int r = 0;

	for (; query && query->name; query++) {
		if (count == OBJECT_QUERY_MAX)
			return -ENOMEM;
		sorted[count++] = *query;
	}
	qsort(sorted, count, sizeof(sorted[0]), compare_names);
	for (size_t i = 0; i < count && r == 0; i++) {
		if (i > 0)
			r = buffer_append_string(out, "&");
		if (r == 0)
			r = object_url_encode(out, sorted[i].name, false);
		if (is_bare && sorted[i].value[0] == '\0')
			continue;
		if (r == 0)
			r = buffer_append_string(out, "=");
		if (r == 0)
			r = object_url_encode(out, sorted[i].value, false);
	}
	return r;
}

int object_url_join(struct object_url *url, bool is_http)
{
	return buffer_append_format(&url->url, "%s://%s%s%s%s", is_http ? "http" : "https",
				    url->host.data, url->path.data, url->query.size ? "?" : "",
				    buffer_string(&url->query));
}
