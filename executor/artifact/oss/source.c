#include "executor/artifact/oss/source.h"

#include "executor/artifact/object/ini.h"
#include "executor/artifact/secret.h"
#include "executor/base/buffer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define FILE_BYTES_MAX (256 * 1024)
#define SESSION "argoexec"

void oss_source_done(struct oss_source *source)
{
	object_keys_done(&source->keys);
	free(source->role);
	free(source->provider);
	free(source->token_file);
	free(source->session);
	free(source->uri);
	*source = (struct oss_source){ 0 };
}

/* "" if it is not set. */
static const char *environment(const char *name)
{
	const char *value = getenv(name);

	return value ? value : "";
}

static bool is_true(const char *name)
{
	return strcasecmp(environment(name), "true") == 0;
}

static int out_of_memory(struct error *err)
{
	return error_set(err, -ENOMEM, "out of memory");
}

static int set_keys(struct oss_source *source, const char *access_key, const char *secret_key,
		    const char *token, struct error *err)
{
	source->kind = OSS_SOURCE_KEYS;
	return object_keys_set(&source->keys, access_key, secret_key, token, err);
}

static int set_oidc(struct oss_source *source, const char *role, const char *provider,
		    const char *token_file, const char *session, struct error *err)
{
	source->kind = OSS_SOURCE_OIDC;
	if (*role == '\0' || *provider == '\0' || *token_file == '\0')
		return error_set(err, -EINVAL, "role, identity provider or token file is missing");
	source->role = strdup(role);
	source->provider = strdup(provider);
	source->token_file = strdup(token_file);
	source->session = strdup(*session ? session : SESSION);
	if (!source->role || !source->provider || !source->token_file || !source->session)
		return out_of_memory(err);
	return 0;
}

static int set_metadata(struct oss_source *source, const char *role, struct error *err)
{
	source->kind = OSS_SOURCE_METADATA;
	source->role = strdup(role);
	return source->role ? 0 : out_of_memory(err);
}

/* Reads an optional file: the variable's, else one in the home directory. 0 = it is not there. */
static int read_file(const struct store_context *context, const char *variable,
		     const char *below_home, struct buffer *text, char *path, size_t path_size,
		     struct error *err)
{
	struct error cause = ERROR_NONE;
	int r;

	if (*environment(variable))
		snprintf(path, path_size, "%s", environment(variable));
	else
		snprintf(path, path_size, "%s/%s", environment("HOME"), below_home);
	r = secret_read_file(context, path, text, &cause);
	if (r == -ENOENT || r == -ENOTDIR || r == -EACCES)
		return 0;
	if (r < 0)
		return error_set(err, r, "%s", cause.message);
	return 1;
}

/* --- ~/.aliyun/config.json ---------------------------------------------------------------------- */

static int use_profile(struct oss_source *source, struct json_object *profile, struct error *err)
{
	const char *mode = json_get_string(profile, "mode", "");

	if (strcmp(mode, "AK") == 0 || strcmp(mode, "StsToken") == 0)
		return set_keys(source, json_get_string(profile, "access_key_id", ""),
				json_get_string(profile, "access_key_secret", ""),
				mode[0] == 'S' ? json_get_string(profile, "sts_token", "") : "",
				err);
	if (strcmp(mode, "OIDC") == 0)
		return set_oidc(source, json_get_string(profile, "ram_role_arn", ""),
				json_get_string(profile, "oidc_provider_arn", ""),
				json_get_string(profile, "oidc_token_file", ""),
				json_get_string(profile, "ram_session_name", ""), err);
	if (strcmp(mode, "EcsRamRole") == 0)
		return set_metadata(source, json_get_string(profile, "ram_role_name", ""), err);
	return error_set(err, -ENOTSUP,
			 "mode '%s' cannot be used here: AK, StsToken, OIDC and EcsRamRole can",
			 mode);
}

static int find_profile(struct oss_source *source, struct json_object *file, struct error *err)
{
	struct json_object *profiles = json_get(file, "profiles");
	const char *name = environment("ALIBABA_CLOUD_PROFILE");

	if (*name == '\0')
		name = json_get_string(file, "current", "");
	for (size_t i = 0; i < json_length(profiles); i++) {
		struct json_object *profile = json_at(profiles, i);

		if (strcmp(json_get_string(profile, "name", ""), name) == 0)
			return use_profile(source, profile, err);
	}
	return error_set(err, -EINVAL, "there is no profile '%s'", name);
}

/* 1 = found, 0 = there is no such file. */
static int try_profile(struct oss_source *source, const struct store_context *context,
		       struct error *err)
{
	_cleanup_buffer_ struct buffer text = BUFFER_SECRET(FILE_BYTES_MAX);
	_cleanup_json_ struct json_object *file = NULL;
	char path[4096];
	int r;

