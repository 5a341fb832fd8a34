/* Files with several names in a tar: whole under each, for those who know no better, and one file again
 * for us. GNU tar and Python are the judges beside our own reader. */
#include "executor/archive/hard_links.h"
#include "executor/archive/pack.h"
#include "executor/archive/unpack.h"
#include "executor/base/cleanup.h"
#include "tests/unit/archive_support.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define UNLIMITED ((size_t)-1)

/* What the packer told, and what is done to the tree when it is about to look at its n-th entry. */
static struct {
	struct buffer warnings;
	unsigned warning_count, calls, at;
	void (*meddle)(void);
} seen;

static int setup(void **state)
{
	(void)state;
	sandbox_make();
	seen.warnings = (struct buffer)BUFFER_INIT(1000000);
	seen.warning_count = seen.calls = seen.at = 0;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	sandbox_remove();
	buffer_done(&seen.warnings);
	return 0;
}

static void on_warning(void *context, const char *message)
{
	(void)context;
	seen.warning_count++;
	buffer_append_format(&seen.warnings, "%s\n", message);
}

static bool on_check(void *context)
{
	(void)context;
	if (seen.at && ++seen.calls == seen.at)
		seen.meddle();
	return false;
}

static struct collector pack_as(enum pack_format format)
{
	const struct pack_options options = {
		.format = format,
		.level = DEFLATE_DEFAULT,
		.hooks = { .warn = on_warning, .is_cancelled = on_check },
	};
	struct error err = ERROR_NONE;
	struct collector out;

	collector_init(&out, UNLIMITED);
	if (pack_tree(AT_FDCWD, sandbox_path("tree"), &options, &out.writer, NULL, &err) < 0)
		fail_msg("%s", err.message);
	return out;
}

/* "name type size number" of each member, as Python reads it; "-" without numbers. */
static void list(const struct collector *archive, struct buffer *ret)
{
	static const char python[] = "import sys, tarfile\n"
				     "for m in tarfile.open(sys.argv[1]):\n"
				     "    ids = [m.pax_headers.get('SCHILY.' + n) for n in\n"
				     "           ('dev', 'nlink')]\n"
				     "    assert ids in ([None] * 2, ['0', '2']), ids\n"
				     "    print(m.name, m.type.decode(), m.size,\n"
				     "          m.pax_headers.get('SCHILY.ino', '-'))\n";

	put_file(sandbox_path("x.tar"), archive->data.data, archive->data.size, 0644);
	assert_int_equal(RUN(ret, "python3", "-c", python, sandbox_path("x.tar")), 0);
}

/* It says of each record that it does not know it, and nothing else. */
static void assert_only_records(char *said)
{
	for (char *line = strtok(said, "\n"); line; line = strtok(NULL, "\n"))
		if (!strstr(line, "Ignoring unknown extended header keyword 'SCHILY."))
			fail_msg("%s", line);
}

static void unpack_with_tar(const struct collector *archive)
{
	_cleanup_buffer_ struct buffer said = BUFFER_INIT(10000000);

	put_file(sandbox_path("x.tgz"), archive->data.data, archive->data.size, 0644);
	put_directory(sandbox_path("out"), 0755);
	if (RUN(&said, "tar", "--warning=no-timestamp", "-xpf", sandbox_path("x.tgz"), "-C",
		sandbox_path("out")) != 0)
		fail_msg("%s", buffer_string(&said));
	if (said.size > 0)
		assert_only_records(said.data);
}

static void unpack_with_ours(const struct collector *archive)
{
	const struct unpack_options options = { .hooks = { .warn = on_warning } };
	struct trickle in;
	struct error err = ERROR_NONE;

	put_directory(sandbox_path("out"), 0755);
	trickle_init(&in, archive->data.data, archive->data.size, 1000);
	if (unpack_tar(&in.reader, spot_by_path(sandbox_path("out/tree")), &options, &err) < 0)
		fail_msg("%s", err.message);
}

static struct stat look(const char *name)
{
	struct stat st;

	assert_return_code(lstat(sandbox_path("%s", name), &st), errno);
	return st;
}

static void link_names(const char *from, const char *to)
{
	assert_return_code(link(sandbox_path("%s", from), sandbox_path("%s", to)), errno);
}

static const char *long_name(char c)
{
	static char name[300];

	snprintf(name, sizeof(name), "tree/%0*d%c", 220, 0, c);
	return name;
}

