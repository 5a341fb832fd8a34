#include "executor/artifact/object/list.h"

#include "executor/base/path.h"
#include "executor/base/text.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* 1000 keys of 1024 bytes, encoded threefold, and half a kilobyte of other elements with each. */
#define PAGE_BYTES_MAX (4 * 1024 * 1024)

char *object_list_prefix(const char *key)
{
	char *clean = path_clean(key), *prefix = NULL;

	if (!clean)
		return NULL;
	if (strcmp(clean, ".") == 0)
		prefix = strdup("");
	else if (strcmp(clean, "/") == 0)
		prefix = strdup("/");
	else if (asprintf(&prefix, "%s/", clean) < 0)
		prefix = NULL;
	free(clean);
	return prefix;
}

bool object_list_is_safe(const char *relative)
{
	for (const char *p = relative;; p++) {
		size_t size = strcspn(p, "/");

		if (size == 0 || (size == 2 && memcmp(p, "..", 2) == 0))
			return false;
		/* A directory's own name, so no file can have it. */
		if (strcmp(p, ".") == 0)
			return false;
		p += size;
		if (*p == '\0')
			return true;
	}
}

static int judge_page(const struct object_call *call, const struct http_response *response,
		      struct object_failure *failure, struct error *err)
{
	(void)failure;
	if (response->is_body_cut)
		return error_set(err, -EMSGSIZE, "a page of the listing exceeds %d bytes",
				 PAGE_BYTES_MAX);
	return object_xml_parse_list(buffer_string(&response->body), response->body.size,
				     call->context, err);
}

static int get_page(struct object_client *client, const char *prefix, const char *token,
		    struct object_xml_list *page, struct error *err)
{
	bool is_v1 = client->is_list_v1;
	const struct object_query query[] = {
		{ "encoding-type", "url" },
		{ "prefix", prefix },
		{ is_v1 ? "marker" : "list-type", is_v1 ? (token ? token : "") : "2" },
		{ token && !is_v1 ? "continuation-token" : NULL, token },
		{ NULL, NULL },
	};
	const struct object_call call = {
		.operation = "list objects of",
		.method = "GET",
		.query = query,
		.body_max = PAGE_BYTES_MAX,
		.judge = judge_page,
		.context = page,
	};
	struct http_response response;
	struct object_failure failure;
	int r;

	*page = (struct object_xml_list){ 0 };
	r = object_perform(client, &call, &response, &failure, err);
	http_response_done(&response);
	if (r < 0 && !is_v1 && !token && strcmp(failure.error.code, "NotImplemented") == 0) {
		client->is_list_v1 = true;
		return get_page(client, prefix, NULL, page, err);
	}
	return r;
}

/* A server of old answers as ever, whatever version it was asked for; it goes on behind a key. */
static int find_marker(struct object_client *client, struct object_xml_list *page,
		       struct error *err)
{
	if (!page->is_v1 || page->next_token)
		return 0;
	client->is_list_v1 = true;
	page->next_token = TAKE_PTR(page->next_marker);
	if (!page->next_token && page->count > 0) {
		page->next_token = strdup(page->entries[page->count - 1].key);
		if (!page->next_token)
			return error_set(err, -ENOMEM, "out of memory");
	}
	return 0;
}

/* A marker is judged without its last slash. */
static bool is_safe(const char *relative, bool is_marker)
{
	_cleanup_free_ char *name = strndup(relative, strlen(relative) - is_marker);

	return name && object_list_is_safe(name);
}

enum want { WANT_FILES, WANT_MARKERS, WANT_ALL };

/* The answer came, but cannot be believed. */
static int name_list(const struct object_client *client, const char *prefix, int r,
		     struct error *err)
{
	error_tell_class(err);
	return error_prefix(err, r, "list objects of %s below '%s'", client->bucket, prefix);
}

