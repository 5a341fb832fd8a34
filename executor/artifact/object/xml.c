#include "executor/artifact/object/xml.h"

#include "executor/artifact/object/xml_walk.h"
#include "executor/artifact/secret.h"
#include "executor/base/buffer.h"
#include "executor/base/cleanup.h"
#include "executor/base/clock.h"
#include "executor/base/text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* --- Error -------------------------------------------------------------------------------- */

static void copy_printable(char *to, size_t size, const char *s)
{
	size_t length = text_cut_utf8(s, strlen(s), size - 1);

	memcpy(to, s, length);
	to[length] = '\0';
	for (char *p = to; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = ' ';
}

static int on_error_element(void *context, const char *path, const char *text)
{
	struct object_xml_error *error = context;

	/* Where STS wraps it. */
	if (text_has_prefix(path, "ErrorResponse/"))
		path += strlen("ErrorResponse/");
	if (strcmp(path, "Error/Code") == 0)
		copy_printable(error->code, sizeof(error->code), text);
	else if (strcmp(path, "Error/Message") == 0)
		copy_printable(error->message, sizeof(error->message), text);
	else if (strcmp(path, "Error/RequestId") == 0)
		copy_printable(error->request_id, sizeof(error->request_id), text);
	else if (strcmp(path, "Error/EC") == 0)
		copy_printable(error->ec, sizeof(error->ec), text);
	else if (strcmp(path, "Error/Endpoint") == 0)
		copy_printable(error->endpoint, sizeof(error->endpoint), text);
	else if (strcmp(path, "Error/Region") == 0 && object_url_is_region(text))
		copy_printable(error->region, sizeof(error->region), text);
	return 0;
}

bool object_xml_parse_error(const char *data, size_t size, struct object_xml_error *ret)
{
	*ret = (struct object_xml_error){ 0 };
	if (size == 0)
		return false;
	/* What was understood before a cut or an oddity still tells what went wrong. */
	(void)xml_walk(data, size, "Error", on_error_element, ret, NULL);
	return ret->code[0] != '\0';
}

/* --- ListBucketResult ----------------------------------------------------------------------- */

struct list_parse {
	struct object_xml_list *list;
	bool is_list;
	bool is_encoded;
};

void object_xml_list_done(struct object_xml_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->entries[i].key);
	free(list->entries);
	free(list->next_token);
	free(list->next_marker);
	*list = (struct object_xml_list){ 0 };
}

static int add_entry(struct object_xml_list *list)
{
	struct object_xml_entry *entries;
	size_t capacity = list->capacity ? 2 * list->capacity : 64;

	if (list->count == list->capacity) {
		entries = realloc(list->entries, capacity * sizeof(*entries));
		if (!entries)
			return -ENOMEM;
		list->entries = entries;
		list->capacity = capacity;
	}
	list->entries[list->count++] = (struct object_xml_entry){ .size = -1 };
	return 0;
}

/* The entry whose elements are arriving: one without its end yet sits behind the last. */
static int set_entry(struct object_xml_list *list, const char *field, const char *text)
{
	struct object_xml_entry *entry;
	int r = 0;

	if (list->count == 0 ||
	    (list->entries[list->count - 1].key && list->entries[list->count - 1].size >= 0))
		r = add_entry(list);
	if (r < 0)
		return r;
	entry = &list->entries[list->count - 1];
	if (strcmp(field, "Size") == 0)
		return text_parse_int64(text, &entry->size) < 0 || entry->size < 0 ? -EBADMSG : 0;
	if (entry->key)
		return -EBADMSG;
	entry->key = strdup(text);
	return entry->key ? 0 : -ENOMEM;
}

static int on_list_element(void *context, const char *path, const char *text)
{
	static const char contents[] = "ListBucketResult/Contents/";
	struct list_parse *parse = context;
	struct object_xml_list *list = parse->list;

	if (strcmp(path, "ListBucketResult") == 0) {
		parse->is_list = true;
	} else if (strcmp(path, "ListBucketResult/IsTruncated") == 0) {
		list->is_truncated = strcmp(text, "true") == 0;
	} else if (strcmp(path, "ListBucketResult/EncodingType") == 0) {
		parse->is_encoded = strcmp(text, "url") == 0;
	} else if (strcmp(path, "ListBucketResult/NextContinuationToken") == 0) {
		return xml_take_text(&list->next_token, text);
	} else if (strcmp(path, "ListBucketResult/Marker") == 0) {
		list->is_v1 = true;
	} else if (strcmp(path, "ListBucketResult/NextMarker") == 0) {
		return xml_take_text(&list->next_marker, text);
	} else if (text_has_prefix(path, contents)) {
		const char *field = path + sizeof(contents) - 1;

		if (strcmp(field, "Key") == 0 || strcmp(field, "Size") == 0)
			return set_entry(list, field, text);
	} else if (strcmp(path, "ListBucketResult/Contents") == 0) {
		const struct object_xml_entry *last =
			list->count > 0 ? &list->entries[list->count - 1] : NULL;

		return last && last->key && last->size >= 0 ? 0 : -EBADMSG;
	}
	return 0;
}

