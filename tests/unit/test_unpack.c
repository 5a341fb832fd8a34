#include "executor/archive/detect.h"
#include "executor/archive/gzip.h"
#include "executor/archive/pack.h"
#include "executor/archive/unpack.h"
#include "executor/base/cleanup.h"
#include "executor/base/path.h"
#include "tests/unit/archive_support.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/openat2.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cmocka.h>

#define UNLIMITED ((size_t)-1)
#define BLOCK 512
#define EPOCH 1700000000
#define MTIME_OCTAL "14524770400" /* 1700000000 */

/* --- Archives by hand: the tools refuse to write what must be refused here ------------------------ */

struct entry {
	char type;
	const char *name; /* "%O" at the start stands for the directory outside */
	const char *link;
	const char *content;
	unsigned mode; /* 0 = 0644 */
	unsigned long long size; /* what the header says, if not the content's size */
};

static void put_octal(char *field, int digits, unsigned long long value)
{
	char text[32];

	snprintf(text, sizeof(text), "%0*llo", digits, value);
	memcpy(field, text, (size_t)digits);
}

static void add_padding(struct buffer *tar)
{
	static const char zeros[BLOCK];

	assert_int_equal(buffer_append(tar, zeros, (BLOCK - tar->size % BLOCK) % BLOCK), 0);
}

static void copy_name(char *field, const char *name)
{
	char whole[PATH_MAX_BYTES];

	if (strncmp(name, "%O", 2) == 0) {
		snprintf(whole, sizeof(whole), "%s%s", sandbox_path("outside"), name + 2);
		name = whole;
	}
	assert_true(strlen(name) <= 100);
	memcpy(field, name, strlen(name));
}

static void add_block(struct buffer *tar, const struct entry *entry, size_t size)
{
	char block[BLOCK] = { 0 };
	unsigned sum = 0;

	copy_name(block, entry->name);
	put_octal(block + 100, 7, entry->mode ? entry->mode : 0644);
	put_octal(block + 108, 7, 0);
	put_octal(block + 116, 7, 0);
	put_octal(block + 124, 11, entry->size ? entry->size : size);
	memcpy(block + 136, MTIME_OCTAL, 11);
	block[156] = entry->type;
	if (entry->link)
		copy_name(block + 157, entry->link);
	memcpy(block + 257, "ustar\00000", 8);
	put_octal(block + 329, 7, 1);
	put_octal(block + 337, 7, 3);
	memset(block + 148, ' ', 8);
	for (size_t i = 0; i < BLOCK; i++)
		sum += (unsigned char)block[i];
	put_octal(block + 148, 6, sum);
	block[154] = '\0';
	assert_int_equal(buffer_append(tar, block, BLOCK), 0);
}

static void add_entry(struct buffer *tar, const struct entry *entry)
{
	size_t size = entry->content ? strlen(entry->content) : 0;

	add_block(tar, entry, size);
	if (size > 0)
		assert_int_equal(buffer_append(tar, entry->content, size), 0);
	add_padding(tar);
}

static void add_end(struct buffer *tar)
{
	static const char zeros[2 * BLOCK];

	assert_int_equal(buffer_append(tar, zeros, sizeof(zeros)), 0);
}

#define FILE_(name, content) \
	{ \
		'0', name, NULL, content \
	}
#define DIR_(name) \
	{ \
		'5', name, NULL, NULL, 0755 \
	}
#define LINK_(name, target) \
	{ \
		'2', name, target \
	}
#define HARD_(name, target) \
	{ \
		'1', name, target \
	}
#define PAX_(text) \
	{ \
		'x', "PaxHeaders/x", NULL, text \
	}

static void compress_data(const struct buffer *from, struct collector *out)
{
	struct error err = ERROR_NONE;
	struct gzip_writer gzip;

	collector_init(out, UNLIMITED);
	assert_int_equal(gzip_writer_init(&gzip, &out->writer, 1, &err), 0);
	assert_int_equal(gzip.writer.write(&gzip.writer, from->data, from->size, &err), 0);
	assert_int_equal(gzip.writer.finish(&gzip.writer, &err), 0);
	gzip_writer_done(&gzip);
}

/* --- Unpacking in a sandbox: in/ has the target, outside/ must never change -------------------- */

static struct buffer warnings = { .max = 100000 };

static void on_warning(void *context, const char *message)
{
	(void)context;
	assert_null(strchr(message, '\n'));
	buffer_append_format(&warnings, "%s\n", message);
}

static const struct unpack_options usual = { .hooks.warn = on_warning };

static int setup(void **state)
{
	(void)state;
	sandbox_make();
	put_directory(sandbox_path("in"), 0755);
	put_text(sandbox_path("outside/secret"), "secret");
	put_directory(sandbox_path("outside/dir"), 0700);
	buffer_reset(&warnings);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	sandbox_remove();
	buffer_done(&warnings);
	return 0;
}

static int unpack(const void *data, size_t size, struct error *err)
{
	struct memory_reader reader;

	*err = ERROR_NONE;
	memory_reader_init(&reader, data, size);
	return unpack_tar(&reader.reader, sandbox_path("in/art"), &usual, err);
}

static int unpack_buffer(const struct buffer *data, struct error *err)
{
	return unpack(data->data, data->size, err);
}

static int unpack_zip_at(const char *path, struct error *err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);

	assert_return_code(fd, errno);
	*err = ERROR_NONE;
	return unpack_zip(fd, sandbox_path("in/art"), &usual, err);
}

static void clear_in(void)
{
	struct error err = ERROR_NONE;

	assert_int_equal(path_remove_tree(sandbox_path("in"), &err), 0);
	put_directory(sandbox_path("in"), 0755);
}

static void assert_nothing_left(void)
{
	_cleanup_free_ char *left = snapshot(sandbox_path("in"), false);

	assert_string_equal(left, "");
}

/* --- Hostile and odd archives -------------------------------------------------------------------- */

struct hostile {
	const char *title;
	struct entry entries[10];
	int wanted; /* 0 or a negative errno */
	/* Of the error, or (wanted 0) of the warnings: what it must contain; "" = no warning. */
	const char *message;
	/* wanted 0: "path=content", "path->target", "path/" (a directory), "!path" (nothing). */
	const char *expected[6];
	bool is_damaged; /* no end mark */
};

#define OUTSIDE "illegal file path after symlink resolution: "

