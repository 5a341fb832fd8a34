/*
 * Tar archives, entry by entry: what a mutation of bytes seldom finds, names and links that lead
 * outside together. A line is an entry: "f name", "d name", "l name > target", "h name > target",
 * "p name" (a FIFO), "s name > number" (a file that says to be one with those of the same number; in
 * truth, if no more follows the first digit), "S name > number" (the same, of 72 KB that differ in the
 * end). Required: sandbox.h.
 */
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/sandbox.h"
#include "tests/fuzz/targets.h"

#include <stdlib.h>
#include <string.h>

#define TAR_BYTES_MAX (4 * 1024 * 1024)
/* More than is compared at once. */
#define LARGE_BYTES (72 * 1024)

/* Content that has another word at its end, if it is not that of the others. */
static void add_large(struct buffer *tar, const char *name, bool is_true)
{
	static char content[LARGE_BYTES];

	memset(content, 'o', sizeof(content) - 1);
	content[sizeof(content) - 2] = is_true ? 'n' : 'N';
	sandbox_add_entry(tar, '0', name, NULL, content);
}

static void add_shared(struct buffer *tar, const char *name, const char *number, bool is_large)
{
	char records[] = "16 SCHILY.dev=0\n16 SCHILY.ino=0\n18 SCHILY.nlink=2\n";
	bool is_true = !number || !number[0] || !number[1];

	if (number && number[0])
		*(strstr(records, "ino=") + 4) = (char)('0' + (number[0] & 7));
	sandbox_add_entry(tar, 'x', "PaxHeaders/x", NULL, records);
	if (is_large)
		add_large(tar, name, is_true);
	else
		sandbox_add_entry(tar, '0', name, NULL, is_true ? "overwritten" : "overWritten");
}

static void add(struct buffer *tar, char kind, const char *name, const char *link)
{
	switch (kind) {
	case 'd':
		sandbox_add_entry(tar, '5', name, NULL, "");
		break;
	case 'l':
		sandbox_add_entry(tar, '2', name, link, "");
		break;
	case 'h':
		sandbox_add_entry(tar, '1', name, link, "");
		break;
	case 'p':
		sandbox_add_entry(tar, '6', name, NULL, "");
		break;
	case 's':
	case 'S':
		add_shared(tar, name, link, kind == 'S');
		break;
	default:
		sandbox_add_entry(tar, '0', name, NULL, "overwritten");
	}
}

static void add_line(struct buffer *tar, struct fuzz_input line)
{
	_cleanup_free_ char *text = fuzz_text(line.data, line.size);
	char *name = text + (line.size > 2 ? 2 : line.size), *link = strstr(name, " > ");

	if (link) {
		*link = '\0';
		link += 3;
	}
	add(tar, text[0], name, link);
}

void fuzz_entries(const char *data, size_t size)
{
	static const char end[2 * SANDBOX_TAR_BLOCK];
	_cleanup_buffer_ struct buffer tar = BUFFER_INIT(TAR_BYTES_MAX);
	struct fuzz_input input = { data, size };
	struct memory_reader reader;
	struct error err = ERROR_NONE;
	const char *target = sandbox_target();
	int r, fd = fuzz_next_fd();

	while (input.size > 0 && tar.size < TAR_BYTES_MAX / 2)
		add_line(&tar, fuzz_take_until(&input, '\n'));
	fuzz_require(buffer_append(&tar, end, sizeof(end)) == 0);
	memory_reader_init(&reader, tar.data, tar.size);
	r = unpack_tar(&reader.reader, spot_by_path(target), &sandbox_options, &err);
	sandbox_check(r, &err);
	fuzz_require(fuzz_next_fd() == fd);
}
