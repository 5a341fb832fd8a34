#include "executor/artifact/s3/profile.h"

#include "executor/artifact/object/ini.h"
#include "executor/artifact/secret.h"
#include "executor/base/path.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_BYTES_MAX (256 * 1024)
#define TITLE_MAX 512

static int read_one(struct buffer *to, const struct store_context *context, const char *variable,
		    const char *below_home, struct error *err)
{
	const char *name = getenv(variable), *home = getenv("HOME");
	struct error cause = ERROR_NONE;
	char path[4096];
	int r;

	if (name && *name)
		snprintf(path, sizeof(path), "%s", name);
	else if (home && *home)
		snprintf(path, sizeof(path), "%s/%s", home, below_home);
	else
		return 0;
	r = secret_read_file(context, path, to, &cause);
	if (r == -ENOENT || r == -ENOTDIR || r == -EACCES)
		return 0;
	return r < 0 ? error_set_class(err, r, ERROR_PERMANENT, "%s", cause.message) : 0;
}

int s3_profiles_read(struct s3_profiles *profiles, const struct store_context *context,
		     struct error *err)
{
	int r;

	*profiles = (struct s3_profiles){ .config = BUFFER_SECRET(FILE_BYTES_MAX),
					  .credentials = BUFFER_SECRET(FILE_BYTES_MAX) };
	r = read_one(&profiles->config, context, "AWS_CONFIG_FILE", ".aws/config", err);
	if (r == 0)
		r = read_one(&profiles->credentials, context, "AWS_SHARED_CREDENTIALS_FILE",
			     ".aws/credentials", err);
	return r;
}

void s3_profiles_done(struct s3_profiles *profiles)
{
	buffer_done(&profiles->config);
	buffer_done(&profiles->credentials);
}

/* The config file's name of it; "[default]" has two. */
static const char *title_of(const char *profile, char title[TITLE_MAX])
{
	snprintf(title, TITLE_MAX, "profile %s", profile);
	return title;
}

bool s3_profiles_have(const struct s3_profiles *profiles, const char *profile)
{
	const char *config = buffer_string(&profiles->config);
	char title[TITLE_MAX];

	return ini_has_section(buffer_string(&profiles->credentials), profile) ||
	       ini_has_section(config, title_of(profile, title)) ||
	       (strcmp(profile, "default") == 0 && ini_has_section(config, profile));
}

const char *s3_profiles_get(const struct s3_profiles *profiles, const char *profile,
			    const char *name, char value[S3_PROFILE_VALUE_MAX])
{
	const char *config = buffer_string(&profiles->config);
	char title[TITLE_MAX];

	if (!ini_get(buffer_string(&profiles->credentials), profile, name, value,
		     S3_PROFILE_VALUE_MAX) &&
	    !ini_get(config, title_of(profile, title), name, value, S3_PROFILE_VALUE_MAX) &&
	    strcmp(profile, "default") == 0)
		ini_get(config, profile, name, value, S3_PROFILE_VALUE_MAX);
	if (strlen(value) == S3_PROFILE_VALUE_MAX - 1)
		value[0] = '\0';
	return value;
}
