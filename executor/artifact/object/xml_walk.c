#include "executor/artifact/object/xml_walk.h"

#include "executor/artifact/object/xml.h"
#include "executor/base/buffer.h"

#include <errno.h>
#include <expat.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* Elements are known by their path ("ListBucketResult/Contents/Key"). Longer paths than ours are
 * not needed, but must not fail: a server may say more than we ask. */
#define PATH_BYTES_MAX 512

struct walk {
	XML_Parser parser;
	int (*end)(void *context, const char *path, const char *text);
	void *context;
	char path[PATH_BYTES_MAX];
	unsigned depth;
	struct buffer text;
	int result;
	const char *reason;
};

static void stop(struct walk *walk, int result, const char *reason)
{
	if (walk->result == 0) {
		walk->result = result;
		walk->reason = reason;
	}
	XML_StopParser(walk->parser, XML_FALSE);
}

static void on_doctype(void *context, const XML_Char *name, const XML_Char *system_id,
		       const XML_Char *public_id, int has_internal_subset)
{
	(void)name;
	(void)system_id;
	(void)public_id;
	(void)has_internal_subset;
	stop(context, -EBADMSG, "a document type declaration");
}

static void on_start(void *context, const XML_Char *name, const XML_Char **attributes)
{
	struct walk *walk = context;
	size_t size = strlen(walk->path), length = strlen(name);

	(void)attributes;
	buffer_reset(&walk->text);
	if (++walk->depth > OBJECT_XML_DEPTH_MAX || size + length + 2 > sizeof(walk->path)) {
		stop(walk, -EBADMSG, "nested too deeply");
		return;
	}
	if (size > 0)
		walk->path[size++] = '/';
	memcpy(walk->path + size, name, length + 1);
}

static void on_text(void *context, const XML_Char *s, int size)
{
	struct walk *walk = context;
	int r = buffer_append(&walk->text, s, (size_t)size);

	if (r < 0)
		stop(walk, r == -EMSGSIZE ? -EBADMSG : r, "an element is too long");
}

static void on_end(void *context, const XML_Char *name)
{
	struct walk *walk = context;
	char *slash;
	int r;

	(void)name;
	if (walk->result < 0)
		return;
	r = walk->end(walk->context, walk->path, buffer_string(&walk->text));
	buffer_reset(&walk->text);
	if (r < 0) {
		stop(walk, r, "unexpected content");
		return;
	}
	slash = strrchr(walk->path, '/');
	*(slash ? slash : walk->path) = '\0';
	walk->depth--;
}

int xml_walk(const char *data, size_t size, const char *root,
	     int (*end)(void *context, const char *path, const char *text), void *context,
	     struct error *err)
{
	struct walk walk = {
		.parser = XML_ParserCreate(NULL),
		.end = end,
		.context = context,
		.text = BUFFER_INIT(OBJECT_XML_TEXT_MAX),
	};

	if (!walk.parser)
		return error_set(err, -ENOMEM, "out of memory");
	XML_SetUserData(walk.parser, &walk);
	XML_SetElementHandler(walk.parser, on_start, on_end);
	XML_SetCharacterDataHandler(walk.parser, on_text);
	XML_SetStartDoctypeDeclHandler(walk.parser, on_doctype);
	if (size > INT_MAX) {
		walk.result = -EBADMSG;
		walk.reason = "too large";
	} else if (XML_Parse(walk.parser, data, (int)size, 1) != XML_STATUS_OK &&
		   walk.result == 0) {
		/* Also how a document that was cut off looks. */
		walk.result = -EBADMSG;
		walk.reason = XML_ErrorString(XML_GetErrorCode(walk.parser));
	}
	XML_ParserFree(walk.parser);
	buffer_done(&walk.text);
	if (walk.result < 0)
		return error_set(err, walk.result, "unreadable %s document: %s", root,
				 walk.result == -ENOMEM ? "out of memory" : walk.reason);
	return 0;
}

int xml_take_text(char **to, const char *text)
{
	free(*to);
	*to = strdup(text);
	return *to ? 0 : -ENOMEM;
}