static int visit_page(const struct object_client *client, const struct object_xml_list *page,
		      const char *prefix, enum want want,
		      int (*visit)(void *context, const char *relative, int64_t size,
				   struct error *err),
		      void *context, struct error *err)
{
	for (size_t i = 0; i < page->count; i++) {
		const char *key = page->entries[i].key;
		const char *relative = key + strlen(prefix);
		bool is_marker;
		int r;

		if (!text_has_prefix(key, prefix))
			return name_list(client, prefix,
					 error_set(err, -EBADMSG,
						   "illegal object key '%s': not below '%s'", key,
						   prefix),
					 err);
		/* What some tools leave to make a directory visible. */
		is_marker = *key == '\0' || text_has_suffix(key, "/");
		if (is_marker &&
		    (want == WANT_FILES || (want == WANT_MARKERS && *relative == '\0')))
			continue;
		if (want != WANT_ALL && !is_safe(relative, is_marker))
			return name_list(client, prefix,
					 error_set(err, -EBADMSG, "illegal object key '%s'", key),
					 err);
		r = visit(context, relative, page->entries[i].size, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Where the listing was a while ago. Keeping the pages 1, 2, 4, 8, … finds a server that goes round
 * in circles of any length (Brent's cycle detection). */
struct mark {
	char *token;
	char *key;
	unsigned page;
	unsigned next;
};

static void mark_done(struct mark *mark)
{
	free(mark->token);
	free(mark->key);
}

static bool is_equal(const char *a, const char *b)
{
	return a && b && strcmp(a, b) == 0;
}

static int check_progress(struct mark *mark, const struct object_xml_list *page, struct error *err)
{
	const char *key = page->count > 0 ? page->entries[0].key : NULL;

	if (!page->next_token || *page->next_token == '\0')
		return error_set(err, -EBADMSG,
				 "the server says that there is more, but gives no "
				 "token to continue with");
	if (is_equal(mark->token, page->next_token) || is_equal(mark->key, key))
		return error_set(err, -ELOOP, "the server repeats itself");
	if (++mark->page < mark->next)
		return 0;
	mark_done(mark);
	mark->token = strdup(page->next_token);
	mark->key = key ? strdup(key) : NULL;
	mark->next = 2 * mark->page;
	return mark->token && (mark->key || !key) ? 0 : error_set(err, -ENOMEM, "out of memory");
}

static int list(struct object_client *client, const char *prefix, enum want want,
		int (*visit)(void *context, const char *relative, int64_t size, struct error *err),
		void *context, struct error *err)
{
	struct object_xml_list page = { .is_truncated = true };
	_cleanup_(mark_done) struct mark mark = { 0 };
	_cleanup_free_ char *token = NULL;
	bool is_any = false;
	int r = object_client_make_ready(client, false, err);

	while (r == 0 && page.is_truncated) {
		r = get_page(client, prefix, token, &page, err);
		if (r < 0) {
			error_append(err, " (below '%s')", prefix);
			break;
		}
		if (page.is_truncated)
			r = find_marker(client, &page, err);
		if (r == 0 && page.is_truncated)
			r = check_progress(&mark, &page, err);
		if (r < 0)
			name_list(client, prefix, r, err);
		is_any |= page.count > 0;
		if (r == 0)
			r = visit_page(client, &page, prefix, want, visit, context, err);
		free(token);
		token = TAKE_PTR(page.next_token);
		object_xml_list_done(&(struct object_xml_list){ .entries = page.entries,
								.count = page.count,
								.next_marker = page.next_marker });
	}
	if (r == 0 && !is_any)
		return error_set(err, -ENOENT, "The specified key does not exist.");
	return r;
}

int object_list(struct object_client *client, const char *prefix,
		int (*visit)(void *context, const char *relative, int64_t size, struct error *err),
		void *context, struct error *err)
{
	return list(client, prefix, client->protocol->has_markers ? WANT_MARKERS : WANT_FILES,
		    visit, context, err);
}

int object_list_all(struct object_client *client, const char *prefix,
		    int (*visit)(void *context, const char *relative, int64_t size,
				 struct error *err),
		    void *context, struct error *err)
{
	return list(client, prefix, WANT_ALL, visit, context, err);
}
