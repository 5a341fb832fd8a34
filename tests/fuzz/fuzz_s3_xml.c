/* What an S3 or OSS server answers. Required: texts within their limits, printable on one line, regions and
 * keys fit for use; a refusal leaves nothing behind. */
#include "executor/artifact/object/list.h"
#include "executor/artifact/object/url.h"
#include "executor/artifact/object/xml.h"
#include "executor/artifact/object/xml_bucket.h"
#include "executor/base/cleanup.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/targets.h"

#include <string.h>

static void check_outcome(int r, struct error *err)
{
	if (r < 0)
		fuzz_check_error(r, err);
	*err = ERROR_NONE;
}

static void check_list(const char *data, size_t size)
{
	struct object_xml_list list;
	struct error err = ERROR_NONE;
	int r = object_xml_parse_list(data, size, &list, &err);

	check_outcome(r, &err);
	fuzz_require(r == 0 || (!list.entries && list.count == 0 && !list.next_token));
	fuzz_require(list.count <= list.capacity);
	for (size_t i = 0; i < list.count; i++) {
		fuzz_require(list.entries[i].key && list.entries[i].size >= 0);
		fuzz_require(strlen(list.entries[i].key) <= OBJECT_XML_TEXT_MAX);
		object_list_is_safe(list.entries[i].key);
	}
	fuzz_require(!list.next_token || strlen(list.next_token) <= OBJECT_XML_TEXT_MAX);
	object_xml_list_done(&list);
}

static void check_deleted(const char *data, size_t size)
{
	struct object_xml_list list;
	struct error err = ERROR_NONE;
	int r = object_xml_parse_deleted(data, size, &list, &err);

	check_outcome(r, &err);
	fuzz_require(r == 0 || (!list.entries && list.count == 0));
	for (size_t i = 0; i < list.count; i++)
		fuzz_require(list.entries[i].key && list.entries[i].size == -1);
	object_xml_list_done(&list);
}

static void check_error_document(const char *data, size_t size)
{
	struct object_xml_error error;

	if (!object_xml_parse_error(data, size, &error))
		return;
	fuzz_check_line(error.code);
	fuzz_check_line(error.message);
	fuzz_check_line(error.request_id);
	fuzz_check_line(error.ec);
	fuzz_check_line(error.endpoint);
	fuzz_require(!error.region[0] || object_url_is_region(error.region));
}

/* Rules lie in the document one behind the other: they are copied from there. */
static void check_rules(const char *data, size_t size)
{
	struct object_xml_rules rules;
	struct error err = ERROR_NONE;
	int r = object_xml_parse_rules(data, size, &rules, &err);
	size_t end = 0;

	check_outcome(r, &err);
	fuzz_require(r == 0 || (!rules.rules && rules.count == 0));
	for (size_t i = 0; i < rules.count; i++) {
		fuzz_require(rules.rules[i].offset >= end && rules.rules[i].size >= 13);
		end = rules.rules[i].offset + rules.rules[i].size;
		fuzz_require(end <= size);
	}
	object_xml_rules_done(&rules);
}

void fuzz_s3_xml(const char *data, size_t size)
{
	_cleanup_free_ char *id = NULL, *bucket = NULL;
	const struct object_xml_wanted wanted = { .key = "k",
						  .is_below_too = size % 2,
						  .to_s = INT64_MAX };
	_cleanup_upload_ struct object_xml_upload found = { 0 };
	char etag[STORE_ETAG_MAX];
	char region[OBJECT_REGION_MAX] = "";
	struct error err = ERROR_NONE;
	int r;

	check_list(data, size);
	check_deleted(data, size);
	check_error_document(data, size);
	check_rules(data, size);
	r = object_xml_parse_first_bucket(data, size, &bucket, &err);
	fuzz_require((r == 0) == (bucket != NULL));
	check_outcome(r, &err);
	r = object_xml_parse_upload(data, size, &id, &err);
	fuzz_require((r == 0) == (id != NULL));
	fuzz_require(!id || (*id && strlen(id) <= OBJECT_XML_TEXT_MAX));
	check_outcome(r, &err);
	r = object_xml_find_upload(data, size, &wanted, &found, &err);
	fuzz_require(!found.id == !found.key && (!found.key || found.key[0] == 'k'));
	check_outcome(r, &err);
	r = object_xml_parse_complete(data, size, etag, &err);
	fuzz_require(r < 0 || strlen(etag) < sizeof(etag));
	check_outcome(r, &err);
	r = object_xml_parse_location(data, size, region, &err);
	fuzz_require(r < 0 || object_url_is_region(region));
	check_outcome(r, &err);
}
