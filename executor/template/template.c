#include "executor/template/template.h"

#include "executor/base/fd.h"
#include "executor/base/path.h"
#include "executor/template/location.h"
#include "executor/template/template_check.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int remember(struct template *template, char *text)
{
	char **grown = reallocarray(template->cleaned, template->cleaned_count + 1, sizeof(char *));

	if (!grown || !text) {
		if (grown)
			template->cleaned = grown;
		free(text);
		return -ENOMEM;
	}
	template->cleaned = grown;
	template->cleaned[template->cleaned_count++] = text;
	return 0;
}

void template_free(struct template *template)
{
	if (!template)
		return;
	for (size_t i = 0; i < template->cleaned_count; i++)
		free(template->cleaned[i]);
	free(template->cleaned);
	free(template->inputs);
	free(template->outputs);
	free(template->mounts);
	free(template->containers);
	json_free(template->json);
	free(template);
}

static enum template_type type_of(struct json_object *json)
{
	static const struct {
		const char *field;
		enum template_type type;
	} types[] = {
		{ "container", TEMPLATE_CONTAINER },
		{ "script", TEMPLATE_SCRIPT },
		{ "containerSet", TEMPLATE_CONTAINER_SET },
		{ "resource", TEMPLATE_RESOURCE },
		{ "data", TEMPLATE_DATA },
	};

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (json_is_object(json_get(json, types[i].field)))
			return types[i].type;
	return TEMPLATE_OTHER;
}

static void read_archive(struct json_object *json, struct template_artifact *ret)
{
	struct json_object *archive = json_get(json, "archive");

	ret->compression_level = -1;
	if (json_get(archive, "none")) {
		ret->archive = ARCHIVE_NONE;
	} else if (json_get(archive, "zip")) {
		ret->archive = ARCHIVE_ZIP;
	} else if (json_get(archive, "tar")) {
		ret->archive = ARCHIVE_TAR;
		ret->compression_level =
			(int)json_get_int(json_get(archive, "tar"), "compressionLevel", -1);
	}
}

static int read_artifact(struct template *template, struct json_object *json,
			 struct template_artifact *ret)
{
	char *path = path_clean(json_get_string(json, "path", ""));

	if (remember(template, path) < 0)
		return -ENOMEM;
	location_tidy(json);
	*ret = (struct template_artifact){
		.json = json,
		.name = json_get_string(json, "name", ""),
		.path = path,
		.is_optional = json_get_bool(json, "optional", false),
		.has_mode = json_get(json, "mode") != NULL,
		.mode = (unsigned)json_get_int(json, "mode", 0),
		.is_mode_recursive = json_get_bool(json, "recurseMode", false),
	};
	read_archive(json, ret);
	return 0;
}

static int read_artifacts(struct template *template, const char *direction,
			  struct template_artifact **ret, size_t *ret_count)
{
	struct json_object *list = json_find(template->json, direction, "artifacts", NULL);
	size_t count = json_length(list);

	*ret = calloc(count + 1, sizeof(**ret));
	if (!*ret)
		return -ENOMEM;
	for (; *ret_count < count; (*ret_count)++) {
		int r = read_artifact(template, json_at(list, *ret_count), &(*ret)[*ret_count]);

		if (r < 0)
			return r;
	}
	return 0;
}

static int longer_first(const void *a, const void *b)
{
	size_t x = strlen(*(const char *const *)a), y = strlen(*(const char *const *)b);

	return x < y ? 1 : x > y ? -1 : 0;
}

static int read_mounts(struct template *template)
{
	static const char *const holders[] = { "container", "script", "containerSet" };
	struct json_object *list = NULL;

	for (size_t i = 0; i < sizeof(holders) / sizeof(holders[0]) && !list; i++)
		list = json_find(template->json, holders[i], "volumeMounts", NULL);
	template->mounts = calloc(json_length(list) + 1, sizeof(char *));
	if (!template->mounts)
		return -ENOMEM;
	for (size_t i = 0; i < json_length(list); i++) {
		char *path = path_clean(json_get_string(json_at(list, i), "mountPath", ""));

		if (remember(template, path) < 0)
			return -ENOMEM;
		template->mounts[template->mount_count++] = path;
	}
	qsort(template->mounts, template->mount_count, sizeof(char *), longer_first);
	return 0;
}

static int read_containers(struct template *template)
{
	struct json_object *members = json_find(template->json, "containerSet", "containers", NULL);
	size_t count = template->type == TEMPLATE_CONTAINER_SET ? json_length(members) : 0;

	template->containers = calloc(count + 1, sizeof(char *));
	if (!template->containers)
		return -ENOMEM;
	if (template->type != TEMPLATE_CONTAINER_SET) {
		template->containers[template->container_count++] = "main";
		return 0;
	}
	for (size_t i = 0; i < count; i++) {
		const char *name = json_get_string(json_at(members, i), "name", "");

		template->containers[template->container_count++] = *name ? name : "main";
	}
	return 0;
}

