#include "executor/report/result_body.h"

#include "executor/base/cleanup.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#define API_VERSION "argoproj.io/v1alpha1"
#define LABEL_WORKFLOW "workflows.argoproj.io/workflow"
#define LABEL_FINAL "workflows.argoproj.io/report-outputs-completed"
#define LABEL_INSTANCE "workflows.argoproj.io/controller-instanceid"
#define ANNOTATION_POD "tiphys/pod-uid"

static int append_segment(struct buffer *path, const char *s)
{
	int r = 0;

	for (; *s && r == 0; s++)
		r = isalnum((unsigned char)*s) || strchr("-._~", *s) ?
			    buffer_append(path, s, 1) :
			    buffer_append_format(path, "%%%02X", (unsigned char)*s);
	return r;
}

char *result_body_path(const char *namespace, const char *name)
{
	_cleanup_buffer_ struct buffer path = BUFFER_INIT(4096);
	int r = buffer_append_string(&path, "/apis/" API_VERSION "/namespaces/");

	if (r == 0)
		r = append_segment(&path, namespace);
	if (r == 0)
		r = buffer_append_string(&path, "/workflowtaskresults");
	if (r == 0 && name)
		r = buffer_append_string(&path, "/");
	if (r == 0 && name)
		r = append_segment(&path, name);
	return r == 0 ? buffer_take(&path) : NULL;
}

static int set_fields(struct json_object *object, const struct result_fields *fields)
{
	int r = 0;

	if (fields->outputs)
		r = json_set(object, "outputs", json_ref(fields->outputs));
	if (r == 0 && fields->progress)
		r = json_set_string(object, "progress", fields->progress);
	return r;
}

static int print(struct json_object *object, struct buffer *out)
{
	buffer_reset(out);
	return json_print(object, out, NULL);
}

/* Each of these hangs what it makes into `parent` and lends it. */
static struct json_object *add_object(struct json_object *parent, const char *key)
{
	struct json_object *object = json_new_object();

	return json_set(parent, key, object) == 0 ? object : NULL;
}

static struct json_object *add_array(struct json_object *parent, const char *key)
{
	struct json_object *array = json_new_array();

	return json_set(parent, key, array) == 0 ? array : NULL;
}

static int set_labels(struct json_object *metadata, const struct task_result_identity *identity)
{
	struct json_object *labels = add_object(metadata, "labels");
	int r;

	if (!labels)
		return -ENOMEM;
	r = json_set_string(labels, LABEL_WORKFLOW, identity->workflow_name);
	if (r == 0)
		r = json_set_string(labels, LABEL_FINAL, "false");
	if (r == 0 && identity->instance_id && *identity->instance_id)
		r = json_set_string(labels, LABEL_INSTANCE, identity->instance_id);
	return r;
}

static int set_pod(struct json_object *metadata, const struct task_result_identity *identity)
{
	struct json_object *annotations;

	if (!identity->pod_uid || !*identity->pod_uid)
		return 0;
	annotations = add_object(metadata, "annotations");
	return annotations ? json_set_string(annotations, ANNOTATION_POD, identity->pod_uid) :
			     -ENOMEM;
}

static int set_owner(struct json_object *metadata, const struct task_result_identity *identity)
{
	struct json_object *owners = add_array(metadata, "ownerReferences");
	struct json_object *owner = json_new_object();
	int r;

	if (!owners || json_append(owners, owner) < 0)
		return -ENOMEM;
	r = json_set_string(owner, "apiVersion", API_VERSION);
	if (r == 0)
		r = json_set_string(owner, "kind", "Workflow");
	if (r == 0)
		r = json_set_string(owner, "name", identity->workflow_name);
	return r == 0 ? json_set_string(owner, "uid", identity->workflow_uid) : r;
}

int result_body_create(const struct task_result_identity *identity,
		       const struct result_fields *fields, struct buffer *out)
{
	_cleanup_json_ struct json_object *object = json_new_object();
	struct json_object *metadata;
	int r;

	if (!object)
		return -ENOMEM;
	metadata = add_object(object, "metadata");
	if (!metadata)
		return -ENOMEM;
	r = json_set_string(object, "apiVersion", API_VERSION);
	if (r == 0)
		r = json_set_string(object, "kind", "WorkflowTaskResult");
	if (r == 0)
		r = json_set_string(metadata, "name", identity->node_id);
	if (r == 0)
		r = set_labels(metadata, identity);
	if (r == 0)
		r = set_pod(metadata, identity);
	if (r == 0)
		r = set_owner(metadata, identity);
	if (r == 0)
		r = set_fields(object, fields);
	return r == 0 ? print(object, out) : r;
}

static int patch(const char *version, const char *final, const struct result_fields *fields,
		 struct buffer *out)
{
	_cleanup_json_ struct json_object *object = json_new_object();
	struct json_object *metadata, *labels;
	int r = 0;

	if (!object)
		return -ENOMEM;
	metadata = add_object(object, "metadata");
	if (!metadata)
		return -ENOMEM;
	if (version)
		r = json_set_string(metadata, "resourceVersion", version);
	if (r == 0 && final) {
		labels = add_object(metadata, "labels");
		r = labels ? json_set_string(labels, LABEL_FINAL, final) : -ENOMEM;
	}
	if (r == 0)
		r = set_fields(object, fields);
	return r == 0 ? print(object, out) : r;
}

int result_body_patch(const char *version, const struct result_fields *fields, struct buffer *out)
{
	return patch(version, NULL, fields, out);
}

int result_body_finalize(const char *version, bool is_final, struct buffer *out)
{
	return patch(version, is_final ? "true" : "false",
		     &(struct result_fields){ .outputs = NULL }, out);
}

int result_body_renew(const struct task_result_identity *identity, const char *version,
		      struct buffer *out)
{
	static const char *const members[] = { "outputs", "progress", "message", "phase" };
	_cleanup_json_ struct json_object *object = json_new_object();
	struct json_object *metadata, *labels;
	int r = 0;

	if (!object)
		return -ENOMEM;
	metadata = add_object(object, "metadata");
	labels = metadata ? add_object(metadata, "labels") : NULL;
	if (!labels)
		return -ENOMEM;
	if (version)
		r = json_set_string(metadata, "resourceVersion", version);
	if (r == 0)
		r = json_set_string(labels, LABEL_FINAL, "false");
	if (r == 0)
		r = set_pod(metadata, identity);
	for (size_t i = 0; r == 0 && i < sizeof(members) / sizeof(*members); i++)
		r = json_set_null(object, members[i]);
	return r == 0 ? print(object, out) : r;
}

static int visit_wanted(const char *key, struct json_object *value, void *context)
{
	return result_body_contains(json_get(context, key), value) ? 0 : 1;
}

bool result_body_contains(struct json_object *present, struct json_object *wanted)
{
	if (json_is_object(wanted))
		return json_is_object(present) && json_each(wanted, visit_wanted, present) == 0;
	return json_equal(present, wanted);
}

bool result_body_is_final(struct json_object *object)
{
	struct json_object *labels = json_find(object, "metadata", "labels", NULL);

	return !strcmp(json_get_string(labels, LABEL_FINAL, ""), "true");
}

const char *result_body_pod(struct json_object *object)
{
	struct json_object *annotations = json_find(object, "metadata", "annotations", NULL);

	return json_get_string(annotations, ANNOTATION_POD, NULL);
}