static const struct hostile hostile[] = {
	{ "parent directory", { FILE_("../evil", "x") }, -EXDEV, "illegal file path: ../evil" },
	{ "parent from within",
	  { DIR_("a"), FILE_("a/../../evil", "x") },
	  -EXDEV,
	  "illegal file path: a/../../evil" },
	{ "absolute parent", { FILE_("/../evil", "x") }, -EXDEV, "illegal file path: /../evil" },
	{ "sibling with the same prefix",
	  { FILE_("../art.tmpdir2/x", "x") },
	  -EXDEV,
	  "illegal file path: ../art.tmpdir2/x" },
	{ "absolute name is relative",
	  { FILE_("/etc/passwd", "mine"), FILE_("b", "2") },
	  0,
	  "",
	  { "etc/passwd=mine", "b=2" } },
	{ "absolute name outside",
	  { FILE_("%O/secret", "evil"), FILE_("b", "2") },
	  0,
	  "",
	  { "b=2" } },
	{ "empty file named as the top", { FILE_("./", NULL) }, 0, "", { "/" } },
	{ "regular file as the top", { FILE_(".", "x") }, -EXDEV, "illegal file path: ." },
	{ "link as the top", { LINK_("a/..", "b") }, -EXDEV, "illegal file path: a/.." },
	{ "top directory entry",
	  { DIR_("./"), FILE_("./f", "1"), FILE_("./g", "2") },
	  0,
	  "",
	  { "f=1", "g=2" } },
	{ "top directory entry alone", { DIR_(".") }, 0, "", { "/" } },
	{ "dots inside", { FILE_("a/./b/../c", "1") }, 0, "", { "c=1" } },
	{ "dots in names",
	  { FILE_("a/..b", "1"), FILE_("a/...", "2") },
	  0,
	  "",
	  { "..b=1", "...=2" } },
	{ "absolute link target",
	  { LINK_("l", "/etc/passwd") },
	  -EXDEV,
	  "illegal symlink target: l -> /etc/passwd" },
	{ "link target above",
	  { LINK_("l", "../x") },
	  -EXDEV,
	  "illegal symlink target: l -> ../x" },
	{ "link target far above",
	  { DIR_("a"), LINK_("a/l", "../../../../../../etc/passwd") },
	  -EXDEV,
	  "illegal symlink target: a/l -> ../../../../../../etc/passwd" },
	{ "link to the top itself", { LINK_("l", ".") }, -EXDEV, "illegal symlink target: l -> ." },
	{ "link back to the top",
	  { LINK_("a/l", "..") },
	  -EXDEV,
	  "illegal symlink target: a/l -> .." },
	{ "link with an empty target",
	  { LINK_("l", "") },
	  -EXDEV,
	  "illegal symlink target: l -> " },
	/* CVE-2025-62156: names were joined and cleaned, but not compared with the destination. */
	{ "zip slip",
	  { FILE_("ok", "1"), FILE_("../../../../../../../../tmp/argo-evil", "x") },
	  -EXDEV,
	  "illegal file path: ../" },
	/* CVE-2025-66626: a link out, then a file through it. */
	{ "link out, file through it",
	  { LINK_("l", "%O"), FILE_("l/evil", "x") },
	  -EXDEV,
	  "illegal symlink target: l -> " },
	{ "relative link out, file through it",
	  { LINK_("l", "../../outside"), FILE_("l/evil", "x") },
	  -EXDEV,
	  "illegal symlink target: l -> ../../outside" },
	{ "link replaced by its own escape",
	  { DIR_("d"), LINK_("d/l", "../e"), DIR_("e"), FILE_("d/l/../../../evil", "x") },
	  -EXDEV,
	  "illegal file path: " },
	/* Each text alone stays inside; together they climb. */
	{ "chain of links that climbs",
	  { DIR_("top"), LINK_("a/b/c", "../../top"), LINK_("m", "a/b/c/../../x"),
	    FILE_("m/evil", "x") },
	  -EXDEV,
	  OUTSIDE },
	{ "chain of links that climbs, unused",
	  { DIR_("top"), LINK_("a/b/c", "../../top"), LINK_("m", "a/b/c/../../x") },
	  -EXDEV,
	  "illegal symlink target: m -> a/b/c/../../x" },
	{ "deep name of a shallow place",
	  { DIR_("top"), LINK_("p/q/r/s", "../../../top"),
	    LINK_("p/q/r/s/m", "../../../../outside") },
	  -EXDEV,
	  "illegal symlink target: p/q/r/s/m -> ../../../../outside" },
	{ "deep name of a shallow place, used",
	  { DIR_("top"), LINK_("p/q/r/s", "../../../top"),
	    LINK_("p/q/r/s/m", "../../../../outside"), FILE_("top/m/evil", "x") },
	  -EXDEV,
	  OUTSIDE "top/m/evil resolves outside destination" },
	{ "climbing link completed later",
	  { LINK_("m", "a/../../x"), FILE_("z", "1") },
	  -EXDEV,
	  "illegal symlink target: m -> a/../../x" },
	{ "link behind a name, honest",
	  { FILE_("lib64/x", "1"), DIR_("lib"), LINK_("l", "lib/../lib64/x") },
	  0,
	  "",
	  { "l->lib/../lib64/x", "lib64/x=1" } },
	{ "linked directory, honest",
	  { DIR_("real"), LINK_("dir", "real"), FILE_("dir/f", "1") },
	  0,
	  "",
	  { "dir->real", "real/f=1" } },
	{ "directory entry over a linked directory",
	  { DIR_("real"), LINK_("dir", "real"), DIR_("dir"), FILE_("dir/f", "1") },
	  0,
	  "",
	  { "dir->real", "real/f=1" } },
	{ "loop of links",
	  { LINK_("a", "b"), LINK_("b", "a"), FILE_("a/f", "x") },
	  -ELOOP,
	  "too many levels of symbolic links" },
	{ "loop of links, unused",
	  { LINK_("a", "b"), LINK_("b", "a") },
	  0,
	  "",
	  { "a->b", "b->a" } },
	{ "dangling link as a parent",
	  { LINK_("d", "missing"), FILE_("d/f", "x") },
	  -ENOTDIR,
	  "open the directory of d/f" },
	{ "directory becomes a link",
	  { DIR_("d"), FILE_("d/f", "1"), LINK_("d", "e") },
	  -EEXIST,
	  "symlink d: file exists" },
	{ "directory becomes a file",
	  { DIR_("d"), FILE_("d/f", "1"), FILE_("d", "x") },
	  -EISDIR,
	  "create d: is a directory" },
	{ "file becomes a directory",
	  { FILE_("d", "1"), FILE_("d/f", "x") },
	  -ENOTDIR,
	  "open the directory of d/f: not a directory" },
	{ "file becomes a directory entry", { FILE_("d", "1"), DIR_("d") }, -ENOTDIR, "mkdir d" },
	{ "link becomes a file: the link is replaced, not followed",
	  { FILE_("t", "old"), LINK_("l", "t"), FILE_("l", "new") },
	  0,
	  "",
	  { "t=old", "l=new" } },
	{ "link becomes a file while it is the parent in use",
	  { DIR_("d"), LINK_("s", "d"), FILE_("s/x", "1"), FILE_("s", "2"), FILE_("s/y", "3") },
	  -ENOTDIR,
	  "open the directory of s/y" },
	{ "duplicate file, shorter later",
	  { FILE_("f", "long content"), FILE_("f", "x"), FILE_("g", "1") },
	  0,
	  "",
	  { "f=x", "g=1" } },
	{ "duplicate link",
	  { LINK_("l", "a"), LINK_("l", "a") },
	  -EEXIST,
	  "symlink l: file exists" },
	{ "file becomes a link", { FILE_("l", "1"), LINK_("l", "a") }, -EEXIST, "file exists" },
	{ "names that differ in case",
	  { FILE_("Readme", "1"), FILE_("README", "2"), FILE_("readme", "3") },
	  0,
	  "",
	  { "Readme=1", "README=2", "readme=3" } },
	{ "name with a newline",
	  { FILE_("a\nb", "1"), FILE_("c", "2") },
	  0,
	  "",
	  { "a\nb=1", "c=2" } },
	{ "bad name with a newline is one line",
	  { FILE_("../a\nb", "1") },
	  -EXDEV,
	  "illegal file path: ../a?b" },
	{ "name that is not UTF-8",
	  { FILE_("a\xff\xfe", "1"), FILE_("c", "2") },
	  0,
	  "",
	  { "a\xff\xfe=1", "c=2" } },
	{ "pax name that is not UTF-8",
	  { PAX_("12 path=\xff\xfe-\n"), FILE_("x", "1"), FILE_("c", "2") },
	  0,
	  "",
	  { "\xff\xfe-=1", "c=2" } },
	{ "pax name in UTF-8",
	  { PAX_("16 path=gr\xc3\xbc\xc3\x9f"
		 "e\n"),
	    FILE_("x", "1"), FILE_("c", "2") },
	  0,
	  "",
	  { "gr\xc3\xbc\xc3\x9f"
	    "e=1",
	    "c=2" } },
	{ "pax link in UTF-8",
	  { PAX_("18 linkpath=\xc3\xbc\xc3\xbc\xc3\n"), LINK_("l", "x"), FILE_("c", "2") },
	  0,
	  "",
	  { "l->\xc3\xbc\xc3\xbc\xc3", "c=2" } },
	{ "pax name outside",
	  { PAX_("16 path=../evil\n"), FILE_("x", "1") },
	  -EXDEV,
	  "illegal file path: ../evil" },
	{ "pax link outside",
	  { PAX_("20 linkpath=/etc/xx\n"), LINK_("l", "x") },
	  -EXDEV,
	  "illegal symlink target: l -> /etc/xx" },
	{ "pax record with a wrong length",
	  { PAX_("99 path=x\n"), FILE_("x", "1") },
	  -EBADMSG,
	  "tar: " },
	{ "pax size larger than the rest",
	  { PAX_("15 size=999999\n"), FILE_("x", "1") },
	  -EBADMSG,
	  "truncated" },
	{ "pax size smaller than the content",
	  { PAX_("10 size=0\n"), FILE_("x", "1"), FILE_("y", "2") },
	  -EBADMSG,
	  "tar: " },
	{ "negative pax size", { PAX_("11 size=-1\n"), FILE_("x", "1") }, -EBADMSG, "tar: " },
	{ "header size larger than the disk",
	  { { '0', "huge", NULL, NULL, 0, 077777777777 } },
	  -EBADMSG,
	  "truncated",
	  { NULL },
	  true },
	{ "pax size larger than any disk",
	  { PAX_("28 size=9000000000000000000\n"), FILE_("x", "1") },
	  -ENOSPC,
	  "x: no space left on device: 9000000000000000000 bytes announced" },
	{ "sparse file larger than any disk",
	  { PAX_("22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n"
		 "40 GNU.sparse.realsize=7000000000000000\n"),
	    { '0', "x", NULL, "1\n0\n0\n", 0, BLOCK } },
	  -ENOSPC,
	  "no space left on device: 7000000000000000 bytes announced" },
	{ "hard link", { FILE_("a", "1"), HARD_("d/b", "a") }, 0, "", { "a=1", "d/b=1" } },
	{ "hard link to outside",
	  { HARD_("b", "../../outside/secret") },
	  -EXDEV,
	  "illegal file path: ../../outside/secret" },
	{ "hard link to an absolute name",
	  { HARD_("b", "%O/secret"), FILE_("c", "1"), FILE_("d", "2") },
	  0,
	  "which is not in the archive: left out",
	  { "c=1", "!b" } },
	{ "hard link through a linked directory that climbs",
	  { DIR_("top"), LINK_("a/b/c", "../../top"), LINK_("m", "a/b/c/../../../outside"),
	    HARD_("h", "m/secret") },
	  -EXDEV,
	  OUTSIDE "m/secret resolves outside destination" },
	{ "hard link to a link, moved so that it would climb",
	  { LINK_("a/b/l", "../../x"), HARD_("h", "a/b/l") },
	  -EXDEV,
	  "illegal symlink target: h -> ../../x" },
	{ "hard link to a link",
	  { FILE_("x", "1"), LINK_("l", "x"), HARD_("h", "l") },
	  0,
	  "",
	  { "h->x", "l->x" } },
	{ "hard link to a hard link",
	  { FILE_("x", "1"), HARD_("y", "x"), HARD_("z", "y") },
	  0,
	  "",
	  { "x=1", "y=1", "z=1" } },
	{ "hard link to itself",
	  { FILE_("x", "1"), HARD_("x", "x"), FILE_("y", "2") },
	  0,
	  "",
	  { "x=1" } },
	{ "hard link to a directory",
	  { DIR_("d"), HARD_("h", "d") },
	  0,
	  "h: a hard link to d, which is not in the archive: left out",
	  { "/", "!h" } },
	{ "file over a hard link leaves the other name alone",
	  { FILE_("x", "old"), HARD_("y", "x"), FILE_("x", "new") },
	  0,
	  "",
	  { "x=new", "y=old" } },
	{ "device nodes",
	  { { '3', "null", NULL, NULL, 0666 },
	    { '4', "disk", NULL, NULL, 0666 },
	    FILE_("f", "1"),
	    FILE_("g", "2") },
	  0,
	  "null: a FIFO or device: left out\ndisk: a FIFO or device: left out",
	  { "!null", "!disk", "f=1" } },
	{ "fifo",
	  { { '6', "fifo" }, FILE_("f", "1"), FILE_("g", "2") },
	  0,
	  "fifo: a FIFO",
	  { "!fifo" } },
	{ "contiguous and old regular files",
	  { { '7', "seven", NULL, "7" }, { '\0', "old", NULL, "0" } },
	  0,
	  "",
	  { "seven=7", "old=0" } },
	{ "old directory is a file with a slash",
	  { { '\0', "dir/" }, FILE_("dir/f", "1") },
	  0,
	  "",
	  { "f=1" } },
	{ "damaged checksum",
	  { FILE_("a", "1"), { '0', "\x80", NULL, NULL, 0, 1 } },
	  -EBADMSG,
	  "tar: " },
	{ "name over 255 bytes",
	  { PAX_("269 path="
		 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
		 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
		 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
		 "aaaaaaa\n"),
	    FILE_("x", "1") },
	  -ENAMETOOLONG,
	  "file name too long" },
};