	if (is_true("ALIBABA_CLOUD_CLI_PROFILE_DISABLED"))
		return 0;
	r = read_file(context, "ALIBABA_CLOUD_CONFIG_FILE", ".aliyun/config.json", &text, path,
		      sizeof(path), err);
	if (r <= 0)
		return r;
	r = json_parse(text.data, text.size, path, &file, err);
	if (r < 0)
		return r;
	r = find_profile(source, file, err);
	return r < 0 ? error_prefix(err, r, "%s", path) : 1;
}

/* --- ~/.alibabacloud/credentials ------------------------------------------------------------------ */

/* Indented lines count as well. */
static void unindent(char *text)
{
	char *to = text;
	bool is_start = true;

	for (; *text; text++) {
		if (is_start && (*text == ' ' || *text == '\t'))
			continue;
		is_start = *text == '\n';
		*to++ = *text;
	}
	*to = '\0';
}

static int use_section(struct oss_source *source, const char *text, const char *name,
		       struct error *err)
{
	char type[32], access_key[256], secret_key[256], role[256];
	int r;

	ini_get(text, name, "type", type, sizeof(type));
	ini_get(text, name, "access_key_id", access_key, sizeof(access_key));
	ini_get(text, name, "access_key_secret", secret_key, sizeof(secret_key));
	ini_get(text, name, "role_name", role, sizeof(role));
	if (strcmp(type, "access_key") == 0)
		r = set_keys(source, access_key, secret_key, "", err);
	else if (strcmp(type, "ecs_ram_role") == 0)
		r = set_metadata(source, role, err);
	else
		r = error_set(err, -ENOTSUP,
			      "type '%s' cannot be used here: access_key and ecs_ram_role can",
			      type);
	explicit_bzero(secret_key, sizeof(secret_key));
	return r;
}

static int try_credentials_file(struct oss_source *source, const struct store_context *context,
				struct error *err)
{
	_cleanup_buffer_ struct buffer text = BUFFER_SECRET(FILE_BYTES_MAX);
	const char *name = environment("ALIBABA_CLOUD_PROFILE");
	char path[4096];
	int r = read_file(context, "ALIBABA_CLOUD_CREDENTIALS_FILE", ".alibabacloud/credentials",
			  &text, path, sizeof(path), err);

	if (r <= 0)
		return r;
	if (*name == '\0')
		name = "default";
	if (text.data)
		unindent(text.data);
	r = ini_has_section(buffer_string(&text), name) ?
		    use_section(source, buffer_string(&text), name, err) :
		    error_set(err, -EINVAL, "there is no section [%s]", name);
	return r < 0 ? error_prefix(err, r, "%s", path) : 1;
}

/* --- The chain -------------------------------------------------------------------------------------- */

static int find(struct oss_source *source, const struct store_context *context, struct error *err)
{
	int r;

	if (*environment("ALIBABA_CLOUD_ACCESS_KEY_ID"))
		return set_keys(source, environment("ALIBABA_CLOUD_ACCESS_KEY_ID"),
				environment("ALIBABA_CLOUD_ACCESS_KEY_SECRET"),
				environment("ALIBABA_CLOUD_SECURITY_TOKEN"), err);
	if (*environment("ALIBABA_CLOUD_OIDC_TOKEN_FILE"))
		return set_oidc(source, environment("ALIBABA_CLOUD_ROLE_ARN"),
				environment("ALIBABA_CLOUD_OIDC_PROVIDER_ARN"),
				environment("ALIBABA_CLOUD_OIDC_TOKEN_FILE"),
				environment("ALIBABA_CLOUD_ROLE_SESSION_NAME"), err);
	r = try_profile(source, context, err);
	if (r == 0)
		r = try_credentials_file(source, context, err);
	if (r != 0)
		return r;
	if (!is_true("ALIBABA_CLOUD_ECS_METADATA_DISABLED"))
		return set_metadata(source, environment("ALIBABA_CLOUD_ECS_METADATA"), err);
	source->kind = OSS_SOURCE_URI;
	return *source->uri ? 0 :
			      error_set(err, -EINVAL,
					"neither the environment nor a file has any, and the "
					"metadata service is switched off");
}

int oss_source_find(struct oss_source *source, const struct store_context *context,
		    struct error *err)
{
	int r;

	*source =
		(struct oss_source){ .uri = strdup(environment("ALIBABA_CLOUD_CREDENTIALS_URI")) };
	r = source->uri ? find(source, context, err) : out_of_memory(err);
	if (r < 0) {
		oss_source_done(source);
		return r;
	}
	return 0;
}
