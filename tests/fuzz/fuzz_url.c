/*
 * URLs, hosts, keys and paths. The lines of the input are an endpoint, a bucket, a key, a region and
 * the name of an archive's entry. Required: what is sent is printable ASCII without surprises, what
 * was encoded is decoded to the same, and a name that is taken lies where it says.
 */
#include "executor/archive/member.h"
#include "executor/artifact/object/list.h"
#include "executor/artifact/s3/url.h"
#include "executor/artifact/store.h"
#include "executor/base/path.h"
#include "executor/http/http_internal.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/targets.h"

#include <stdlib.h>
#include <string.h>

#define ENCODED_BYTES_MAX (1024 * 1024)

static void check_encoding(const char *text)
{
	_cleanup_buffer_ struct buffer out = BUFFER_INIT(ENCODED_BYTES_MAX);
	_cleanup_free_ char *loose = strdup(text);

	fuzz_require(object_url_encode(&out, text, false) == 0);
	for (size_t i = 0; i < out.size; i++)
		fuzz_require(out.data[i] > ' ' && out.data[i] < 0x7f && out.data[i] != '/');
	if (out.size > 0)
		fuzz_require(object_url_decode(out.data) == (int)strlen(text) &&
			     strcmp(out.data, text) == 0);
	fuzz_require(object_url_decode(loose) <= (int)strlen(text));
}

static void check_target(const struct s3_config *config, const char *region, bool has_path_style)
{
	const struct object_query query[] = { { "prefix", config->key },
					      { "a", "b" },
					      { NULL, NULL } };
	const struct s3_target target = {
		.config = config,
		.region = region,
		.key = config->key,
		.query = query,
		.want_path_style = has_path_style,
	};
	struct object_url url;

	if (s3_url_build(&url, &target) == 0) {
		fuzz_require(url.host.size > 0 && !strpbrk(url.host.data, "/?#@ \\"));
		fuzz_require(url.path.data[0] == '/' && !strpbrk(url.path.data, "?# "));
		for (size_t i = 0; i < url.url.size; i++)
			fuzz_require(url.url.data[i] > ' ' && url.url.data[i] < 0x7f);
	}
	object_url_done(&url);
}

static void check_location(char *const lines[4])
{
	const struct store_context context = { .secret_directory = fuzz_directory() };
	_cleanup_json_ struct json_object *location = json_new_object();
	struct s3_config config;
	struct error err = ERROR_NONE;
	char region[OBJECT_REGION_MAX];
	int r;

	json_set_string(location, "endpoint", lines[0]);
	json_set_string(location, "bucket", lines[1]);
	json_set_string(location, "key", lines[2]);
	json_set_string(location, "region", lines[3]);
	r = s3_config_parse(&config, location, &context, &err);
	if (r < 0)
		fuzz_check_error(r, &err);
	else
		for (int style = 0; style < 2; style++)
			check_target(&config, object_url_is_region(lines[3]) ? lines[3] : "",
				     style);
	s3_config_done(&config);
	if (s3_url_host_region(lines[0], region))
		fuzz_require(object_url_is_region(region));
}

static void check_path(const char *path)
{
	_cleanup_free_ char *once = path_clean(path), *twice = path_clean(once);
	_cleanup_free_ char *below = path_join("/top", once);

	fuzz_require(strcmp(once, twice) == 0);
	fuzz_require((*path == '/') == (*once == '/'));
	fuzz_require(strlen(once) <= strlen(path) || strcmp(once, ".") == 0);
	if (*once == '/')
		fuzz_require(path_is_at_or_below(below, "/top"));
	if (object_list_is_safe(path))
		fuzz_require(path_is_at_or_below(below, "/top") && strcmp(below, "/top") != 0);
	fuzz_require(path_is_at_or_below(once, once));
}

static void check_member(const char *name, const char *link)
{
	_cleanup_free_ char *location = NULL, *whole = NULL, *parent = NULL, *target = NULL;
	char printable[MEMBER_PRINTABLE_MAX];
	char *slash;

	fuzz_check_line(member_printable(name, printable));
	if (member_locate(name, &location) < 0)
		return;
	fuzz_require(location[0] != '/' && strlen(location) <= MEMBER_NAME_MAX);
	whole = path_join("/top", location);
	fuzz_require(path_is_at_or_below(whole, "/top"));
	if (!*location || !member_link_is_inside(location, link))
		return;
	parent = strdup(whole);
	slash = strrchr(parent, '/');
	*slash = '\0';
	target = path_join(parent, link);
	fuzz_require(link[0] != '/' && path_is_at_or_below(target, "/top"));
	fuzz_require(strcmp(target, "/top") != 0);
}

/* Whatever is told of a URL, the password in it is not. */
static void check_message(const char *url)
{
	const struct http_request request = { .method = "GET", .url = url };
	struct error err = ERROR_NONE;
	const char *exceptions;

	error_set(&err, -1, "refused");
	http_outcome_prefix(&request, &err);
	fuzz_check_line(err.message);
	fuzz_require(strstr(err.message, "refused") || strlen(url) > ERROR_MESSAGE_MAX / 2);
	fuzz_require(http_proxy_for(url, &exceptions));
}

void fuzz_url(const char *data, size_t size)
{
	struct fuzz_input input = { data, size };
	char *lines[5];

	for (size_t i = 0; i < 5; i++) {
		struct fuzz_input line = fuzz_take_until(&input, '\n');

		lines[i] = fuzz_text(line.data, line.size);
	}
	check_location(lines);
	check_encoding(lines[2]);
	check_path(lines[2]);
	check_path(lines[4]);
	check_member(lines[4], lines[2]);
	check_message(lines[0]);
	for (size_t i = 0; i < 5; i++)
		free(lines[i]);
}