static void verify_entry(const char *expected)
{
	const char *arrow = strstr(expected, "->"), *equals = strchr(expected, '=');
	size_t size = strlen(expected);
	char text[PATH_MAX_BYTES];
	struct stat st;

	if (expected[0] == '!') {
		assert_int_equal(lstat(sandbox_path("in/art/%s", expected + 1), &st), -1);
	} else if (arrow) {
		ssize_t n = readlink(sandbox_path("in/art/%.*s", (int)(arrow - expected), expected),
				     text, sizeof(text) - 1);

		assert_true(n >= 0);
		text[n] = '\0';
		assert_string_equal(text, arrow + 2);
	} else if (equals) {
		_cleanup_buffer_ struct buffer content =
			get_file(sandbox_path("in/art/%.*s", (int)(equals - expected), expected));

		assert_int_equal(content.size, strlen(equals + 1));
		assert_memory_equal(content.data, equals + 1, content.size);
	} else {
		assert_int_equal(expected[size - 1], '/');
		assert_return_code(stat(sandbox_path("in/art/%s", expected), &st), errno);
		assert_true(S_ISDIR(st.st_mode));
	}
}

static void check_hostile(const struct hostile *test, const struct buffer *data)
{
	_cleanup_free_ char *before = snapshot(sandbox_path("outside"), true);
	_cleanup_free_ char *after = NULL;
	struct error err;
	int r;

	buffer_reset(&warnings);
	r = unpack_buffer(data, &err);
	after = snapshot(sandbox_path("outside"), true);
	assert_string_equal(before, after);
	if (r != test->wanted)
		fail_msg("%s: got %d %s", test->title, r, err.message);
	if (r < 0) {
		assert_int_not_equal(err.class, ERROR_NOT_FOUND);
		assert_null(strchr(err.message, '\n'));
		if (!strstr(err.message, test->message))
			fail_msg("%s: said %s", test->title, err.message);
		assert_nothing_left();
		return;
	}
	if (*test->message ? !strstr(buffer_string(&warnings), test->message) : warnings.size > 0)
		fail_msg("%s: warned %s", test->title, buffer_string(&warnings));
	assert_int_equal(access(sandbox_path("in/art.tmpdir"), F_OK), -1);
	for (size_t i = 0; i < 6 && test->expected[i]; i++)
		verify_entry(test->expected[i]);
	clear_in();
}