static int build(struct template *template)
{
	int r;

	template->type = type_of(template->json);
	location_tidy(template_archive_location(template));
	r = read_artifacts(template, "inputs", &template->inputs, &template->input_count);
	if (r == 0)
		r = read_artifacts(template, "outputs", &template->outputs,
				   &template->output_count);
	if (r == 0)
		r = read_mounts(template);
	return r < 0 ? r : read_containers(template);
}

int template_parse(const char *text, size_t size, const char *what, struct template **ret,
		   struct error *err)
{
	_cleanup_(template_freep) struct template *template = calloc(1, sizeof(*template));
	int r;

	if (!template)
		return error_set(err, -ENOMEM, "%s: out of memory", what);
	if (size > TEMPLATE_BYTES_MAX)
		return error_set(err, -EMSGSIZE, "%s: larger than the limit of %d bytes", what,
				 TEMPLATE_BYTES_MAX);
	r = json_parse(text, size, what, &template->json, err);
	if (r < 0)
		return r;
	r = template_check(template->json, err);
	if (r < 0)
		return error_prefix(err, r, "%s", what);
	if (build(template) < 0)
		return error_set(err, -ENOMEM, "%s: out of memory", what);
	*ret = TAKE_PTR(template);
	return 0;
}

static int load_file(const char *path, struct template **ret, struct error *err)
{
	_cleanup_buffer_ struct buffer text = BUFFER_INIT(TEMPLATE_BYTES_MAX);
	int r = file_read(path, &text, err);

	if (r < 0)
		return error_prefix(err, r, "failed to load template");
	return template_parse(buffer_string(&text), text.size, path, ret, err);
}

int template_load(const char *root, struct template **ret, struct error *err)
{
	const char *value = getenv("ARGO_TEMPLATE");
	char path[PATH_MAX_BYTES];

	if (value && strcmp(value, TEMPLATE_OFFLOADED) == 0)
		return load_file(TEMPLATE_OFFLOADED_FILE, ret, err);
	if (value)
		return template_parse(value, strlen(value), "template (ARGO_TEMPLATE)", ret, err);
	snprintf(path, sizeof(path), "%s/template", root);
	return load_file(path, ret, err);
}

int template_load_installed(const char *root, struct template **ret, struct error *err)
{
	char path[PATH_MAX_BYTES];

	snprintf(path, sizeof(path), "%s/template", root);
	if (access(path, F_OK) < 0 && errno == ENOENT)
		return template_load(root, ret, err);
	return load_file(path, ret, err);
}

int template_install(const struct template *template, const char *root, struct error *err)
{
	_cleanup_buffer_ struct buffer text = BUFFER_INIT(TEMPLATE_BYTES_MAX);
	char path[PATH_MAX_BYTES];
	int r = json_print(template->json, &text, err);

	snprintf(path, sizeof(path), "%s/template", root);
	return r < 0 ? r : file_replace(path, buffer_string(&text), text.size, 0444, err);
}

const char *template_find_mount(const struct template *template, const char *path)
{
	for (size_t i = 0; i < template->mount_count; i++)
		if (path_is_at_or_below(path, template->mounts[i]))
			return template->mounts[i];
	return NULL;
}

const char *template_find_outer_mount(const struct template *template, const char *mount)
{
	/* Longer ones come first. */
	for (size_t i = 0; i < template->mount_count; i++)
		if (strlen(template->mounts[i]) < strlen(mount) &&
		    path_is_at_or_below(mount, template->mounts[i]))
			return template->mounts[i];
	return NULL;
}

struct json_object *template_archive_location(const struct template *template)
{
	return json_get(template->json, "archiveLocation");
}

bool template_archives_logs(const struct template *template)
{
	return json_get_bool(template_archive_location(template), "archiveLogs", false);
}

struct json_object *template_output_parameters(const struct template *template)
{
	return json_find(template->json, "outputs", "parameters", NULL);
}

const char *template_script_source(const struct template *template, size_t *ret_size)
{
	struct json_object *source = json_find(template->json, "script", "source", NULL);
	const char *text = json_string(source, ret_size);

	return text && *ret_size > 0 ? text : NULL;
}

bool template_has_result(const struct template *template)
{
	switch (template->type) {
	case TEMPLATE_CONTAINER:
	case TEMPLATE_SCRIPT:
	case TEMPLATE_DATA:
		return true;
	case TEMPLATE_CONTAINER_SET:
		for (size_t i = 0; i < template->container_count; i++)
			if (strcmp(template->containers[i], "main") == 0)
				return true;
		return false;
	default:
		return json_get(template->json, "http") || json_get(template->json, "plugin");
	}
}
