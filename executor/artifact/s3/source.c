#include "executor/artifact/s3/source.h"

#include "executor/artifact/s3/profile.h"
#include "executor/artifact/secret.h"
#include "executor/base/text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define CONTAINER_HOST "http://169.254.170.2"
#define TOKEN_BYTES_MAX (64 * 1024)

struct finder {
	struct s3_source *source;
	const struct store_context *context;
	struct s3_profiles profiles;
	unsigned depth; /* of profiles that name profiles */
	struct error *err;
};

void s3_source_done(struct s3_source *source)
{
	object_keys_done(&source->keys);
	free(source->role);
	free(source->session);
	free(source->token_file);
	free(source->url);
	secret_free_string(source->authorization);
	for (size_t i = 0; i < source->role_count; i++) {
		free(source->roles[i].arn);
		free(source->roles[i].session);
		free(source->roles[i].external_id);
	}
	*source = (struct s3_source){ 0 };
}

/* The first of the variables that is set; "" if none is. */
static const char *environment(const char *name, const char *other)
{
	const char *value = getenv(name);

	if ((!value || *value == '\0') && other)
		value = getenv(other);
	return value ? value : "";
}

static int set_web_identity(struct finder *finder, const char *role, const char *session,
			    const char *token_file)
{
	struct s3_source *source = finder->source;

	source->kind = S3_SOURCE_WEB_IDENTITY;
	source->role = strdup(role);
	source->session = strdup(session);
	source->token_file = strdup(token_file);
	return source->role && source->session && source->token_file ?
		       0 :
		       error_set(finder->err, -ENOMEM, "out of memory");
}

static int push_role(struct finder *finder, const char *arn, const char *session,
		     const char *external_id, int64_t duration_s)
{
	struct s3_source *source = finder->source;
	struct s3_role *role = &source->roles[source->role_count];

	if (source->role_count == S3_ROLES_MAX)
		return error_set(finder->err, -ELOOP, "more than %d roles one after the other",
				 S3_ROLES_MAX);
	*role = (struct s3_role){ .arn = strdup(arn),
				  .session = strdup(session),
				  .external_id = strdup(external_id),
				  .duration_s = duration_s };
	source->role_count++;
	return role->arn && role->session && role->external_id ?
		       0 :
		       error_set(finder->err, -ENOMEM, "out of memory");
}

/* --- The service beside the container ---------------------------------------------------------- */

/* Without TLS the token is shown to whoever listens: only services of the machine itself. */
static bool is_local(const char *url)
{
	static const char *const hosts[] = { "localhost",      "169.254.170.2", "169.254.170.23",
					     "[fd00:ec2::23]", "[::1]",         NULL };
	const char *host = url + strlen("http://");
	size_t size = *host == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":/?#");

	if (memchr(host, '@', strcspn(host, "/?#")))
		return false;
	if (text_has_prefix(host, "127.") && strspn(host, "0123456789.") == size)
		return true;
	for (size_t i = 0; hosts[i]; i++)
		if (strlen(hosts[i]) == size && strncasecmp(host, hosts[i], size) == 0)
			return true;
	return false;
}

static int read_authorization(struct finder *finder)
{
	const char *path = environment("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", NULL);
	struct buffer token = BUFFER_SECRET(TOKEN_BYTES_MAX);
	int r;

	if (*path == '\0') {
		finder->source->authorization =
			strdup(environment("AWS_CONTAINER_AUTHORIZATION_TOKEN", NULL));
		return finder->source->authorization ?
			       0 :
			       error_set(finder->err, -ENOMEM, "out of memory");
	}
	r = secret_read_file(finder->context, path, &token, finder->err);
	while (token.size > 0 && strchr(" \r\n", token.data[token.size - 1]))
		token.data[--token.size] = '\0';
	finder->source->authorization = buffer_take(&token);
	if (r == 0 && !finder->source->authorization)
		r = error_set(finder->err, -EINVAL, "%s is empty", path);
	/* Not *not found*: an object would be thought missing. */
	if (r < 0 && finder->err)
		finder->err->class = ERROR_PERMANENT;
	return r;
}