static void hostile_archives_stay_inside(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(hostile) / sizeof(hostile[0]); i++) {
		const struct hostile *test = &hostile[i];
		_cleanup_buffer_ struct buffer tar = BUFFER_INIT(100000);
		_cleanup_collector_ struct collector gz;

		for (size_t j = 0; j < 10 && test->entries[j].name; j++)
			add_entry(&tar, &test->entries[j]);
		if (strcmp(test->title, "damaged checksum") == 0)
			tar.data[tar.size - BLOCK + 1] = 'x';
		if (!test->is_damaged)
			add_end(&tar);
		compress_data(&tar, &gz);
		check_hostile(test, &tar);
		check_hostile(test, &gz.data);
	}
}

static void long_and_deep_names_meet_the_limits(void **state)
{
	static const struct {
		const char *part;
		size_t count;
		int wanted;
		const char *message;
	} tests[] = {
		{ "/d", 510, 0, "" },
		{ "/d", 513, -ELOOP, "deeper than the limit of 512 directories" },
		{ "/0123456789012345678901234567890", 127, 0, "" }, /* 4064 bytes */
		{ "/0123456789012345678901234567890", 128, -ENAMETOOLONG,
		  "over the limit of 4095" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		_cleanup_buffer_ struct buffer tar = BUFFER_INIT(100000), name = BUFFER_INIT(10000);
		_cleanup_free_ char *record = NULL;
		size_t size;
		struct error err;

		buffer_append_string(&name, "x");
		for (size_t j = 0; j < tests[i].count; j++)
			buffer_append_string(&name, tests[i].part);
		size = name.size + strlen("1234 path=\n");
		assert_true(asprintf(&record, "%zu path=%s\n", size, name.data) == (int)size);
		add_entry(&tar, &(struct entry)PAX_(record));
		add_entry(&tar, &(struct entry)FILE_("x", "1"));
		add_end(&tar);
		assert_int_equal(unpack_buffer(&tar, &err), tests[i].wanted);
		assert_non_null(strstr(err.message, tests[i].message));
		if (tests[i].wanted < 0)
			assert_nothing_left();
		clear_in();
	}
}

/* A link to a deep directory, used again and again, must not make it ever deeper. */
static void links_do_not_add_up_depth(void **state)
{
	_cleanup_buffer_ struct buffer tar = BUFFER_INIT(1000000);
	struct error err;
	char name[100], link[100];

	(void)state;
	for (int i = 0; i < 30; i++) {
		int n = snprintf(name, sizeof(name), "%s", i ? "l" : "t");

		if (i > 0)
			n += snprintf(name + n, sizeof(name) - (size_t)n, "%d", i - 1);
		for (int j = 0; j < 40; j++)
			n += snprintf(name + n, sizeof(name) - (size_t)n, "/d");
		add_entry(&tar, &(struct entry)DIR_(name));
		snprintf(link, sizeof(link), "l%d", i);
		add_entry(&tar, &(struct entry)LINK_(link, name));
	}
	add_end(&tar);
	assert_int_equal(unpack_buffer(&tar, &err), -ELOOP);
	assert_non_null(strstr(err.message, "512 directories"));
	assert_nothing_left();
}

static void modes_and_times_are_kept(void **state)
{
	static const struct entry entries[] = {
		{ '5', "d", NULL, NULL, 0700 },        { '5', "d/wide", NULL, NULL, 03777 },
		{ '0', "d/setuid", NULL, "x", 06755 }, { '0', "d/private", NULL, "x", 0600 },
		{ '0', "d/none", NULL, "x", 01000 },   { '0', "d/implicit/f", NULL, "x", 0666 },
	};
	static const struct {
		const char *name;
		mode_t mode;
		time_t mtime;
	} wanted[] = {
		{ "", 0755, EPOCH },           { "wide", 0777, EPOCH }, { "setuid", 0755, EPOCH },
		{ "private", 0600, EPOCH },    { "none", 0, EPOCH },    { "implicit", 0755, 0 },
		{ "implicit/f", 0666, EPOCH },
	};
	_cleanup_buffer_ struct buffer tar = BUFFER_INIT(100000);
	struct error err;

	(void)state;
	for (size_t i = 0; i < sizeof(entries) / sizeof(entries[0]); i++)
		add_entry(&tar, &entries[i]);
	add_end(&tar);
	umask(077);
	assert_int_equal(unpack_buffer(&tar, &err), 0);
	umask(022);
	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
		struct stat st;

		assert_return_code(stat(sandbox_path("in/art/%s", wanted[i].name), &st), errno);
		assert_int_equal(st.st_mode & 07777, wanted[i].mode);
		if (wanted[i].mtime)
			assert_int_equal(st.st_mtime, wanted[i].mtime);
	}
}

