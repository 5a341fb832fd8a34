#include "tests/unit/archive_support.h"

#include "executor/archive/listing.h"
#include "executor/base/fd.h"
#include "executor/base/path.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <spawn.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#define FILE_BYTES_MAX (64u * 1024 * 1024)

static char sandbox[64];

void sandbox_make(void)
{
	/* In memory where possible: these tests make and remove tens of thousands of files. */
	strcpy(sandbox, "/dev/shm/archive-test.XXXXXX");
	if (mkdtemp(sandbox))
		return;
	strcpy(sandbox, "/tmp/archive-test.XXXXXX");
	assert_non_null(mkdtemp(sandbox));
}

void sandbox_remove(void)
{
	struct error err = ERROR_NONE;

	if (path_remove_tree(sandbox, &err) < 0)
		fail_msg("%s", err.message);
}

const char *sandbox_path(const char *format, ...)
{
	static char paths[8][PATH_MAX_BYTES];
	static unsigned next;
	char *path = paths[next++ % 8];
	int n = snprintf(path, PATH_MAX_BYTES, "%s/", sandbox);
	va_list ap;

	va_start(ap, format);
	vsnprintf(path + n, PATH_MAX_BYTES - (size_t)n, format, ap);
	va_end(ap);
	return path;
}

void put_file(const char *path, const void *data, size_t size, mode_t mode)
{
	struct error err = ERROR_NONE;

	if (path_make_parents(path, 0755, &err) < 0 ||
	    file_replace(path, data, size, mode, &err) < 0)
		fail_msg("%s", err.message);
}

void put_text(const char *path, const char *text)
{
	put_file(path, text, strlen(text), 0644);
}

void put_directory(const char *path, mode_t mode)
{
	struct error err = ERROR_NONE;

	if (path_make_directories(path, 0755, &err) < 0)
		fail_msg("%s", err.message);
	assert_return_code(chmod(path, mode), errno);
}

struct buffer get_file(const char *path)
{
	struct buffer content = BUFFER_INIT(FILE_BYTES_MAX);
	struct error err = ERROR_NONE;

	if (file_read(path, &content, &err) < 0)
		fail_msg("%s", err.message);
	return content;
}

/* FNV-1a: tells contents apart, and that is all it is for. */
static unsigned long long checksum(int fd)
{
	unsigned long long hash = 14695981039346656037ull;
	unsigned char chunk[4096];
	ssize_t n;

	while ((n = read(fd, chunk, sizeof(chunk))) > 0)
		for (ssize_t i = 0; i < n; i++)
			hash = (hash ^ chunk[i]) * 1099511628211ull;
	return hash;
}

static void describe(struct buffer *out, int parent_fd, const char *base, const char *name,
		     bool has_times)
{
	char text[PATH_MAX_BYTES] = "";
	struct stat st;

	assert_return_code(fstatat(parent_fd, base, &st, AT_SYMLINK_NOFOLLOW), errno);
	if (S_ISLNK(st.st_mode)) {
		ssize_t n = readlinkat(parent_fd, base, text, sizeof(text) - 1);

		assert_true(n >= 0);
	}
	buffer_append_format(out, "%s %o", name, st.st_mode);
	if (has_times)
		buffer_append_format(out, " %lld", (long long)st.st_mtime);
	if (S_ISREG(st.st_mode)) {
		_cleanup_close_ int fd = openat(parent_fd, base, O_RDONLY | O_CLOEXEC);

		buffer_append_format(out, " %lld %llx", (long long)st.st_size, checksum(fd));
	}
	buffer_append_format(out, " %s\n", text);
}

static void walk(struct buffer *out, int fd, const char *prefix, bool has_times)
{
	_cleanup_listing_ struct listing listing = LISTING_INIT(FILE_BYTES_MAX);

	assert_int_equal(listing_read(&listing, fd), 0);
	for (size_t i = 0; i < listing.count; i++) {
		const char *base = listing_name(&listing, i);
		_cleanup_free_ char *name = NULL;
		_cleanup_close_ int sub = -1;

		assert_true(asprintf(&name, "%s%s", prefix, base) >= 0);
		describe(out, fd, base, name, has_times);
		sub = openat(fd, base, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (sub >= 0) {
			_cleanup_free_ char *below = NULL;

			assert_true(asprintf(&below, "%s/", name) >= 0);
			walk(out, sub, below, has_times);
		}
	}
}

char *snapshot(const char *path, bool has_times)
{
	_cleanup_buffer_ struct buffer out = BUFFER_INIT(FILE_BYTES_MAX);
	_cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_int_equal(buffer_append_string(&out, ""), 0);
	if (fd < 0)
		describe(&out, AT_FDCWD, path, "", has_times);
	else
		walk(&out, fd, "", has_times);
	return buffer_take(&out);
}

int run(struct buffer *out, const char *const argv[])
{
	_cleanup_close_ int in = -1;
	posix_spawn_file_actions_t actions;
	int ends[2], status, r;
	pid_t pid;

	assert_return_code(pipe2(ends, O_CLOEXEC), errno);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
	posix_spawn_file_actions_adddup2(&actions, ends[1], 2);
	r = posix_spawnp(&pid, argv[0], &actions, NULL, (char *const *)argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	close(ends[1]);
	in = ends[0];
	if (r != 0)
		return 127;
	if (out) {
		assert_int_equal(buffer_append_string(out, ""), 0);
		assert_int_equal(fd_read_all(in, out), 0);
	} else {
		char chunk[4096];

		while (read(in, chunk, sizeof(chunk)) > 0)
			continue;
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

bool has_program(const char *name)
{
	return RUN(NULL, "sh", "-c", "command -v \"$0\"", name) == 0;
}

static int collect(struct writer *base, const void *data, size_t size, struct error *err)
{
	struct collector *self = (struct collector *)base;

	if (size > self->room)
		return error_errno(err, -ENOSPC, "write test");
	self->room -= size;
	return buffer_append(&self->data, data, size);
}

void collector_init(struct collector *collector, size_t room)
{
	*collector = (struct collector){
		.writer.write = collect,
		.data = BUFFER_INIT(FILE_BYTES_MAX),
		.room = room,
	};
}

void collector_done(struct collector *collector)
{
	buffer_done(&collector->data);
}

static ssize_t trickle_read(struct reader *base, void *data, size_t size, struct error *err)
{
	struct trickle *self = (struct trickle *)base;

	(void)err;
	if (size > self->step)
		size = self->step;
	if (size > self->size)
		size = self->size;
	if (size > 0)
		memcpy(data, self->data, size);
	self->data += size;
	self->size -= size;
	return (ssize_t)size;
}

void trickle_init(struct trickle *trickle, const void *data, size_t size, size_t step)
{
	*trickle = (struct trickle){
		.reader.read = trickle_read,
		.data = data,
		.size = size,
		.step = step,
	};
}
