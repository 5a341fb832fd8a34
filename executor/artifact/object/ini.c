#include "executor/artifact/object/ini.h"

#include <stdio.h>
#include <string.h>

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f';
}

struct piece {
	const char *start;
	size_t size;
};

static struct piece trim(const char *start, size_t size)
{
	while (size > 0 && is_blank(*start)) {
		start++;
		size--;
	}
	while (size > 0 && is_blank(start[size - 1]))
		size--;
	return (struct piece){ start, size };
}

static bool is_equal(struct piece piece, const char *s)
{
	return strlen(s) == piece.size && memcmp(piece.start, s, piece.size) == 0;
}

/* The name of a section if the line begins one. */
static bool is_section(const char *line, size_t size, struct piece *ret)
{
	const char *end = memchr(line, ']', size);

	if (size == 0 || *line != '[' || !end)
		return false;
	*ret = trim(line + 1, (size_t)(end - line - 1));
	return true;
}

static struct piece without_comment(const char *value, size_t size)
{
	for (size_t i = 1; i < size; i++)
		if ((value[i] == '#' || value[i] == ';') && is_blank(value[i - 1]))
			size = i;
	return trim(value, size);
}

static bool take(const char *line, size_t size, const char *name, struct piece *ret)
{
	const char *sign = memchr(line, '=', size);

	if (size == 0 || *line == '#' || *line == ';' || is_blank(*line) || !sign ||
	    !is_equal(trim(line, (size_t)(sign - line)), name))
		return false;
	*ret = without_comment(sign + 1, (size_t)(line + size - sign - 1));
	return true;
}

/* `name` NULL = only whether the section is there. */
static bool find(const char *text, const char *section, const char *name, struct piece *ret)
{
	bool is_inside = false, is_found = false;
	struct piece title;

	while (*text) {
		size_t size = strcspn(text, "\n");

		if (is_section(text, size, &title)) {
			is_inside = is_equal(title, section);
			is_found |= is_inside && !name;
		} else if (is_inside && name) {
			is_found |= take(text, size, name, ret);
		}
		text += size + (text[size] != '\0');
	}
	return is_found;
}

bool ini_has_section(const char *text, const char *section)
{
	return find(text, section, NULL, NULL);
}

bool ini_get(const char *text, const char *section, const char *name, char *value, size_t size)
{
	struct piece piece = { "", 0 };
	bool is_found = find(text, section, name, &piece);

	snprintf(value, size, "%.*s", (int)piece.size, piece.start);
	return is_found;
}