/* --- Cut and damaged data ------------------------------------------------------------------------- */

static void make_source(void)
{
	_cleanup_free_ char *data = malloc(200000);

	for (size_t i = 0; i < 200000; i++)
		data[i] = (char)((i * 2654435761u) >> 13);
	put_file(sandbox_path("src/t/big"), data, 200000, 0640);
	put_text(sandbox_path("src/t/a/b/c"), "abc\n");
	put_file(sandbox_path("src/t/exe"), "#!\n", 3, 0755);
	put_file(sandbox_path("src/t/empty"), "", 0, 0600);
	put_directory(sandbox_path("src/t/dir"), 0777);
	put_text(sandbox_path("src/t/gr\xc3\xbc\xc3\x9f"), "utf-8\n");
	put_text(sandbox_path(
			 "src/t/"
			 "long-long-long-long-long-long-long-long-long-long-long-long-long-long-"
			 "long-long-long-long-long-long-long-long-long-long-long-long-name"),
		 "l\n");
	assert_return_code(symlink("../exe", sandbox_path("src/t/a/link")), errno);
	assert_return_code(link(sandbox_path("src/t/exe"), sandbox_path("src/t/hard")), errno);
	assert_return_code(symlink("exe", sandbox_path("src/t/soft")), errno);
}

static struct collector pack(enum pack_format format, const char *path)
{
	struct pack_options options = { .format = format, .level = 1 };
	struct error err = ERROR_NONE;
	struct collector out;

	collector_init(&out, UNLIMITED);
	assert_int_equal(pack_tree(AT_FDCWD, path, &options, &out.writer, NULL, &err), 0);
	return out;
}

static void cut_archives_fail(void **state)
{
	_cleanup_collector_ struct collector tar = { .room = 0 }, gz = { .room = 0 };
	struct error err;

	(void)state;
	put_text(sandbox_path("s/t/f"), "content");
	put_text(sandbox_path("s/t/g"), "content");
	tar = pack(PACK_TAR, sandbox_path("s/t"));
	compress_data(&tar.data, &gz);
	/* One block of zeros is end mark enough. */
	for (size_t cut = 0; cut < tar.data.size - BLOCK; cut += BLOCK) {
		assert_int_equal(unpack(tar.data.data, cut, &err), -EBADMSG);
		assert_non_null(strstr(err.message, cut ? "truncated" : "the archive is empty"));
		assert_nothing_left();
	}
	for (size_t cut = 1; cut < gz.data.size; cut++) {
		assert_int_equal(unpack(gz.data.data, cut, &err), -EBADMSG);
		assert_nothing_left();
	}
}

static void damaged_compression_fails(void **state)
{
	_cleanup_collector_ struct collector gz = { .room = 0 };
	struct error err;

	(void)state;
	make_source();
	gz = pack(PACK_TAR_GZ, sandbox_path("src/t"));
	gz.data.data[gz.data.size - 6] ^= 1; /* the checksum */
	assert_int_equal(unpack_buffer(&gz.data, &err), -EBADMSG);
	assert_string_equal(err.message, "gzip: incorrect data check");
	assert_nothing_left();
	gz.data.data[gz.data.size - 6] ^= 1;
	gz.data.data[gz.data.size / 2] ^= 0x55;
	assert_int_equal(unpack_buffer(&gz.data, &err), -EBADMSG);
	assert_nothing_left();
}

static void other_data_is_refused(void **state)
{
	static const char *const texts[] = { "not an archive", "PK\3\4", "\x1f\x8b\x08",
					     "\x28\xb5\x2f\xfd" };
	struct error err;

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(unpack(texts[i], strlen(texts[i]), &err), -EBADMSG);
		assert_nothing_left();
	}
	assert_int_equal(unpack("text", 4, &err), -EBADMSG);
	assert_non_null(strstr(err.message, "gzip: invalid header"));
}

static void members_and_garbage_are_accepted(void **state)
{
	_cleanup_collector_ struct collector tar = { .room = 0 };
	_cleanup_buffer_ struct buffer all = BUFFER_INIT(1000000);
	struct trickle trickle;
	struct error err = ERROR_NONE;
	size_t half;

	(void)state;
	make_source();
	tar = pack(PACK_TAR, sandbox_path("src/t"));
	half = tar.data.size / 2;
	for (int i = 0; i < 2; i++) {
		struct buffer part = { .data = tar.data.data + (i ? half : 0),
				       .size = i ? tar.data.size - half : half };
		_cleanup_collector_ struct collector gz;

		compress_data(&part, &gz);
		buffer_append(&all, gz.data.data, gz.data.size);
	}
	buffer_append(&all, "\0\0\0garbage", 10);
	trickle_init(&trickle, all.data, all.size, 7);
	assert_int_equal(unpack_tar(&trickle.reader, sandbox_path("in/art"), &usual, &err), 0);
	assert_int_equal(RUN(NULL, "diff", "-r", "--no-dereference", sandbox_path("src/t"),
			     sandbox_path("in/art")),
			 0);
}

/* --- What others wrote ---------------------------------------------------------------------------- */

static void assert_same_as_source(void)
{
	_cleanup_free_ char *wanted = NULL, *got = snapshot(sandbox_path("in/art"), true);

	wanted = snapshot(sandbox_path("src/t"), true);
	assert_string_equal(wanted, got);
}

