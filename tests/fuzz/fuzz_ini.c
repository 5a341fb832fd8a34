/*
 * Files in which command line tools of cloud vendors keep profiles. The first line is a section, the second
 * a name, the rest the file; and the same text is every file that the search for keys reads. Required: a
 * value is a piece of its line, cut to what it is asked for; what is written behind everything else is
 * found; and of a search either all comes that a source of its kind has, or nothing.
 */
#include "executor/artifact/object/ini.h"
#include "executor/artifact/oss/source.h"
#include "executor/artifact/s3/profile.h"
#include "executor/artifact/s3/source.h"
#include "executor/base/cleanup.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/targets.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BLANKS " \t\r\v\f"
#define FILE_BYTES_MAX 65536

static void check_value(const char *file, const char *section, const char *name)
{
	char value[S3_PROFILE_VALUE_MAX], start[8];
	size_t size;

	if (!ini_get(file, section, name, value, sizeof(value))) {
		fuzz_require(!*value);
		return;
	}
	fuzz_require(ini_has_section(file, section));
	fuzz_require(strstr(file, value) && !strchr(value, '\n'));
	size = strlen(value);
	if (size > 0 && size < sizeof(value) - 1)
		fuzz_require(!strchr(BLANKS, value[0]) && !strchr(BLANKS, value[size - 1]));
	fuzz_require(ini_get(file, section, name, start, sizeof(start)));
	fuzz_require(strncmp(start, value, sizeof(start) - 1) == 0);
}

static bool is_plain(const char *text)
{
	return *text && !strpbrk(text, BLANKS "=[]#;");
}

static void check_last(const char *file, const char *section, const char *name)
{
	_cleanup_buffer_ struct buffer more = BUFFER_INIT(FILE_BYTES_MAX);
	char value[32];

	if (!is_plain(section) || !is_plain(name))
		return;
	fuzz_require(buffer_append_format(&more, "%s\n[ %s ]\r\n%s= the value  # not this\r\n",
					  file, section, name) == 0);
	fuzz_require(ini_get(more.data, section, name, value, sizeof(value)));
	fuzz_require(strcmp(value, "the value") == 0);
}

/* --- the search for keys ------------------------------------------------------------------ */

static int give_file(void *context, const char *path, struct buffer *out, struct error *err)
{
	const char *file = context;
	int r;

	if (strncmp(path, "/home/", 6) != 0)
		return error_set(err, -ENOENT, "there is no other file");
	r = buffer_append(out, file, strlen(file));
	return r < 0 ? error_errno(err, r, "read") : r;
}

static void check_keys(const struct object_keys *keys)
{
	fuzz_require(keys->access_key && *keys->access_key && keys->secret_key &&
		     *keys->secret_key);
	fuzz_require(!keys->token || *keys->token);
	fuzz_require(object_keys_check(keys, NULL) == 0);
}

static void check_s3(const struct store_context *context)
{
	const struct s3_wish wish = { .kind = S3_CHAIN_SDK, .role_arn = "", .region = "" };
	struct error err = ERROR_NONE;
	struct s3_source source;
	int r = s3_source_find(&source, context, &wish, &err);

	if (r < 0) {
		fuzz_check_error(r, &err);
		fuzz_require(!source.keys.access_key && !source.role && source.role_count == 0);
		return;
	}
	fuzz_require(source.kind >= S3_SOURCE_KEYS && source.kind <= S3_SOURCE_METADATA);
	if (source.kind == S3_SOURCE_KEYS)
		check_keys(&source.keys);
	if (source.kind == S3_SOURCE_WEB_IDENTITY)
		fuzz_require(*source.token_file);
	fuzz_require(source.role_count <= S3_ROLES_MAX);
	for (size_t i = 0; i < source.role_count; i++)
		fuzz_require(*source.roles[i].arn && source.roles[i].duration_s > 0);
	fuzz_require(!*source.region || object_url_is_region(source.region));
	s3_source_done(&source);
}

static void check_oss(const struct store_context *context)
{
	struct error err = ERROR_NONE;
	struct oss_source source;
	int r = oss_source_find(&source, context, &err);

	if (r < 0) {
		fuzz_check_error(r, &err);
		fuzz_require(!source.keys.access_key && !source.role && !source.uri);
		return;
	}
	fuzz_require(source.kind >= OSS_SOURCE_KEYS && source.kind <= OSS_SOURCE_URI);
	if (source.kind == OSS_SOURCE_KEYS)
		fuzz_require(*source.keys.access_key && *source.keys.secret_key);
	if (source.kind == OSS_SOURCE_OIDC)
		fuzz_require(*source.role && *source.provider && *source.token_file);
	oss_source_done(&source);
}

void fuzz_ini(const char *data, size_t size)
{
	struct fuzz_input input = { data, size };
	struct fuzz_input first = fuzz_take_until(&input, '\n');
	struct fuzz_input second = fuzz_take_until(&input, '\n');
	_cleanup_free_ char *section = fuzz_text(first.data, first.size);
	_cleanup_free_ char *name = fuzz_text(second.data, second.size);
	_cleanup_free_ char *file = fuzz_text(input.data, input.size);
	const struct store_context context = { .read_file = give_file, .read_file_context = file };

	setenv("HOME", "/home", 1);
	setenv("AWS_PROFILE", section, 1);
	setenv("ALIBABA_CLOUD_PROFILE", section, 1);
	check_value(file, section, name);
	check_last(file, section, name);
	check_s3(&context);
	check_oss(&context);
}