/* 1 = found, 0 = no variable names one. */
static int try_container(struct finder *finder)
{
	struct s3_source *source = finder->source;
	const char *relative = environment("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", NULL);
	const char *full = environment("AWS_CONTAINER_CREDENTIALS_FULL_URI", NULL);
	int r = 0;

	if (*relative == '\0' && *full == '\0')
		return 0;
	source->kind = S3_SOURCE_CONTAINER;
	if (*relative == '/')
		r = asprintf(&source->url, CONTAINER_HOST "%s", relative);
	else if (*relative)
		return error_set(finder->err, -EINVAL,
				 "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI does not begin with /");
	else if (text_has_prefix(full, "https://") ||
		 (text_has_prefix(full, "http://") && is_local(full)))
		r = asprintf(&source->url, "%s", full);
	else
		return error_set(finder->err, -EINVAL,
				 "AWS_CONTAINER_CREDENTIALS_FULL_URI is neither https nor of this "
				 "machine");
	if (r < 0) {
		source->url = NULL;
		return error_set(finder->err, -ENOMEM, "out of memory");
	}
	r = read_authorization(finder);
	return r < 0 ? r : 1;
}

static int use_metadata(struct finder *finder)
{
	if (strcasecmp(environment("AWS_EC2_METADATA_DISABLED", NULL), "true") == 0)
		return error_set(finder->err, -EINVAL,
				 "there are none: no source is named, and the metadata service is "
				 "switched off");
	finder->source->kind = S3_SOURCE_METADATA;
	return 0;
}

static int use_machine(struct finder *finder)
{
	int r = try_container(finder);

	return r == 0 ? use_metadata(finder) : r < 0 ? r : 0;
}

/* --- Profiles ------------------------------------------------------------------------------------ */

static int use_environment(struct finder *finder)
{
	return object_keys_set(&finder->source->keys,
			       environment("AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY"),
			       environment("AWS_SECRET_ACCESS_KEY", "AWS_SECRET_KEY"),
			       environment("AWS_SESSION_TOKEN", NULL), finder->err);
}

static int use_named_source(struct finder *finder, const char *name)
{
	int r;

	if (strcmp(name, "Environment") == 0)
		return use_environment(finder);
	if (strcmp(name, "Ec2InstanceMetadata") == 0)
		return use_metadata(finder);
	if (strcmp(name, "EcsContainer") != 0)
		return error_set(finder->err, -EINVAL, "credential_source '%s' is unknown", name);
	r = try_container(finder);
	return r == 0 ? error_set(finder->err, -EINVAL,
				  "credential_source EcsContainer, but no variable names one") :
	       r < 0  ? r :
			0;
}

/* What a profile that names no other has. */
static int use_own(struct finder *finder, const char *profile)
{
	char value[S3_PROFILE_VALUE_MAX], secret[S3_PROFILE_VALUE_MAX], token[S3_PROFILE_VALUE_MAX];
	const struct s3_profiles *profiles = &finder->profiles;
	int r;

	if (*s3_profiles_get(profiles, profile, "aws_access_key_id", value)) {
		s3_profiles_get(profiles, profile, "aws_secret_access_key", secret);
		s3_profiles_get(profiles, profile, "aws_session_token", token);
		r = object_keys_set(&finder->source->keys, value, secret, token, finder->err);
		explicit_bzero(secret, sizeof(secret));
		explicit_bzero(token, sizeof(token));
		return r;
	}
	if (*s3_profiles_get(profiles, profile, "credential_source", value))
		return use_named_source(finder, value);
	if (*s3_profiles_get(profiles, profile, "sso_session", value) ||
	    *s3_profiles_get(profiles, profile, "sso_start_url", value))
		return error_set(finder->err, -ENOTSUP,
				 "single sign-on needs a person who logs in: it cannot be used "
				 "here");
	if (*s3_profiles_get(profiles, profile, "credential_process", value))
		return error_set(finder->err, -ENOTSUP,
				 "credential_process cannot be used here: there are no programs in "
				 "this container");
	return use_machine(finder);
}

static int push_profile_role(struct finder *finder, const char *profile, const char *arn)
{
	char session[S3_PROFILE_VALUE_MAX], id[S3_PROFILE_VALUE_MAX];
	const struct s3_profiles *profiles = &finder->profiles;
	int64_t duration_s = S3_ROLE_SECONDS_DEFAULT;

	s3_profiles_get(profiles, profile, "duration_seconds", session);
	if (*session &&
	    (text_parse_int64(session, &duration_s) < 0 || duration_s < 900 || duration_s > 43200))
		return error_set(finder->err, -EINVAL, "duration_seconds '%s': not 900 to 43200",
				 session);
	return push_role(finder, arn,
			 s3_profiles_get(profiles, profile, "role_session_name", session),
			 s3_profiles_get(profiles, profile, "external_id", id), duration_s);
}