int object_xml_parse_list(const char *data, size_t size, struct object_xml_list *ret,
			  struct error *err)
{
	struct list_parse parse = { .list = ret };
	int r;

	*ret = (struct object_xml_list){ 0 };
	r = xml_walk(data, size, "ListBucketResult", on_list_element, &parse, err);
	if (r == 0 && !parse.is_list)
		r = error_set(err, -EBADMSG, "the answer is no ListBucketResult document");
	for (size_t i = 0; i < ret->count && r == 0 && parse.is_encoded; i++)
		if (object_url_decode(ret->entries[i].key) < 0)
			r = error_set(err, -EBADMSG, "illegal object key '%s' in a listing",
				      ret->entries[i].key);
	if (r == 0 && parse.is_encoded && ret->next_marker &&
	    object_url_decode(ret->next_marker) < 0)
		r = error_set(err, -EBADMSG, "illegal NextMarker in a listing");
	if (r < 0)
		object_xml_list_done(ret);
	return r;
}

/* --- Deletions -------------------------------------------------------------------------------- */

struct delete_parse {
	struct object_xml_list *list;
	bool is_result;
};

static int on_delete_element(void *context, const char *path, const char *text)
{
	struct delete_parse *parse = context;
	int r;

	if (strcmp(path, "DeleteResult") == 0)
		parse->is_result = true;
	if (strcmp(path, "DeleteResult/Error/Key") != 0)
		return 0;
	r = add_entry(parse->list);
	return r < 0 ? r : xml_take_text(&parse->list->entries[parse->list->count - 1].key, text);
}

int object_xml_parse_deleted(const char *data, size_t size, struct object_xml_list *ret,
			     struct error *err)
{
	struct delete_parse parse = { .list = ret };
	int r;

	*ret = (struct object_xml_list){ 0 };
	r = xml_walk(data, size, "DeleteResult", on_delete_element, &parse, err);
	if (r == 0 && !parse.is_result)
		r = error_set(err, -EBADMSG, "the answer is no DeleteResult document");
	if (r < 0)
		object_xml_list_done(ret);
	return r;
}

/* --- Keys --------------------------------------------------------------------------------------- */

struct keys_parse {
	char *access_key, *secret_key, *token, *expiration;
};

static int on_keys_element(void *context, const char *path, const char *text)
{
	struct keys_parse *parse = context;
	const char *inner = strstr(path, "Result/Credentials/");

	if (!inner)
		return 0;
	inner += strlen("Result/Credentials/");
	if (strcmp(inner, "AccessKeyId") == 0)
		return xml_take_text(&parse->access_key, text);
	if (strcmp(inner, "SecretAccessKey") == 0)
		return xml_take_text(&parse->secret_key, text);
	if (strcmp(inner, "SessionToken") == 0)
		return xml_take_text(&parse->token, text);
	if (strcmp(inner, "Expiration") == 0)
		return xml_take_text(&parse->expiration, text);
	return 0;
}

static int take_keys(const struct keys_parse *parse, struct object_keys *ret, struct error *err)
{
	int64_t expires_s;
	int r;

	if (!parse->access_key || !parse->secret_key || !parse->token || !parse->expiration ||
	    clock_parse_rfc3339(parse->expiration, &expires_s) < 0)
		return error_set(err, -EBADMSG,
				 "the answer lacks AccessKeyId, SecretAccessKey, SessionToken or "
				 "Expiration");
	r = object_keys_set(ret, parse->access_key, parse->secret_key, parse->token, err);
	ret->expires_s = expires_s;
	return r;
}

int object_xml_parse_keys(const char *data, size_t size, struct object_keys *ret, struct error *err)
{
	struct keys_parse parse = { 0 };
	int r;

	*ret = (struct object_keys){ 0 };
	r = xml_walk(data, size, "Credentials", on_keys_element, &parse, err);
	if (r == 0)
		r = take_keys(&parse, ret, err);
	free(parse.access_key);
	secret_free_string(parse.secret_key);
	secret_free_string(parse.token);
	free(parse.expiration);
	return r;
}

