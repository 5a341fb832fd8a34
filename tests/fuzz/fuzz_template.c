/* The template. Required: names that become paths are safe, paths are clean and absolute, mounts are
 * found by whole components, and are inside others; an artifact has one location at most; what is
 * written for the others is read as the same; an artifact's location is completed or refused, but never
 * both; and it can be told which object it is. */
#include "executor/base/path.h"
#include "executor/base/text.h"
#include "executor/template/location.h"
#include "executor/template/template.h"
#include "executor/template/template_check.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/targets.h"

#include <errno.h>
#include <string.h>

#define PRINTED_BYTES_MAX (16 * 1024 * 1024)

static bool is_url(struct json_object *artifact)
{
	const char *type = location_type(artifact);

	return strcmp(type, "http") == 0 || strcmp(type, "artifactory") == 0;
}

/* Without the query of a URL, which is not the key's but the place's. */
static size_t key_size(struct json_object *artifact)
{
	const char *key = location_key(artifact);

	return is_url(artifact) ? strcspn(key, "?#") : strlen(key);
}

/* The key stays what it is, wherever the artifact is moved; in a URL, what would end it is encoded. */
static void check_key(struct json_object *before, struct json_object *after)
{
	const char *old = location_key(before), *new = location_key(after);
	size_t size;

	fuzz_require(!old == !new);
	if (!old)
		return;
	size = key_size(before);
	if (is_url(after) && strcspn(old, "?#") < size)
		size = strcspn(old, "?#");
	else
		fuzz_require(key_size(after) == size);
	fuzz_require(strncmp(old, new, size) == 0);
}

/* Which object it is can be told, in one line, and compared. */
static void check_place(struct json_object *artifact)
{
	_cleanup_buffer_ struct buffer place = BUFFER_INIT(PRINTED_BYTES_MAX);
	_cleanup_buffer_ struct buffer again = BUFFER_INIT(PRINTED_BYTES_MAX);
	_cleanup_free_ char *key = location_copy_key(artifact);
	struct error err = ERROR_NONE;

	fuzz_require(key);
	fuzz_require(location_print_place(artifact, &place, &err) == 0);
	fuzz_require(location_print_place(artifact, &again, &err) == 0);
	fuzz_require(strcmp(buffer_string(&place), buffer_string(&again)) == 0);
	error_set(&err, -EIO, "refused");
	location_tell(artifact, &err);
	fuzz_check_error(-EIO, &err);
	fuzz_require(strstr(err.message, location_type(artifact)));
	error_set(&err, -EIO, "%s/%s: refused",
		  json_get_string(location_get(artifact), "bucket", ""), key);
	location_tell(artifact, &err);
	fuzz_check_error(-EIO, &err);
}

static void check_artifact(const struct template *template,
			   const struct template_artifact *artifact)
{
	_cleanup_json_ struct json_object *complete = NULL;
	_cleanup_free_ char *clean = artifact->path ? path_clean(artifact->path) : NULL;
	struct json_object *archive = template_archive_location(template);
	struct error err = ERROR_NONE;
	const char *mount;
	int r;

	fuzz_require(artifact->name && *artifact->name);
	fuzz_require(!strchr(artifact->name, '/'));
	fuzz_require(!location_other_type(artifact->json));
	if (artifact->path && template_check_path(artifact->json, NULL) == 0) {
		fuzz_require(strcmp(artifact->path, clean) == 0);
		mount = template_find_mount(template, artifact->path);
		fuzz_require(!mount || path_is_at_or_below(artifact->path, mount));
	}
	r = location_relocate(artifact->json, archive, &complete, &err);
	if (r < 0) {
		fuzz_check_error(r, &err);
		fuzz_require(!complete);
	} else {
		fuzz_require(location_type(complete));
		check_key(artifact->json, complete);
		check_place(complete);
	}
	if (location_assign(artifact->json, archive, "file.tgz", &err) == 0)
		fuzz_require(location_type(artifact->json));
}

static void check_template(const struct template *template)
{
	for (size_t i = 0; i < template->container_count; i++)
		fuzz_require(text_is_dns_label(template->containers[i]));
	for (size_t i = 0; i < template->mount_count; i++) {
		_cleanup_free_ char *clean = path_clean(template->mounts[i]);
		const char *outer = template_find_outer_mount(template, template->mounts[i]);

		fuzz_require(strcmp(template->mounts[i], clean) == 0);
		fuzz_require(!outer ||
			     (strcmp(outer, clean) != 0 && path_is_at_or_below(clean, outer)));
		fuzz_require(i == 0 ||
			     strlen(template->mounts[i]) <= strlen(template->mounts[i - 1]));
	}
	for (size_t i = 0; i < template->input_count; i++)
		check_artifact(template, &template->inputs[i]);
	for (size_t i = 0; i < template->output_count; i++)
		check_artifact(template, &template->outputs[i]);
	template_output_parameters(template);
	template_archives_logs(template);
	template_script_source(template, &(size_t){ 0 });
	template_has_result(template);
}

static void check_same(const struct template *template)
{
	_cleanup_buffer_ struct buffer text = BUFFER_INIT(PRINTED_BYTES_MAX);
	_cleanup_(template_freep) struct template *again = NULL;
	struct error err = ERROR_NONE;

	fuzz_require(json_print(template->json, &text, &err) == 0);
	fuzz_require(template_parse(text.data, text.size, "again", &again, &err) == 0);
	fuzz_require(json_equal(template->json, again->json));
	fuzz_require(template->type == again->type && template->input_count == again->input_count &&
		     template->output_count == again->output_count &&
		     template->mount_count == again->mount_count &&
		     template->container_count == again->container_count);
}

void fuzz_template(const char *data, size_t size)
{
	_cleanup_(template_freep) struct template *template = NULL;
	struct error err = ERROR_NONE;
	int r = template_parse(data, size, "template", &template, &err);

	if (r < 0) {
		fuzz_require(!template);
		fuzz_check_error(r, &err);
		return;
	}
	check_same(template);
	check_template(template);
}
