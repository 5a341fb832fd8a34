#include "executor/stage/engine_asks.h"

#include "executor/base/cleanup.h"
#include "executor/base/fd.h"
#include "executor/base/path.h"
#include "executor/stage/engine_environment.h"
#include "executor/stage/engine_message.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

/* --- which files ------------------------------------------------------------------------ */

/* Where the tools of the stores have their files, at home and by the environment. */
static const struct {
	const char *directory, *file, *variable;
} tools[] = {
	{ ".aws", "config", "AWS_CONFIG_FILE" },
	{ ".aws", "credentials", "AWS_SHARED_CREDENTIALS_FILE" },
	{ ".aliyun", "config.json", "ALIBABA_CLOUD_CONFIG_FILE" },
	{ ".alibabacloud", "credentials", "ALIBABA_CLOUD_CREDENTIALS_FILE" },
};
#define TOOL_COUNT (sizeof(tools) / sizeof(tools[0]))

/* Of service accounts: those for clouds, and the one for the API server, which is the role's alone. */
#define TOKENS "/var/run/secrets"
#define API_TOKEN TOKENS "/kubernetes.io"

static bool is_named_by_environment(const char *path)
{
	for (char **variable = environ; *variable; variable++) {
		const char *value = strchr(*variable, '=');

		if (value && strcmp(value + 1, path) == 0 && engine_environment_has(*variable))
			return true;
	}
	return false;
}

static char *home_of(size_t tool)
{
	const char *home = getenv("HOME");

	return path_join(home && *home ? home : "/", tools[tool].directory);
}

/* As a word of its own. */
static bool has_word(const char *text, const char *word)
{
	size_t size = strlen(word);

	for (const char *hit = strstr(text, word); hit; hit = strstr(hit + 1, word))
		if (hit > text && strchr(" \t=\"", hit[-1]) && strchr(" \t\r\n\"", hit[size]))
			return true;
	return false;
}

static bool is_named_by_tool(size_t tool, const char *path)
{
	_cleanup_buffer_ struct buffer text = BUFFER_SECRET(ENGINE_ASKED_BYTES_MAX);
	_cleanup_free_ char *directory = home_of(tool), *at_home = NULL;
	const char *file = getenv(tools[tool].variable);
	bool found;

	if (!file || !*file) {
		at_home = directory ? path_join(directory, tools[tool].file) : NULL;
		file = at_home;
	}
	found = file && file_read(file, &text, NULL) == 0 && has_word(buffer_string(&text), path);
	return found;
}

bool engine_may_ask(const char *secrets, const char *path)
{
	_cleanup_free_ char *clean = path_clean(path);

	if (!clean || *path != '/')
		return false;
	if (is_named_by_environment(path) || path_is_at_or_below(clean, secrets) ||
	    (path_is_at_or_below(clean, TOKENS) && !path_is_at_or_below(clean, API_TOKEN)))
		return true;
	for (size_t i = 0; i < TOOL_COUNT; i++) {
		_cleanup_free_ char *directory = home_of(i);

		if ((directory && path_is_at_or_below(clean, directory)) ||
		    is_named_by_tool(i, path))
			return true;
	}
	return false;
}

/* --- the role's end --------------------------------------------------------------------- */

/* The file's content, in a memfd; or why not. */
static int read_asked(const char *secrets, const char *path, int *ret, struct error *err)
{
	_cleanup_buffer_ struct buffer text = BUFFER_SECRET(ENGINE_ASKED_BYTES_MAX);
	_cleanup_close_ int fd = -1;
	int r;

	if (!engine_may_ask(secrets, path))
		return error_set(err, -EACCES,
				 "open %s: files with credentials are read where secrets are "
				 "mounted, where an environment variable says, and at home",
				 path);
	r = file_read(path, &text, err);
	if (r < 0)
		return r;
	fd = memfd_create("secret", MFD_CLOEXEC);
	r = fd < 0 ? -errno : fd_write_all(fd, buffer_string(&text), text.size);
	if (r < 0)
		return error_errno(err, r, "read %s", path);
	*ret = TAKE_FD(fd);
	return 0;
}

int engine_answer(int asks_fd, struct json_object *question, const char *secrets)
{
	const char *path = json_get_string(question, "path", NULL);
	_cleanup_json_ struct json_object *message = json_new_object();
	_cleanup_close_ int fd = -1;
	struct error err = ERROR_NONE;

	if (!path)
		return -EPROTO;
	if (!message)
		return -ENOMEM;
	if (read_asked(secrets, path, &fd, &err) < 0 &&
	    json_set(message, "error", engine_message_error(&err)) < 0)
		return -ENOMEM;
	return engine_message_send(asks_fd, message, fd);
}

/* --- the child's end -------------------------------------------------------------------- */

static int read_answer(struct json_object *answer, int fd, const char *path, struct buffer *out,
		       struct error *err)
{
	struct json_object *error = json_get(answer, "error");
	struct error cause = ERROR_NONE;
	int r;

	if (error)
		return engine_message_read_error(error, &cause) < 0 ?
			       error_errno(err, -EPROTO, "ask for %s", path) :
			       error_set_class(err, cause.code, cause.class, "%s", cause.message);
	r = fd < 0 || lseek(fd, 0, SEEK_SET) < 0 ? -EPROTO : fd_read_all(fd, out);
	if (r == -EMSGSIZE)
		return error_set(err, r, "read %s: larger than the limit of %zu bytes", path,
				 out->max);
	return r < 0 ? error_errno(err, r, "read %s", path) : 0;
}

int engine_ask(int asks_fd, const char *path, struct buffer *out, struct error *err)
{
	_cleanup_json_ struct json_object *question = json_new_object(), *answer = NULL;
	_cleanup_close_ int fd = -1;
	int r = question ? json_set_string(question, "path", path) : -ENOMEM;

	if (r == 0)
		r = engine_message_send(asks_fd, question, -1);
	if (r == 0)
		r = engine_message_receive(asks_fd, true, &answer, &fd);
	return r < 0 ? error_errno(err, r, "ask for %s", path) :
		       read_answer(answer, fd, path, out, err);
}