static void gnu_tar_is_understood(void **state)
{
	static const char *const commands[] = {
		"tar -C src -czf x --format=gnu t",
		"tar -C src -czf x --format=pax t",
		"tar -C src -cf x --format=pax t",
		"tar -C src -czf x --format=oldgnu --sort=name t",
		"tar -C src/t -czf x .",
		"tar -C src -cf - t | gzip -9 >x",
		"tar -C src -cf - -b 2000 t | gzip >x",
		"tar -C src -czSf x --format=gnu t",
		"tar -C src -czSf x --sparse-version=0.0 --format=pax t",
		"tar -C src -czSf x --sparse-version=0.1 --format=pax t",
		"tar -C src -czSf x --sparse-version=1.0 --format=pax t",
		"python3 -c 'import tarfile; tarfile.open(\"x\", \"w:gz\").add(\"src/t\", \"t\")'",
		"tar -C src -cf - t | zstd -q -19 >x",
	};

	(void)state;
	make_source();
	put_text(sandbox_path("src/t/sparse"), "begin");
	assert_return_code(truncate(sandbox_path("src/t/sparse"), 3000000), errno);
	assert_int_equal(RUN(NULL, "find", sandbox_path("src"), "-exec", "touch", "-h", "-d",
			     "@1600000000", "{}", "+"),
			 0);
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		_cleanup_free_ char *command = NULL;
		_cleanup_buffer_ struct buffer said = BUFFER_INIT(10000), data = BUFFER_INIT(0);
		struct error err;

		assert_true(asprintf(&command, "cd '%s' && %s", sandbox_path("."), commands[i]) >
			    0);
		if (RUN(&said, "sh", "-c", command) == 127)
			continue;
		data = get_file(sandbox_path("x"));
		if (unpack_buffer(&data, &err) < 0)
			fail_msg("%s: %s", commands[i], err.message);
		assert_int_equal(warnings.size, 0);
		/* Of `.` the top's own time is not kept: there is no entry for what is renamed. */
		if (!strstr(commands[i], "src/t "))
			assert_same_as_source();
		assert_int_equal(RUN(NULL, "diff", "-r", "--no-dereference", sandbox_path("src/t"),
				     sandbox_path("in/art")),
				 0);
		clear_in();
	}
}

static void hard_links_are_restored(void **state)
{
	_cleanup_buffer_ struct buffer tar = BUFFER_INIT(100000);
	struct stat a, b;
	struct error err;

	(void)state;
	add_entry(&tar, &(struct entry)FILE_("t/a", "1"));
	add_entry(&tar, &(struct entry)HARD_("t/b", "t/a"));
	add_end(&tar);
	assert_int_equal(unpack_buffer(&tar, &err), 0);
	assert_return_code(stat(sandbox_path("in/art/a"), &a), errno);
	assert_return_code(stat(sandbox_path("in/art/b"), &b), errno);
	assert_true(a.st_ino == b.st_ino && a.st_nlink == 2);
}

/* --- zip ------------------------------------------------------------------------------------------- */

static void zip_round_trip(void **state)
{
	_cleanup_collector_ struct collector zip = { .room = 0 };
	struct error err;

	(void)state;
	make_source();
	assert_int_equal(RUN(NULL, "find", sandbox_path("src"), "-exec", "touch", "-h", "-d",
			     "@1600000000", "{}", "+"),
			 0);
	zip = pack(PACK_ZIP, sandbox_path("src/t"));
	put_file(sandbox_path("x.zip"), zip.data.data, zip.data.size, 0644);
	if (unpack_zip_at(sandbox_path("x.zip"), &err) < 0)
		fail_msg("%s", err.message);
	assert_int_equal(warnings.size, 0);
	assert_same_as_source();
}

static void zips_of_others_are_understood(void **state)
{
	static const char *const commands[] = {
		"cd src && zip -qry ../x.zip t",
		"cd src && zip -qry0 ../x.zip t",
		"cd src && zip -qryX ../x.zip t",
		"cd src && zip -qry - t >../x.zip",
		"cd src && zip -qry ../y.zip t && (echo '#!/bin/sh'; cat ../y.zip) >../x.zip",
		"cd src && zip -qry ../x.zip t && printf 'c\\n.\\n' | zip -qz ../x.zip",
	};

	(void)state;
	if (!has_program("zip"))
		skip();
	make_source();
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		_cleanup_free_ char *command = NULL;
		struct error err;

		assert_true(asprintf(&command, "cd '%s' && rm -f x.zip && %s", sandbox_path("."),
				     commands[i]) > 0);
		assert_int_equal(RUN(NULL, "sh", "-c", command), 0);
		if (unpack_zip_at(sandbox_path("x.zip"), &err) < 0)
			fail_msg("%s: %s", commands[i], err.message);
		assert_int_equal(RUN(NULL, "diff", "-r", "--no-dereference", sandbox_path("src/t"),
				     sandbox_path("in/art")),
				 0);
		clear_in();
	}
}

static const char python_zip[] =
	"import sys, zipfile\n"
	"z = None\n"
	"for spec in sys.argv[1:]:\n"
	"    if '|' not in spec:\n"
	"        z and z.close()\n"
	"        z = zipfile.ZipFile(spec, 'w', zipfile.ZIP_DEFLATED)\n"
	"        continue\n"
	"    kind, name, text = spec.split('|')\n"
	"    i = zipfile.ZipInfo(name)\n"
	"    i.create_system = 0 if kind == 'fat' else 3\n"
	"    i.external_attr = {'file': 0o100644, 'link': 0o120777, 'fat': 0, 'dir': 0o40700,\n"
	"                       'suid': 0o104755}[kind] << 16\n"
	"    z.writestr(i, text)\n"
	"z.close()\n";

static void hostile_zips_stay_inside(void **state)
{
	static const struct {
		const char *specs[3];
		int wanted;
		const char *message;
		const char *expected[2];
	} tests[] = {
		{ { "file|../evil|x" }, -EXDEV, "/in/evil: Illegal file path" },
		{ { "file|a/../../evil|x" }, -EXDEV, "/in/evil: Illegal file path" },
		{ { "file|/abs|x", "file|b|y" }, 0, "", { "abs=x", "b=y" } },
		{ { "file|.|x" }, -EXDEV, "in/art.tmpdir: Illegal file path" },
		{ { "link|l|/etc/passwd", "file|b|y" },
		  0,
		  "l: a symbolic link that points outside: made a file",
		  { "l=/etc/passwd", "b=y" } },
		{ { "link|l|../../outside", "file|l/evil|x" },
		  -ENOTDIR,
		  "open the directory of l/evil" },
		{ { "file|t|1", "link|l|t" }, 0, "", { "l->t", "t=1" } },
		{ { "fat|dir/f|x", "fat|g|y" }, 0, "", { "dir/f=x", "g=y" } },
		{ { "dir|d/|", "file|e|y" }, 0, "", { "d/", "e=y" } },
		{ { "suid|s|x", "file|e|y" }, 0, "", { "s=x" } },
		{ { "file|a|1", "file|b|1", "file|a|2" }, 0, "", { "a=2", "b=1" } },
	};
	enum { COUNT = sizeof(tests) / sizeof(tests[0]) };
	const char *argv[5 + 4 * COUNT + 1] = { "python3", "-W", "ignore", "-c", python_zip };
	_cleanup_free_ char *before = snapshot(sandbox_path("outside"), true);
	char *paths[COUNT];
	size_t argc = 5;

	(void)state;
	if (!has_program("python3"))
		skip();
	/* One run of Python for all of them. */
	for (size_t i = 0; i < COUNT; i++) {
		paths[i] = strdup(sandbox_path("%zu.zip", i));
		argv[argc++] = paths[i];
		for (size_t j = 0; j < 3 && tests[i].specs[j]; j++)
			argv[argc++] = tests[i].specs[j];
	}
	assert_int_equal(run(NULL, argv), 0);
	for (size_t i = 0; i < COUNT; i++)
		free(paths[i]);
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		_cleanup_free_ char *after = NULL;
		struct error err;

		buffer_reset(&warnings);
		if (unpack_zip_at(sandbox_path("%zu.zip", i), &err) != tests[i].wanted)
			fail_msg("%s: %s", tests[i].specs[0], err.message);
		after = snapshot(sandbox_path("outside"), true);
		assert_string_equal(before, after);
		if (tests[i].wanted < 0) {
			assert_non_null(strstr(err.message, tests[i].message));
			assert_nothing_left();
			continue;
		}
		assert_non_null(strstr(buffer_string(&warnings), tests[i].message));
		for (size_t j = 0; j < 2 && tests[i].expected[j]; j++)
			verify_entry(tests[i].expected[j]);
		clear_in();
	}
}

