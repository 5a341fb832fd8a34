#include "executor/artifact/object/xml_bucket.h"

#include "executor/artifact/object/xml_walk.h"
#include "executor/base/cleanup.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* --- The first of all buckets ------------------------------------------------------------------ */

static int on_bucket_element(void *context, const char *path, const char *text)
{
	char **name = context;

	if (strcmp(path, "ListAllMyBucketsResult/Buckets/Bucket/Name") == 0 && !*name)
		return xml_take_text(name, text);
	return 0;
}

int object_xml_parse_first_bucket(const char *data, size_t size, char **ret_name, struct error *err)
{
	char *name = NULL;
	int r = xml_walk(data, size, "ListAllMyBucketsResult", on_bucket_element, &name, err);

	if (r == 0 && !name) {
		name = strdup("");
		r = name ? 0 : error_set(err, -ENOMEM, "out of memory");
	}
	if (r < 0) {
		free(name);
		return r;
	}
	*ret_name = name;
	return 0;
}

/* --- Lifecycle rules ----------------------------------------------------------------------------- */

struct rules_parse {
	struct object_xml_rules *rules;
	char *id;
};

static int on_rule_element(void *context, const char *path, const char *text)
{
	struct rules_parse *parse = context;
	struct object_xml_rules *rules = parse->rules;
	struct object_xml_rule *more;

	if (strcmp(path, "LifecycleConfiguration/Rule/ID") == 0)
		return xml_take_text(&parse->id, text);
	if (strcmp(path, "LifecycleConfiguration/Rule") != 0)
		return 0;
	more = realloc(rules->rules, (rules->count + 1) * sizeof(*more));
	if (!more)
		return -ENOMEM;
	rules->rules = more;
	rules->rules[rules->count++] = (struct object_xml_rule){ .id = TAKE_PTR(parse->id) };
	return 0;
}

void object_xml_rules_done(struct object_xml_rules *rules)
{
	for (size_t i = 0; i < rules->count; i++)
		free(rules->rules[i].id);
	free(rules->rules);
	*rules = (struct object_xml_rules){ 0 };
}

/* A document that was parsed: "<Rule" and "</Rule>" cannot stand in text, and other elements of that
 * name do not occur. */
static int locate_rules(const char *data, size_t size, struct object_xml_rules *rules)
{
	const char *p = data, *end = data + size;

	for (size_t i = 0; i < rules->count; i++) {
		const char *first = memmem(p, (size_t)(end - p), "<Rule>", 6);
		const char *last = first ? memmem(first, (size_t)(end - first), "</Rule>", 7) :
					   NULL;

		if (!last)
			return -EBADMSG;
		rules->rules[i].offset = (size_t)(first - data);
		rules->rules[i].size = (size_t)(last + 7 - first);
		p = last + 7;
	}
	return memmem(p, (size_t)(end - p), "<Rule>", 6) ? -EBADMSG : 0;
}

int object_xml_parse_rules(const char *data, size_t size, struct object_xml_rules *ret,
			   struct error *err)
{
	struct rules_parse parse = { .rules = ret };
	int r;

	*ret = (struct object_xml_rules){ 0 };
	r = xml_walk(data, size, "LifecycleConfiguration", on_rule_element, &parse, err);
	free(parse.id);
	if (r == 0 && locate_rules(data, size, ret) < 0)
		r = error_set(err, -EBADMSG, "unreadable LifecycleConfiguration document");
	if (r < 0)
		object_xml_rules_done(ret);
	return r;
}

/* --- Region ----------------------------------------------------------------------------------- */

static int on_location_element(void *context, const char *path, const char *text)
{
	if (strcmp(path, "LocationConstraint") == 0)
		return xml_take_text(context, text);
	return 0;
}

int object_xml_parse_location(const char *data, size_t size, char region[OBJECT_REGION_MAX],
			      struct error *err)
{
	_cleanup_free_ char *text = NULL;
	const char *name;
	int r = xml_walk(data, size, "LocationConstraint", on_location_element, &text, err);

	if (r < 0)
		return r;
	if (!text)
		return error_set(err, -EBADMSG, "the answer is no LocationConstraint document");
	name = *text == '\0' ? "us-east-1" : strcmp(text, "EU") == 0 ? "eu-west-1" : text;
	if (!object_url_is_region(name))
		return error_set(err, -EBADMSG, "the server names an impossible region");
	memcpy(region, name, strlen(name) + 1);
	return 0;
}
