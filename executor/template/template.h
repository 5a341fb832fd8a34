/*
 * The template that a pod executes, as the controller wrote it. It stays JSON (unknown fields must
 * come back in the report); this module loads it, checks the kinds of the fields that the executor
 * reads, once, with messages that name the field, and answers questions about it.
 */
#pragma once

#include "executor/base/error.h"
#include "executor/json/json.h"

#include <stdbool.h>
#include <stddef.h>

/* Largest template accepted. A pod's environment holds 128 KiB, a ConfigMap 1 MiB. */
#define TEMPLATE_BYTES_MAX (8 * 1024 * 1024)

#define TEMPLATE_OFFLOADED "offloaded"
#define TEMPLATE_OFFLOADED_FILE "/argo/config/ARGO_TEMPLATE"

enum template_type {
	TEMPLATE_CONTAINER,
	TEMPLATE_SCRIPT,
	TEMPLATE_CONTAINER_SET,
	TEMPLATE_RESOURCE,
	TEMPLATE_DATA,
	TEMPLATE_OTHER,
};

enum template_archive { ARCHIVE_UNSET, ARCHIVE_NONE, ARCHIVE_TAR, ARCHIVE_ZIP };

/* One input or output artifact; everything is lent by the template. */
struct template_artifact {
	struct json_object *json;
	const char *name;
	const char *path; /* cleaned, absolute */
	enum template_archive archive;
	int compression_level; /* -1 = default */
	bool is_optional;
	bool has_mode;
	unsigned mode;
	bool is_mode_recursive;
};

struct template
{
	struct json_object *json;
	enum template_type type;
	struct template_artifact *inputs, *outputs;
	size_t input_count, output_count;
	const char **mounts; /* mount paths of the user's volumes, longest first */
	size_t mount_count;
	const char **containers; /* main containers: "main", or the members of a containerSet */
	size_t container_count;
	char **cleaned; /* memory behind the paths */
	size_t cleaned_count;
};

/*
 * Takes the template from ARGO_TEMPLATE (following "offloaded" to its file), else from
 * <root>/template. Errors name the source and the field.
 */
int template_load(const char *root, struct template **ret, struct error *err);

/* The other way round, for wrappers: their environment is the user's. */
int template_load_installed(const char *root, struct template **ret, struct error *err);

/* Writes <root>/template (0444) for the wrappers and `wait`. */
int template_install(const struct template *template, const char *root, struct error *err);

/* From text, for those and for tests. `what` names the source. */
int template_parse(const char *text, size_t size, const char *what, struct template **ret,
		   struct error *err);

void template_free(struct template *template);
static inline void template_freep(struct template **template)
{
	template_free(*template);
}

/* The mount path of the user volume in which a clean path lies, or NULL. */
const char *template_find_mount(const struct template *template, const char *path);
/* Of the volume inside which the volume mounted at `mount` is mounted, or NULL. */
const char *template_find_outer_mount(const struct template *template, const char *mount);

/* archiveLocation, or NULL. Lent. */
struct json_object *template_archive_location(const struct template *template);
bool template_archives_logs(const struct template *template);

/* outputs.parameters (an array or NULL), lent. */
struct json_object *template_output_parameters(const struct template *template);

/* The script's source, or NULL if it is no script template or the source is empty. */
const char *template_script_source(const struct template *template, size_t *ret_size);

/* True for template types whose result is main's standard output. */
bool template_has_result(const struct template *template);