static void damaged_zips_fail(void **state)
{
	_cleanup_collector_ struct collector zip = { .room = 0 };
	struct error err;

	(void)state;
	put_text(sandbox_path("s/t/f"), "some content, some content");
	put_text(sandbox_path("s/t/g"), "other");
	zip = pack(PACK_ZIP, sandbox_path("s/t"));
	for (size_t cut = 0; cut < zip.data.size; cut++) {
		put_file(sandbox_path("x.zip"), zip.data.data, cut, 0644);
		assert_int_equal(unpack_zip_at(sandbox_path("x.zip"), &err), -EBADMSG);
	}
	for (size_t at = 0; at < zip.data.size; at++) {
		zip.data.data[at] ^= 0xff;
		put_file(sandbox_path("x.zip"), zip.data.data, zip.data.size, 0644);
		/* Some bytes, times for example, may be anything; nothing may break. */
		if (unpack_zip_at(sandbox_path("x.zip"), &err) < 0)
			assert_int_equal(err.class, ERROR_PERMANENT);
		zip.data.data[at] ^= 0xff;
		clear_in();
	}
	/* The checksum of the first file, in its central entry behind that of the directory. */
	for (size_t at = 0, seen = 0; at < zip.data.size - 46; at++)
		if (memcmp(zip.data.data + at, "PK\1\2", 4) == 0 && ++seen == 2)
			zip.data.data[at + 16] ^= 1;
	put_file(sandbox_path("x.zip"), zip.data.data, zip.data.size, 0644);
	assert_int_equal(unpack_zip_at(sandbox_path("x.zip"), &err), -EBADMSG);
	assert_string_equal(err.message, "zip: checksum error");
	assert_nothing_left();
}

static void encrypted_zips_are_refused(void **state)
{
	_cleanup_free_ char *command = NULL;
	struct error err;

	(void)state;
	if (!has_program("zip"))
		skip();
	put_text(sandbox_path("f"), "secret text");
	assert_true(asprintf(&command, "cd '%s' && zip -qP pw x.zip f", sandbox_path(".")) > 0);
	assert_int_equal(RUN(NULL, "sh", "-c", command), 0);
	assert_int_equal(unpack_zip_at(sandbox_path("x.zip"), &err), -EOPNOTSUPP);
	assert_non_null(strstr(err.message, "f is encrypted"));
	assert_nothing_left();
}

/* --- The target, limits, full disks, races -------------------------------------------------------- */

static struct buffer small_tar(int files)
{
	struct buffer tar = BUFFER_INIT(10000000);
	char name[32];

	for (int i = 0; i < files; i++) {
		snprintf(name, sizeof(name), "d/%d", i);
		add_entry(&tar, &(struct entry)FILE_(name, "content"));
	}
	add_end(&tar);
	return tar;
}

static void target_follows_the_number_of_entries(void **state)
{
	_cleanup_buffer_ struct buffer one = BUFFER_INIT(10000), none = BUFFER_INIT(10000);
	struct stat st;
	struct error err;

	(void)state;
	add_entry(&one, &(struct entry)FILE_("original-name", "1"));
	add_end(&one);
	add_end(&none);
	put_text(sandbox_path("in/art.tmpdir/stale"), "x");
	assert_int_equal(unpack_buffer(&one, &err), 0);
	assert_return_code(stat(sandbox_path("in/art"), &st), errno);
	assert_true(S_ISREG(st.st_mode));
	/* A file at the target is replaced. */
	assert_int_equal(unpack_buffer(&one, &err), 0);
	assert_return_code(unlink(sandbox_path("in/art")), errno);
	assert_int_equal(unpack_buffer(&none, &err), 0);
	assert_return_code(stat(sandbox_path("in/art"), &st), errno);
	assert_int_equal(st.st_mode, S_IFDIR | 0777);
	/* So is an empty directory; there is no work directory left beside it. */
	assert_int_equal(unpack_buffer(&none, &err), 0);
	assert_int_equal(access(sandbox_path("in/art.tmpdir"), F_OK), -1);
}

static void error_says_what_lies_at_the_target(void **state)
{
	_cleanup_buffer_ struct buffer tar = small_tar(2);
	_cleanup_free_ char *before = NULL, *after = NULL;
	struct error err;

	(void)state;
	put_text(sandbox_path("in/art/mine"), "x");
	before = snapshot(sandbox_path("in"), true);
	assert_true(unpack_buffer(&tar, &err) < 0);
	assert_non_null(strstr(err.message, "a directory lies there, with mine"));
	after = snapshot(sandbox_path("in"), true);
	assert_string_equal(before, after);
	clear_in();
	put_text(sandbox_path("in/art"), "x");
	assert_true(unpack_buffer(&tar, &err) < 0);
	assert_non_null(strstr(err.message, "a file lies there"));
}

static void limits_are_named(void **state)
{
	_cleanup_buffer_ struct buffer tar = small_tar(10);
	struct unpack_options options = { .max_entries = 9 };
	struct memory_reader reader;
	struct error err = ERROR_NONE;

	(void)state;
	memory_reader_init(&reader, tar.data, tar.size);
	assert_int_equal(unpack_tar(&reader.reader, sandbox_path("in/art"), &options, &err),
			 -EFBIG);
	assert_string_equal(err.message, "more than the limit of 9 entries");
	assert_nothing_left();
	options = (struct unpack_options){ .max_bytes = 69 };
	memory_reader_init(&reader, tar.data, tar.size);
	assert_int_equal(unpack_tar(&reader.reader, sandbox_path("in/art"), &options, &err),
			 -EFBIG);
	assert_string_equal(err.message, "d/9: unpacked, it would exceed the limit of 69 bytes");
	assert_nothing_left();
	options.max_bytes = 70;
	memory_reader_init(&reader, tar.data, tar.size);
	assert_int_equal(unpack_tar(&reader.reader, sandbox_path("in/art"), &options, &err), 0);
}