static void make_tree(void)
{
	put_text(sandbox_path("tree/a/one"), "content");
	put_text(sandbox_path("tree/b/other"), "content");
	put_text(sandbox_path("tree/empty"), "");
	put_text(sandbox_path("outside"), "not all of its names are in the tree");
	put_text(sandbox_path("%s", long_name('x')), "its name does not fit into a header");
	link_names("tree/a/one", "tree/a/two");
	link_names("tree/a/one", "tree/three");
	link_names("tree/empty", "tree/empty too");
	link_names("outside", "tree/inside");
	link_names("tree/three", "elsewhere");
	assert_return_code(link(sandbox_path("tree/b/other"), sandbox_path("%s", long_name('b'))),
			   errno);
	assert_return_code(symlink("a/one", sandbox_path("tree/symbolic")), errno);
	link_names("tree/symbolic", "tree/symbolic too");
	/* Times are rounded, and GNU tar warns about the future. */
	assert_int_equal(RUN(NULL, "find", sandbox_path("tree"), "-exec", "touch", "-h", "-d",
			     "@1700000000", "{}", "+"),
			 0);
}

static void assert_linked(const char *a, const char *b, nlink_t names)
{
	assert_int_equal(look(a).st_ino, look(b).st_ino);
	assert_int_equal(look(a).st_nlink, names);
}

static void assert_same_content(void)
{
	_cleanup_free_ char *left = snapshot(sandbox_path("tree"), false);
	_cleanup_free_ char *right = snapshot(sandbox_path("out/tree"), false);

	assert_string_equal(left, right);
}

static void they_come_back_as_one_file(void **state)
{
	char name[320];

	(void)state;
	make_tree();
	for (int format = PACK_TAR_GZ; format <= PACK_TAR; format++) {
		_cleanup_collector_ struct collector archive = pack_as(format);

		unpack_with_ours(&archive);
		assert_same_content();
		assert_linked("out/tree/a/one", "out/tree/a/two", 3);
		assert_linked("out/tree/a/one", "out/tree/three", 3);
		assert_linked("out/tree/empty", "out/tree/empty too", 2);
		snprintf(name, sizeof(name), "out/%s", long_name('b'));
		assert_linked("out/tree/b/other", name, 2);
		assert_int_equal(look("out/tree/inside").st_nlink, 1);
		assert_int_not_equal(look("out/tree/b/other").st_ino,
				     look("out/tree/a/one").st_ino);
		assert_int_equal(RUN(NULL, "rm", "-r", sandbox_path("out")), 0);
	}
	assert_string_equal(buffer_string(&seen.warnings), "");
}

/* As Argo's executor does: it would leave hard links out. */
static void others_get_independent_files(void **state)
{
	(void)state;
	make_tree();
	for (int format = PACK_TAR_GZ; format <= PACK_TAR; format++) {
		_cleanup_collector_ struct collector archive = pack_as(format);

		unpack_with_tar(&archive);
		assert_same_content();
		assert_int_equal(look("out/tree/a/one").st_nlink, 1);
		assert_int_equal(RUN(NULL, "rm", "-r", sandbox_path("out")), 0);
	}
}

/* Also of a copy, whose files have other numbers on disk. */
static void equal_input_gives_equal_bytes(void **state)
{
	_cleanup_collector_ struct collector a = { .room = 0 }, b = { .room = 0 },
					     c = { .room = 0 };

	(void)state;
	make_tree();
	a = pack_as(PACK_TAR_GZ);
	b = pack_as(PACK_TAR_GZ);
	assert_int_equal(RUN(NULL, "rm", sandbox_path("tree/inside")), 0);
	c = pack_as(PACK_TAR_GZ);
	assert_int_equal(a.data.size, b.data.size);
	assert_memory_equal(a.data.data, b.data.data, a.data.size);
	collector_done(&a);
	assert_int_equal(RUN(NULL, "mv", sandbox_path("tree"), sandbox_path("first")), 0);
	assert_int_equal(RUN(NULL, "cp", "-a", sandbox_path("first"), sandbox_path("tree")), 0);
	a = pack_as(PACK_TAR_GZ);
	assert_int_equal(a.data.size, c.data.size);
	assert_memory_equal(a.data.data, c.data.data, a.data.size);
}

