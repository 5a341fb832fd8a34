#include "executor/artifact/oss/lifecycle.h"

#include "executor/artifact/object/sign.h"
#include "executor/artifact/object/xml_bucket.h"
#include "executor/base/cleanup.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* OSS_RULES_MAX rules with the longest keys, escaped. */
#define DOCUMENT_BYTES_MAX (8 * 1024 * 1024)

/* --- The document -------------------------------------------------------------------------------- */

static int append_rule(struct buffer *out, const struct oss_config *config, const char *id)
{
	int r = buffer_append_format(out, "<Rule><ID>%s</ID><Prefix>", id);

	if (r == 0)
		r = object_xml_escape(out, config->key);
	if (r == 0)
		r = buffer_append_string(out, "</Prefix><Status>Enabled</Status>");
	if (r == 0 && config->access_days > 0)
		r = buffer_append_format(out,
					 "<Transition><Days>%" PRIi64
					 "</Days><StorageClass>IA</StorageClass></Transition>",
					 config->access_days);
	if (r == 0 && config->deletion_days > 0)
		r = buffer_append_format(out,
					 "<Expiration><Days>%" PRIi64
					 "</Days></Expiration><AbortMultipartUpload><Days>%" PRIi64
					 "</Days></AbortMultipartUpload>",
					 config->deletion_days, config->deletion_days);
	return r < 0 ? r : buffer_append_string(out, "</Rule>");
}

/* Names that this file gives: a SHA-256 in hexadecimal. */
static bool is_ours(const char *id)
{
	return strspn(id, "0123456789abcdef") == SIGN_HEX_SIZE - 1 && id[SIGN_HEX_SIZE - 1] == '\0';
}

static int append_others(struct buffer *out, const struct buffer *old,
			 const struct object_xml_rules *rules, const char *id)
{
	size_t surplus = rules->count >= OSS_RULES_MAX ? rules->count - OSS_RULES_MAX + 1 : 0;
	int r = 0;

	for (size_t i = 0; i < rules->count && r == 0; i++) {
		const struct object_xml_rule *rule = &rules->rules[i];
		const char *name = rule->id ? rule->id : "";

		if (strcmp(name, id) == 0)
			continue;
		if (surplus > 0 && is_ours(name)) {
			surplus--;
			continue;
		}
		r = buffer_append(out, old->data + rule->offset, rule->size);
	}
	return r;
}

static bool is_same_rule(const struct buffer *old, const struct object_xml_rules *rules,
			 const struct buffer *rule, const char *id)
{
	for (size_t i = 0; i < rules->count; i++)
		if (rules->rules[i].id && strcmp(rules->rules[i].id, id) == 0)
			return rules->rules[i].size == rule->size &&
			       memcmp(old->data + rules->rules[i].offset, rule->data, rule->size) ==
				       0;
	return false;
}

int oss_lifecycle_build(const struct oss_config *config, const struct buffer *old,
			struct buffer *out, bool *ret_is_same, struct error *err)
{
	_cleanup_buffer_ struct buffer rule = BUFFER_INIT(DOCUMENT_BYTES_MAX);
	_cleanup_(object_xml_rules_done) struct object_xml_rules rules = { 0 };
	char id[SIGN_HEX_SIZE];
	int r = sign_hash(config->key, strlen(config->key), id);

	if (r == 0)
		r = append_rule(&rule, config, id);
	if (r < 0)
		return error_errno(err, r, "make a lifecycle rule");
	if (old->size > 0)
		r = object_xml_parse_rules(old->data, old->size, &rules, err);
	if (r < 0)
		return r;
	*ret_is_same = is_same_rule(old, &rules, &rule, id);
	r = buffer_append_string(out, "<LifecycleConfiguration>");
	if (r == 0)
		r = append_others(out, old, &rules, id);
	if (r == 0)
		r = buffer_append(out, rule.data, rule.size);
	if (r == 0)
		r = buffer_append_string(out, "</LifecycleConfiguration>");
	return r < 0 ? error_errno(err, r, "make a lifecycle configuration") : 0;
}

/* --- Requests ------------------------------------------------------------------------------------ */

static const struct object_query query[] = { { "lifecycle", "" }, { NULL, NULL } };

/* None is no failure. */
static int get(struct oss_client *client, struct buffer *ret, struct error *err)
{
	const struct object_call call = {
		.operation = "get lifecycle rules of",
		.method = "GET",
		.query = query,
		.body_max = DOCUMENT_BYTES_MAX,
	};
	struct object_failure failure;
	struct http_response response;
	int r = object_perform(&client->base, &call, &response, &failure, err);

	if (r < 0 && strcmp(failure.error.code, "NoSuchLifecycle") == 0)
		r = 0;
	else if (r == 0 && response.is_body_cut)
		r = error_set(err, -EMSGSIZE, "the lifecycle rules of %s exceed %d bytes",
			      client->config.bucket, DOCUMENT_BYTES_MAX);
	else if (r == 0)
		r = buffer_append(ret, response.body.data, response.body.size);
	http_response_done(&response);
	return r;
}

int oss_lifecycle_set(struct oss_client *client, struct error *err)
{
	_cleanup_buffer_ struct buffer old = BUFFER_INIT(DOCUMENT_BYTES_MAX);
	_cleanup_buffer_ struct buffer new = BUFFER_INIT(DOCUMENT_BYTES_MAX);
	struct object_call call = {
		.operation = "set lifecycle rules of",
		.method = "PUT",
		.query = query,
		.content_type = "application/xml",
	};
	struct http_response response;
	bool is_same = false;
	int r = get(client, &old, err);

	if (r == 0)
		r = oss_lifecycle_build(&client->config, &old, &new, &is_same, err);
	if (r < 0 || is_same)
		return r;
	call.body = (struct http_body){ .data = new.data, .size = new.size };
	r = object_perform(&client->base, &call, &response, NULL, err);
	http_response_done(&response);
	return r;
}
