#include "executor/http/classify.h"

#include <string.h>

/* Sources: RFC 9110, 15; RFC 6585, 4 (429); RFC 8470, 5.2 (425). 499 is a proxy's word for a client
 * that went away, which we did not. Servers that throttle with a code of their own still use the
 * words. */
static const struct classify_row rows[] = {
	{ .text = "Rate exceeded", .class = ERROR_THROTTLED },
	{ .text = "Please reduce your request rate", .class = ERROR_THROTTLED },
	{ .status = 404, .code = "", .is_object = true, .class = ERROR_NOT_FOUND },
	{ .status = 408, .class = ERROR_TRANSIENT },
	{ .status = 425, .class = ERROR_TRANSIENT },
	{ .status = 429, .class = ERROR_THROTTLED },
	{ .status = 499, .class = ERROR_TRANSIENT },
	{ .status = 500, .status_last = 599, .class = ERROR_TRANSIENT },
};
static const struct classify_table all = CLASSIFY_TABLE(rows);

static bool is_status(const struct classify_row *row, int status)
{
	int last = row->status_last ? row->status_last : row->status;

	return row->status == 0 || (status >= row->status && status <= last);
}

static bool fits(const struct classify_row *row, const struct classify_answer *answer)
{
	return is_status(row, answer->status) &&
	       (!row->code || strcmp(row->code, answer->code) == 0) &&
	       (!row->text || strstr(answer->message, row->text)) &&
	       (!row->is_object || answer->is_object);
}

static const struct classify_row *find(const struct classify_table *table,
				       const struct classify_answer *answer)
{
	for (size_t i = 0; i < table->count; i++)
		if (fits(&table->rows[i], answer))
			return &table->rows[i];
	return NULL;
}

enum error_class classify(const struct classify_table *provider,
			  const struct classify_answer *answer)
{
	const struct classify_row *row = provider ? find(provider, answer) : NULL;

	if (!row)
		row = find(&all, answer);
	return row ? row->class : ERROR_PERMANENT;
}
