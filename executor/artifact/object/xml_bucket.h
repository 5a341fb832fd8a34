/* What servers tell of buckets, as against the objects in them: under the limits of xml.h. */
#pragma once

#include "executor/artifact/object/url.h"
#include "executor/base/error.h"

#include <stddef.h>

/* The first bucket of a ListAllMyBucketsResult, "" if there is none; the caller frees it. */
int object_xml_parse_first_bucket(const char *data, size_t size, char **ret_name,
				  struct error *err);

/* One Rule of a LifecycleConfiguration: where it stands in the document, and its name. */
struct object_xml_rule {
	size_t offset, size;
	char *id; /* "" = none */
};
struct object_xml_rules {
	struct object_xml_rule *rules;
	size_t count;
};
int object_xml_parse_rules(const char *data, size_t size, struct object_xml_rules *ret,
			   struct error *err);
void object_xml_rules_done(struct object_xml_rules *rules);

/* LocationConstraint, translated to a region: "" is us-east-1, "EU" is eu-west-1. */
int object_xml_parse_location(const char *data, size_t size, char region[OBJECT_REGION_MAX],
			      struct error *err);