static int use_profile(struct finder *finder, const char *profile);

static int use_source_profile(struct finder *finder, const char *profile, const char *other)
{
	/* A profile may be its own source: its role is assumed with its keys. */
	if (strcmp(profile, other) == 0)
		return use_own(finder, profile);
	if (++finder->depth > S3_ROLES_MAX)
		return error_set(finder->err, -ELOOP, "source_profile goes round in circles");
	return use_profile(finder, other);
}

static int use_profile(struct finder *finder, const char *profile)
{
	char arn[S3_PROFILE_VALUE_MAX], value[S3_PROFILE_VALUE_MAX], session[S3_PROFILE_VALUE_MAX];
	const struct s3_profiles *profiles = &finder->profiles;
	int r;

	if (!s3_profiles_have(profiles, profile))
		return strcmp(profile, "default") == 0 ?
			       use_machine(finder) :
			       error_set(finder->err, -EINVAL, "there is no profile '%s'", profile);
	s3_profiles_get(profiles, profile, "role_arn", arn);
	if (*arn && *s3_profiles_get(profiles, profile, "source_profile", value)) {
		r = use_source_profile(finder, profile, value);
	} else if (*s3_profiles_get(profiles, profile, "web_identity_token_file", value)) {
		if (*arn == '\0')
			return error_set(finder->err, -EINVAL,
					 "profile '%s' has a web_identity_token_file, but no "
					 "role_arn",
					 profile);
		return set_web_identity(
			finder, arn,
			s3_profiles_get(profiles, profile, "role_session_name", session), value);
	} else {
		r = use_own(finder, profile);
	}
	return r == 0 && *arn ? push_profile_role(finder, profile, arn) : r;
}

static int use_files(struct finder *finder, const char *profile)
{
	int r = s3_profiles_read(&finder->profiles, finder->context, finder->err);

	if (r == 0 && finder->source->region[0] == '\0') {
		char region[S3_PROFILE_VALUE_MAX];

		s3_profiles_get(&finder->profiles, profile, "region", region);
		if (object_url_is_region(region))
			memcpy(finder->source->region, region, strlen(region) + 1);
	}
	if (r == 0)
		r = use_profile(finder, profile);
	s3_profiles_done(&finder->profiles);
	return r;
}

/* --- The chains ------------------------------------------------------------------------------------ */

static int find_sdk(struct finder *finder)
{
	const char *profile = environment("AWS_PROFILE", "AWS_DEFAULT_PROFILE");
	const char *token_file = environment("AWS_WEB_IDENTITY_TOKEN_FILE", NULL);

	if (*profile)
		return use_files(finder, profile);
	if (*environment("AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY") &&
	    *environment("AWS_SECRET_ACCESS_KEY", "AWS_SECRET_KEY"))
		return use_environment(finder);
	if (*token_file == '\0')
		return use_files(finder, "default");
	if (*environment("AWS_ROLE_ARN", NULL) == '\0')
		return error_set(finder->err, -EINVAL,
				 "AWS_WEB_IDENTITY_TOKEN_FILE is set, but AWS_ROLE_ARN is not");
	return set_web_identity(finder, environment("AWS_ROLE_ARN", NULL),
				environment("AWS_ROLE_SESSION_NAME", NULL), token_file);
}

static int find_iam(struct finder *finder)
{
	const char *token_file = environment("AWS_WEB_IDENTITY_TOKEN_FILE", NULL);

	if (*token_file)
		return set_web_identity(finder, environment("AWS_ROLE_ARN", NULL),
					environment("AWS_ROLE_SESSION_NAME", NULL), token_file);
	return use_machine(finder);
}

int s3_source_find(struct s3_source *source, const struct store_context *context,
		   const struct s3_wish *wish, struct error *err)
{
	struct finder finder = { .source = source, .context = context, .err = err };
	const char *region = *wish->region ? wish->region :
					     environment("AWS_REGION", "AWS_DEFAULT_REGION");
	int r;

	*source = (struct s3_source){ 0 };
	if (object_url_is_region(region))
		memcpy(source->region, region, strlen(region) + 1);
	r = wish->kind == S3_CHAIN_SDK ? find_sdk(&finder) : find_iam(&finder);
	if (r == 0 && *wish->role_arn)
		r = push_role(&finder, wish->role_arn, "", "", S3_ROLE_SECONDS_DEFAULT);
	if (r < 0)
		s3_source_done(source);
	return r;
}