/* --- Multipart uploads ---------------------------------------------------------------------- */

static int on_upload_element(void *context, const char *path, const char *text)
{
	if (strcmp(path, "InitiateMultipartUploadResult/UploadId") == 0)
		return xml_take_text(context, text);
	return 0;
}

int object_xml_parse_upload(const char *data, size_t size, char **ret_id, struct error *err)
{
	char *id = NULL;
	int r = xml_walk(data, size, "InitiateMultipartUploadResult", on_upload_element, &id, err);

	if (r == 0 && (!id || *id == '\0'))
		r = error_set(err, -EBADMSG, "the answer names no UploadId");
	if (r < 0) {
		free(id);
		return r;
	}
	*ret_id = id;
	return 0;
}

struct upload_search {
	const struct object_xml_wanted *wanted;
	struct object_xml_upload upload, found;
	int64_t initiated_s;
};

void object_xml_upload_done(struct object_xml_upload *upload)
{
	free(TAKE_PTR(upload->key));
	free(TAKE_PTR(upload->id));
}

static bool is_wanted_key(const struct object_xml_wanted *wanted, const char *key)
{
	size_t size = strlen(wanted->key);

	return strncmp(key, wanted->key, size) == 0 &&
	       (key[size] == '\0' || (wanted->is_below_too && key[size] == '/'));
}

static int end_upload(struct upload_search *search)
{
	const struct object_xml_wanted *wanted = search->wanted;

	struct object_xml_upload *upload = &search->upload;

	if (!search->found.id && upload->key && upload->id && is_wanted_key(wanted, upload->key) &&
	    search->initiated_s >= wanted->from_s && search->initiated_s <= wanted->to_s &&
	    (!wanted->other || strcmp(upload->id, wanted->other) != 0)) {
		search->found = *upload;
		*upload = (struct object_xml_upload){ 0 };
	}
	object_xml_upload_done(upload);
	search->initiated_s = 0;
	return 0;
}

static int on_listed_upload(void *context, const char *path, const char *text)
{
	struct upload_search *search = context;

	if (strcmp(path, "ListMultipartUploadsResult/Upload/Key") == 0)
		return xml_take_text(&search->upload.key, text);
	if (strcmp(path, "ListMultipartUploadsResult/Upload/UploadId") == 0)
		return xml_take_text(&search->upload.id, text);
	if (strcmp(path, "ListMultipartUploadsResult/Upload/Initiated") == 0 &&
	    clock_parse_rfc3339(text, &search->initiated_s) < 0)
		search->initiated_s = 0;
	return strcmp(path, "ListMultipartUploadsResult/Upload") == 0 ? end_upload(search) : 0;
}

int object_xml_find_upload(const char *data, size_t size, const struct object_xml_wanted *wanted,
			   struct object_xml_upload *ret, struct error *err)
{
	struct upload_search search = { .wanted = wanted };
	int r = xml_walk(data, size, "ListMultipartUploadsResult", on_listed_upload, &search, err);

	object_xml_upload_done(&search.upload);
	if (r < 0) {
		object_xml_upload_done(&search.found);
		return r;
	}
	*ret = search.found;
	return 0;
}

static int on_complete_element(void *context, const char *path, const char *text)
{
	char **etag = context;

	if (strcmp(path, "CompleteMultipartUploadResult/ETag") == 0 && *text && !*etag)
		return xml_take_text(etag, text);
	return 0;
}

int object_xml_parse_complete(const char *data, size_t size, char etag[STORE_ETAG_MAX],
			      struct error *err)
{
	_cleanup_free_ char *text = NULL;
	int r = xml_walk(data, size, "CompleteMultipartUploadResult", on_complete_element, &text,
			 err);

	if (r < 0)
		return r;
	if (!text)
		return error_set(err, -EBADMSG, "the answer names no ETag");
	if ((size_t)snprintf(etag, STORE_ETAG_MAX, "%s", text) >= STORE_ETAG_MAX)
		etag[0] = '\0';
	return 0;
}

/* --- Writing --------------------------------------------------------------------------------- */

int object_xml_escape(struct buffer *out, const char *s)
{
	int r = 0;

	for (; *s && r == 0; s++) {
		if (*s == '&')
			r = buffer_append_string(out, "&amp;");
		else if (*s == '<')
			r = buffer_append_string(out, "&lt;");
		else if (*s == '>')
			r = buffer_append_string(out, "&gt;");
		else
			r = buffer_append(out, s, 1);
	}
	return r;
}