static void they_are_numbered_as_they_come(void **state)
{
	_cleanup_collector_ struct collector archive = { .room = 0 };
	_cleanup_buffer_ struct buffer text = BUFFER_INIT(100000);

	(void)state;
	put_text(sandbox_path("tree/a"), "12345");
	put_text(sandbox_path("tree/b"), "123");
	put_text(sandbox_path("tree/c"), "1");
	link_names("tree/a", "tree/d");
	link_names("tree/b", "tree/e");
	archive = pack_as(PACK_TAR_GZ);
	list(&archive, &text);
	assert_string_equal(buffer_string(&text), "tree 5 0 -\ntree/a 0 5 1\ntree/b 0 3 2\n"
						  "tree/c 0 1 -\ntree/d 0 5 1\ntree/e 0 3 2\n");
}

static void in_zip_they_are_independent(void **state)
{
	_cleanup_collector_ struct collector archive = { .room = 0 };

	(void)state;
	put_text(sandbox_path("tree/a"), "12345");
	link_names("tree/a", "tree/b");
	archive = pack_as(PACK_ZIP);
	put_file(sandbox_path("x.zip"), archive.data.data, archive.data.size, 0644);
	put_directory(sandbox_path("out"), 0755);
	assert_int_equal(RUN(NULL, "unzip", "-q", sandbox_path("x.zip"), "-d", sandbox_path("out")),
			 0);
	assert_int_equal(look("out/tree/b").st_size, 5);
	assert_int_equal(look("out/tree/a").st_nlink, 1);
}

/* tree/a, tree/b and tree/c are one file; something happens when the packer is about to look at the
 * entry that many calls stand for (one a file's chunk, one an entry). */
static void check_meddling(unsigned at, void (*meddle)(void), const char *expected)
{
	_cleanup_collector_ struct collector archive = { .room = 0 };
	_cleanup_buffer_ struct buffer text = BUFFER_INIT(100000);

	put_text(sandbox_path("tree/a"), "12345");
	link_names("tree/a", "tree/b");
	link_names("tree/a", "tree/c");
	assert_int_equal(RUN(NULL, "touch", "-d", "@1700000000", sandbox_path("tree/a")), 0);
	seen.at = at;
	seen.meddle = meddle;
	archive = pack_as(PACK_TAR);
	list(&archive, &text);
	assert_string_equal(buffer_string(&text), expected);
	unpack_with_tar(&archive);
}

static void remove_first(void)
{
	assert_return_code(unlink(sandbox_path("tree/a")), errno);
}

static void first_becomes_fifo(void)
{
	remove_first();
	assert_return_code(mkfifo(sandbox_path("tree/a"), 0600), errno);
}

static void change_content(void)
{
	assert_return_code(truncate(sandbox_path("tree/b"), 6), errno);
}

static void another_takes_the_name(void)
{
	remove_first();
	put_text(sandbox_path("tree/a"), "54321");
	link_names("tree/a", "other");
}

static void a_first_name_that_vanished_has_no_number(void **state)
{
	(void)state;
	check_meddling(1, remove_first, "tree 5 0 -\ntree/b 0 5 1\ntree/c 0 5 1\n");
	assert_int_equal(seen.warning_count, 1);
}

static void a_first_name_that_is_a_fifo_now_has_no_number(void **state)
{
	(void)state;
	check_meddling(1, first_becomes_fifo,
		       "tree 5 0 -\ntree/a 6 0 -\ntree/b 0 5 1\ntree/c 0 5 1\n");
}

static void a_first_name_of_another_file_has_its_number(void **state)
{
	(void)state;
	check_meddling(1, another_takes_the_name,
		       "tree 5 0 -\ntree/a 0 5 1\ntree/b 0 5 2\ntree/c 0 5 2\n");
}

/* What was stored is not what it is now. */
static void a_file_that_changed_since_has_another_number(void **state)
{
	(void)state;
	check_meddling(3, change_content, "tree 5 0 -\ntree/a 0 5 1\ntree/b 0 6 2\ntree/c 0 6 2\n");
}

