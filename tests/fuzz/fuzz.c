#include "tests/fuzz/fuzz.h"

#include "executor/base/path.h"
#include "executor/base/text.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATHS 4
#define BODY_BYTES_MAX (1 << 20)

static char directory[64];

void fuzz_fail(const char *file, int line, const char *function, const char *condition)
{
	fprintf(stderr, "%s:%d: %s: does not hold: %s\n", file, line, function, condition);
	abort();
}

const struct fuzz_target *fuzz_find(const char *name)
{
	for (const struct fuzz_target *target = fuzz_targets; target->name; target++)
		if (strcmp(target->name, name) == 0)
			return target;
	return NULL;
}

static void remove_directory(void)
{
	path_remove_tree(directory, NULL);
}

const char *fuzz_directory(void)
{
	const char *parent = getenv("TMPDIR");

	if (directory[0])
		return directory;
	/* A socket's path has 107 bytes. */
	snprintf(directory, sizeof(directory), "%.40s/tiphys.XXXXXX", parent ? parent : "/tmp");
	fuzz_require(mkdtemp(directory));
	atexit(remove_directory);
	return directory;
}

const char *fuzz_path(const char *name)
{
	static char paths[PATHS][PATH_MAX_BYTES];
	static unsigned next;
	char *path = paths[next++ % PATHS];

	snprintf(path, sizeof(paths[0]), "%s/%s", fuzz_directory(), name);
	return path;
}

void fuzz_write_file(const char *path, const char *data, size_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	fuzz_require(fd >= 0);
	fuzz_require(write(fd, data, size) == (ssize_t)size);
	close(fd);
}

char *fuzz_text(const char *data, size_t size)
{
	char *text = malloc(size + 1);

	fuzz_require(text);
	if (size > 0)
		memcpy(text, data, size);
	text[size] = '\0';
	return text;
}

unsigned char fuzz_take_byte(struct fuzz_input *input)
{
	struct fuzz_input one = fuzz_take(input, 1);

	return one.size ? (unsigned char)*one.data : 0;
}

struct fuzz_input fuzz_take(struct fuzz_input *input, size_t size)
{
	struct fuzz_input part = *input;

	if (part.size > size)
		part.size = size;
	input->data += part.size;
	input->size -= part.size;
	return part;
}

struct fuzz_input fuzz_take_until(struct fuzz_input *input, char separator)
{
	const char *end = input->size ? memchr(input->data, separator, input->size) : NULL;
	struct fuzz_input part = fuzz_take(input, end ? (size_t)(end - input->data) : input->size);

	if (end)
		fuzz_take(input, 1);
	return part;
}

void fuzz_check_line(const char *text)
{
	size_t size = strlen(text), length;

	for (size_t i = 0; i < size; i += length) {
		length = text_utf8_length(text + i, size - i);
		fuzz_require(length > 0);
		fuzz_require((unsigned char)text[i] >= ' ' && text[i] != 0x7f);
	}
}

void fuzz_check_error(int r, const struct error *err)
{
	fuzz_require(r < 0);
	fuzz_require(err->code == r);
	fuzz_require(err->class >= 0 && err->class < ERROR_CLASS_COUNT);
	fuzz_require(err->message[0]);
	fuzz_check_line(err->message);
}

static ssize_t read_piece(struct reader *reader, void *data, size_t size, struct error *err)
{
	struct fuzz_pieces *pieces = (struct fuzz_pieces *)reader;
	size_t n = size < pieces->step ? size : pieces->step;

	(void)err;
	if (n > pieces->size)
		n = pieces->size;
	if (n > 0)
		memcpy(data, pieces->data, n);
	pieces->data += n;
	pieces->size -= n;
	return (ssize_t)n;
}

void fuzz_pieces_init(struct fuzz_pieces *pieces, const char *data, size_t size, size_t step)
{
	*pieces = (struct fuzz_pieces){ { read_piece }, data, size, step };
}

void fuzz_take_response(struct fuzz_input *input, struct http_response *ret)
{
	struct fuzz_input number = fuzz_take_until(input, '\n');
	char *text = fuzz_text(number.data, number.size);

	*ret = (struct http_response){
		.status = (int)(strtoul(text, NULL, 10) % 500) + 100,
		.headers = BUFFER_INIT(HTTP_HEADER_BYTES_MAX),
		.body = BUFFER_INIT(BODY_BYTES_MAX),
		.content_length = -1,
	};
	free(text);
	/* Lower case names, no NUL. */
	while (input->size > 0) {
		struct fuzz_input line = fuzz_take_until(input, '\n');

		if (line.size == 0)
			break;
		if (!memchr(line.data, '\0', line.size) &&
		    buffer_append(&ret->headers, line.data, line.size) == 0)
			buffer_append(&ret->headers, "\n", 1);
	}
	ret->is_body_cut = input->size > BODY_BYTES_MAX;
	buffer_append(&ret->body, input->data, input->size);
}

int fuzz_next_fd(void)
{
	int fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0);

	fuzz_require(fd >= 0);
	close(fd);
	return fd;
}