/* A sparse map of millions of numbers, which compresses to nothing. */
static void header_bombs_are_stopped(void **state)
{
	static const struct entry sparse =
		PAX_("22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n28 GNU.sparse.realsize=1000\n");
	_cleanup_buffer_ struct buffer tar = BUFFER_INIT(10000000);
	struct entry file = { '0', "x", NULL, NULL, 0, 8000000 };
	struct error err;

	(void)state;
	add_entry(&tar, &sparse);
	add_block(&tar, &file, 0);
	buffer_append_string(&tar, "3999990\n");
	for (int i = 0; i < 3999996; i++)
		buffer_append(&tar, "0\n", 2);
	add_padding(&tar);
	add_end(&tar);
	assert_int_equal(unpack_buffer(&tar, &err), -EMSGSIZE);
	assert_non_null(strstr(err.message, "over the limit"));
	assert_nothing_left();
}

static bool cancel(void *context)
{
	int *left = context;

	return --*left < 0;
}

static void cancelling_leaves_nothing(void **state)
{
	_cleanup_buffer_ struct buffer tar = small_tar(3);

	(void)state;
	for (int calls = 0; calls < 6; calls++) {
		struct unpack_options options = { .hooks.is_cancelled = cancel };
		struct memory_reader reader;
		struct error err = ERROR_NONE;
		int left = calls;

		options.hooks.context = &left;
		memory_reader_init(&reader, tar.data, tar.size);
		assert_int_equal(unpack_tar(&reader.reader, sandbox_path("in/art"), &options, &err),
				 -ECANCELED);
		assert_int_equal(err.class, ERROR_CANCELLED);
		assert_nothing_left();
	}
}

static void full_disk_leaves_nothing(void **state)
{
	_cleanup_collector_ struct collector gz = { .room = 0 };
	_cleanup_buffer_ struct buffer many = small_tar(600);
	struct error err;

	(void)state;
	make_source();
	gz = pack(PACK_TAR_GZ, sandbox_path("src/t"));
	if (mount("tmpfs", sandbox_path("in"), "tmpfs", 0, "size=160k,nr_inodes=500") < 0)
		skip();
	assert_int_equal(unpack_buffer(&gz.data, &err), -ENOSPC);
	assert_non_null(strstr(err.message, "no space left on device"));
	assert_nothing_left();
	assert_int_equal(unpack_buffer(&many, &err), -ENOSPC); /* inodes */
	assert_nothing_left();
	assert_return_code(umount(sandbox_path("in")), errno);
}

/* Swaps a directory that is being filled with a link to outside, as fast as it can. */
static pid_t start_swapper(void)
{
	_cleanup_free_ char *a = strdup(sandbox_path("in/art.tmpdir/d"));
	_cleanup_free_ char *b = strdup(sandbox_path("in/link"));
	pid_t pid = fork();

	if (pid == 0)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (pid == 0)
		renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE);
	return pid;
}

static void racing_links_lead_nowhere(void **state)
{
	_cleanup_free_ char *before = snapshot(sandbox_path("outside"), true);
	_cleanup_buffer_ struct buffer tar = BUFFER_INIT(1000000);
	_cleanup_free_ char *after = NULL;
	char name[32];
	pid_t pid;
	int status;

	(void)state;
	for (int i = 0; i < 40; i++) {
		/* Two directories in turn, so that no parent is remembered. */
		snprintf(name, sizeof(name), "%s/%d", i % 2 ? "d" : "e", i);
		add_entry(&tar, &(struct entry)FILE_(name, "content"));
	}
	add_end(&tar);
	pid = start_swapper();
	assert_true(pid > 0);
	for (int i = 0; i < 60; i++) {
		struct error err;

		/* It must not swap what is being removed by the test itself. */
		assert_return_code(kill(pid, SIGSTOP), errno);
		assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
		clear_in();
		assert_return_code(kill(pid, SIGCONT), errno);
		assert_return_code(symlink("../outside", sandbox_path("in/link")), errno);
		unpack_buffer(&tar, &err); /* may well fail */
	}
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(WTERMSIG(status), SIGKILL);
	after = snapshot(sandbox_path("outside"), true);
	assert_string_equal(before, after);
}

/* Older kernels and outer sandboxes do not let us have openat2. */
static int forbid_openat2(void **state)
{
	static struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat2, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { .len = 4, .filter = filter };
	struct open_how how = { .flags = O_PATH };

	(void)state;
	assert_return_code(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), errno);
	assert_return_code(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), errno);
	assert_int_equal(syscall(SYS_openat2, AT_FDCWD, "/", &how, sizeof(how)), -1);
	return 0;
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(hostile_archives_stay_inside),
		TEST(long_and_deep_names_meet_the_limits),
		TEST(links_do_not_add_up_depth),
		TEST(modes_and_times_are_kept),
		TEST(cut_archives_fail),
		TEST(damaged_compression_fails),
		TEST(other_data_is_refused),
		TEST(members_and_garbage_are_accepted),
		TEST(gnu_tar_is_understood),
		TEST(hard_links_are_restored),
		TEST(zip_round_trip),
		TEST(zips_of_others_are_understood),
		TEST(hostile_zips_stay_inside),
		TEST(damaged_zips_fail),
		TEST(encrypted_zips_are_refused),
		TEST(target_follows_the_number_of_entries),
		TEST(error_says_what_lies_at_the_target),
		TEST(limits_are_named),
		TEST(header_bombs_are_stopped),
		TEST(cancelling_leaves_nothing),
		TEST(full_disk_leaves_nothing),
		TEST(racing_links_lead_nowhere),
	};
	const struct CMUnitTest without_openat2[] = {
		TEST(hostile_archives_stay_inside),
		TEST(long_and_deep_names_meet_the_limits),
		TEST(links_do_not_add_up_depth),
		TEST(racing_links_lead_nowhere),
	};
	int failed;

	umask(022);
	/* Mounts of these tests are nobody else's, and end with the process. */
	if (unshare(CLONE_NEWNS) == 0)
		mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
	failed = cmocka_run_group_tests_name("unpack", tests, NULL, NULL);
	failed += cmocka_run_group_tests_name("unpack without openat2", without_openat2,
					      forbid_openat2, NULL);
	return failed;
}