/* Names of some 3,800 bytes: the table is full after little more than 1,100 of them. */
static void beyond_the_limit_they_are_independent(void **state)
{
	_cleanup_collector_ struct collector archive = { .room = 0 };
	char path[PATH_MAX], component[251];
	const int count = 1200;
	size_t used;

	(void)state;
	memset(component, 'd', sizeof(component));
	component[250] = '\0';
	used = (size_t)snprintf(path, sizeof(path), "%s", sandbox_path("tree"));
	for (int i = 0; i < 15; i++)
		used += (size_t)snprintf(path + used, sizeof(path) - used, "/%s", component);
	for (int i = 0; i < count; i++) {
		char other[PATH_MAX];

		snprintf(path + used, sizeof(path) - used, "/a%d", i);
		put_text(path, "x");
		snprintf(other, sizeof(other), "%s", path);
		other[used + 1] = 'b';
		assert_return_code(link(path, other), errno);
	}
	assert_int_equal(RUN(NULL, "find", sandbox_path("tree"), "-exec", "touch", "-d",
			     "@1700000000", "{}", "+"),
			 0);
	archive = pack_as(PACK_TAR_GZ);
	assert_int_equal(seen.warning_count, 0);
	unpack_with_ours(&archive);
	assert_int_equal(seen.warning_count, 1);
	assert_non_null(strstr(seen.warnings.data, "too many files with several names"));
	assert_int_equal(RUN(NULL, "diff", "-r", sandbox_path("tree"), sandbox_path("out/tree")),
			 0);
}

/* As many as are numbered, and one more; their second names are not in the tree. */
static void beyond_the_limit_they_have_no_numbers(void **state)
{
	const struct pack_options options = {
		.format = PACK_TAR_GZ, .level = 1, .name = "tree", .hooks.warn = on_warning
	};
	_cleanup_collector_ struct collector archive;
	struct error err = ERROR_NONE;
	int tree, other;

	(void)state;
	put_directory(sandbox_path("tree"), 0755);
	put_directory(sandbox_path("other"), 0755);
	tree = open(sandbox_path("tree"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	other = open(sandbox_path("other"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (int i = 0; i <= HARD_LINKS_COUNT_MAX; i++) {
		char name[16];

		snprintf(name, sizeof(name), "%d", i);
		assert_return_code(mknodat(tree, name, S_IFREG | 0644, 0), errno);
		assert_return_code(linkat(tree, name, other, name, 0), errno);
	}
	close(other);
	collector_init(&archive, UNLIMITED);
	assert_int_equal(pack_descriptor(tree, &options, &archive.writer, NULL, &err), 0);
	close(tree);
	assert_int_equal(seen.warning_count, 1);
	assert_non_null(strstr(seen.warnings.data, "too many files with several names"));
}

static struct hard_links_file key(uint64_t ino)
{
	return (struct hard_links_file){ .dev = 1, .ino = ino, .size = 5, .mtime = { 1, 2 } };
}

static void the_table_is_bounded(void **state)
{
	struct hard_links links = HARD_LINKS_INIT;
	struct hard_links_file file = key(0);
	const struct hard_links_file *found;
	char name[32];

	(void)state;
	assert_null(hard_links_find(&links, &file));
	for (uint64_t i = 0; i < HARD_LINKS_COUNT_MAX; i++) {
		file = key(i << 20); /* numbers that differ in few bits */
		snprintf(name, sizeof(name), "n%lu", (unsigned long)i);
		assert_int_equal(hard_links_remember(&links, &file, name), 0);
		assert_int_equal(file.number, i + 1);
	}
	file = key(1);
	assert_int_equal(hard_links_remember(&links, &file, "x"), -ENOBUFS);
	assert_null(hard_links_find(&links, &file));
	file = key(40000ULL << 20);
	found = hard_links_find(&links, &file);
	assert_non_null(found);
	assert_int_equal(found->number, 40001);
	assert_string_equal(hard_links_name(&links, found), "n40000");
	file.dev = 2;
	assert_null(hard_links_find(&links, &file));
	file.dev = 1;
	file.mtime.tv_nsec = 3;
	assert_null(hard_links_find(&links, &file));
	hard_links_done(&links);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
		T(they_come_back_as_one_file),
		T(equal_input_gives_equal_bytes),
		T(others_get_independent_files),
		T(they_are_numbered_as_they_come),
		T(in_zip_they_are_independent),
		T(a_first_name_that_vanished_has_no_number),
		T(a_first_name_that_is_a_fifo_now_has_no_number),
		T(a_first_name_of_another_file_has_its_number),
		T(a_file_that_changed_since_has_another_number),
		T(beyond_the_limit_they_are_independent),
		T(beyond_the_limit_they_have_no_numbers),
		T(the_table_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
