/* Walking through a document: all that expat is asked for. The limits are those of xml.h. */
#pragma once

#include "executor/base/error.h"

#include <stddef.h>

/* Parses all of it. `end` is called at the end of every element with its path ("Error/Code") and the
 * characters directly inside; a negative errno ends the walk. `root` is the name of the document for
 * messages. */
int xml_walk(const char *data, size_t size, const char *root,
	     int (*end)(void *context, const char *path, const char *text), void *context,
	     struct error *err);

/* For `end`: replaces *to by a copy. 0 or -ENOMEM. */
int xml_take_text(char **to, const char *text);
