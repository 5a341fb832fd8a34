#include "executor/archive/detect.h"
#include "executor/archive/pack.h"
#include "executor/archive/unpack.h"
#include "executor/archive/zip_writer.h"
#include "executor/base/cleanup.h"
#include "executor/base/path.h"
#include "tests/unit/archive_support.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <cmocka.h>

#define UNLIMITED ((size_t)-1)
#define EPOCH 1700000000

struct warnings {
	struct buffer text;
	int count;
};

static void on_warning(void *context, const char *message)
{
	struct warnings *warnings = context;

	assert_null(strchr(message, '\n'));
	warnings->count++;
	buffer_append_format(&warnings->text, "%s\n", message);
}

static int setup(void **state)
{
	(void)state;
	sandbox_make();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	sandbox_remove();
	return 0;
}

static void touch(const char *path, time_t when)
{
	struct timespec times[2] = { { when, 0 }, { when, 0 } };

	assert_return_code(utimensat(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW), errno);
}

/* A tree with everything that every format can hold. */
static void make_tree(void)
{
	char long_name[201];

	memset(long_name, 'n', 200);
	long_name[200] = '\0';
	put_text(sandbox_path("tree/b.txt"), "content of b\n");
	put_file(sandbox_path("tree/a/run"), "#!/bin/sh\n", 10, 0755);
	put_file(sandbox_path("tree/a/private"), "x", 1, 0600);
	put_file(sandbox_path("tree/a/%s/%s", long_name, long_name), "long\n", 5, 0644);
	put_text(sandbox_path("tree/gr\xc3\xbc\xc3\x9f/\xe6\x97\xa5\xe6\x9c\xac"), "utf-8\n");
	put_file(sandbox_path("tree/empty-file"), "", 0, 0644);
	put_directory(sandbox_path("tree/empty"), 01777);
	assert_return_code(symlink("../b.txt", sandbox_path("tree/a/link")), errno);
	assert_return_code(symlink("/nowhere", sandbox_path("tree/absolute")), errno);
	assert_return_code(link(sandbox_path("tree/b.txt"), sandbox_path("tree/hard")), errno);
	/* Whole seconds: what is stored is rounded, and tar warns about the future. */
	assert_int_equal(RUN(NULL, "find", sandbox_path("tree"), "-exec", "touch", "-h", "-d",
			     "@1700000000", "{}", "+"),
			 0);
	touch(sandbox_path("tree/a/private"), 1);
	touch(sandbox_path("tree/a"), EPOCH + 1);
	touch(sandbox_path("tree"), EPOCH + 2);
}

static struct collector pack(enum pack_format format, int level, const char *path)
{
	struct pack_options options = { .format = format, .level = level };
	struct error err = ERROR_NONE;
	struct collector out;

	collector_init(&out, UNLIMITED);
	if (pack_tree(AT_FDCWD, path, &options, &out.writer, NULL, &err) < 0)
		fail_msg("%s", err.message);
	return out;
}

static void save(const struct collector *archive, const char *path)
{
	put_file(path, archive->data.data, archive->data.size, 0644);
}

static void assert_same_tree(const char *a, const char *b, bool has_times)
{
	_cleanup_free_ char *left = snapshot(a, has_times);
	_cleanup_free_ char *right = snapshot(b, has_times);

	assert_string_equal(left, right);
}

static void gnu_tar_unpacks_the_same_tree(void **state)
{
	_cleanup_collector_ struct collector archive = { .room = 0 };
	_cleanup_buffer_ struct buffer said = BUFFER_INIT(100000);

	(void)state;
	make_tree();
	/* Of files with several names: test_hard_links.c. */
	assert_return_code(unlink(sandbox_path("tree/hard")), errno);
	touch(sandbox_path("tree"), EPOCH + 2);
	archive = pack(PACK_TAR_GZ, DEFLATE_DEFAULT, sandbox_path("tree"));
	save(&archive, sandbox_path("x.tgz"));
	put_directory(sandbox_path("out"), 0755);
	assert_int_equal(RUN(&said, "tar", "--warning=no-timestamp", "-xpzf", sandbox_path("x.tgz"),
			     "-C", sandbox_path("out")),
			 0);
	assert_string_equal(buffer_string(&said), ""); /* not even a warning */
	assert_same_tree(sandbox_path("tree"), sandbox_path("out/tree"), true);
}

static const char python_list[] =
	"import sys, tarfile\n"
	"for m in tarfile.open(sys.argv[1]):\n"
	"    print(m.name, m.type.decode(), oct(m.mode), m.uid, m.gid, m.size, int(m.mtime),\n"
	"          m.linkname, m.devmajor, m.devminor, m.uname + m.gname or 'nobody',\n"
	"          sorted(m.pax_headers))\n";

/* Whose names they are in the container that made them is not known: owners are numbers. */
static void python_lists_what_was_stored(void **state)
{
	static const char wanted[] =
		"d 5 0o2755 0 0 0 1700000000  0 0 nobody []\n"
		"d/fifo 6 0o600 0 0 0 1700000000  0 0 nobody []\n"
		"d/file 0 0o4711 70000 5000000 3 1700000001  0 0 nobody ['gid']\n"
		"d/link 2 0o777 0 0 0 1700000000 file 0 0 nobody []\n"
		"d/null 3 0o666 0 0 0 1700000000  1 3 nobody []\n"
		"d/old 0 0o644 0 0 0 -5  0 0 nobody ['mtime']\n";
	_cleanup_collector_ struct collector archive = { .room = 0 };
	_cleanup_buffer_ struct buffer list = BUFFER_INIT(100000);
	struct timespec late[2] = { { EPOCH, 0 }, { EPOCH, 500000000 } };

	(void)state;
	if (getuid() != 0 || !has_program("python3"))
		skip();
	put_text(sandbox_path("d/file"), "abc");
	put_text(sandbox_path("d/old"), "");
	assert_return_code(chown(sandbox_path("d/file"), 70000, 5000000), errno);
	assert_return_code(chmod(sandbox_path("d/file"), 04711), errno);
	assert_return_code(symlink("file", sandbox_path("d/link")), errno);
	assert_return_code(mkfifo(sandbox_path("d/fifo"), 0600), errno);
	assert_return_code(mknod(sandbox_path("d/null"), S_IFCHR | 0666, makedev(1, 3)), errno);
	assert_return_code(chmod(sandbox_path("d/null"), 0666), errno);
	assert_return_code(chmod(sandbox_path("d"), 02755), errno);
	touch(sandbox_path("d/link"), EPOCH);
	touch(sandbox_path("d/fifo"), EPOCH);
	touch(sandbox_path("d/null"), EPOCH);
	touch(sandbox_path("d/old"), -5);
	assert_return_code(utimensat(AT_FDCWD, sandbox_path("d/file"), late, 0), errno);
	touch(sandbox_path("d"), EPOCH);
	archive = pack(PACK_TAR_GZ, DEFLATE_DEFAULT, sandbox_path("d"));
	save(&archive, sandbox_path("x.tgz"));
	assert_int_equal(RUN(&list, "python3", "-c", python_list, sandbox_path("x.tgz")), 0);
	assert_string_equal(buffer_string(&list), wanted);
}

static void equal_input_gives_equal_bytes(void **state)
{
	static const enum pack_format formats[] = { PACK_TAR_GZ, PACK_TAR, PACK_ZIP };

	(void)state;
	make_tree();
	for (size_t i = 0; i < 3; i++) {
		_cleanup_collector_ struct collector a = pack(formats[i], 6, sandbox_path("tree"));
		_cleanup_collector_ struct collector b = pack(formats[i], 6, sandbox_path("tree/"));

		assert_int_equal(a.data.size, b.data.size);
		assert_memory_equal(a.data.data, b.data.data, a.data.size);
	}
}

static void single_file_is_one_entry(void **state)
{
	_cleanup_collector_ struct collector archive = { .room = 0 };
	_cleanup_buffer_ struct buffer list = BUFFER_INIT(100000);

	(void)state;
	put_text(sandbox_path("dir/report.txt"), "hello\n");
	archive = pack(PACK_TAR_GZ, DEFLATE_DEFAULT, sandbox_path("dir/report.txt"));
	save(&archive, sandbox_path("x.tgz"));
	assert_int_equal(RUN(&list, "tar", "-tzf", sandbox_path("x.tgz")), 0);
	assert_string_equal(buffer_string(&list), "report.txt\n");
}

static void every_level_is_read_by_gzip(void **state)
{
	_cleanup_free_ char *text = malloc(300000);

	(void)state;
	for (size_t i = 0; i < 300000; i++)
		text[i] = (char)("abcdefgh \n"[i * i % 7 + i % 3]);
	put_file(sandbox_path("f"), text, 300000, 0644);
	for (int level = DEFLATE_HUFFMAN; level <= DEFLATE_MAX; level++) {
		_cleanup_collector_ struct collector archive =
			pack(PACK_TAR_GZ, level, sandbox_path("f"));
		_cleanup_buffer_ struct buffer content = BUFFER_INIT(1000000);
		char header[10] = { 0x1f, (char)0x8b, 8, [9] = (char)255 };

		header[8] = level == 9 ? 2 : level == 1 ? 4 : 0;
		assert_memory_equal(archive.data.data, header, sizeof(header));
		/* Repetitive text: Huffman codes alone leave much more of it. */
		if (level == 0)
			assert_true(archive.data.size > 300000);
		else if (level == DEFLATE_HUFFMAN)
			assert_in_range(archive.data.size, 50000, 250000);
		else
			assert_true(archive.data.size < 50000);
		save(&archive, sandbox_path("x.tgz"));
		assert_int_equal(RUN(&content, "tar", "-xOzf", sandbox_path("x.tgz"), "f"), 0);
		assert_int_equal(content.size, 300000);
		assert_memory_equal(content.data, text, 300000);
	}
}

static void unknown_levels_are_refused(void **state)
{
	static const int levels[] = { -3, 10, 1000 };

	(void)state;
	put_text(sandbox_path("f"), "x");
	for (size_t i = 0; i < 3; i++) {
		struct pack_options options = { .format = PACK_TAR_GZ, .level = levels[i] };
		_cleanup_collector_ struct collector out;
		struct error err = ERROR_NONE;

		collector_init(&out, UNLIMITED);
		assert_int_equal(pack_tree(AT_FDCWD, sandbox_path("f"), &options, &out.writer, NULL,
					   &err),
				 -EINVAL);
		assert_non_null(strstr(err.message, "invalid compression level"));
		assert_int_equal(out.data.size, 0);
	}
}

static void zip_is_read_by_others(void **state)
{
	static const char python[] =
		"import sys, zipfile\n"
		"z = zipfile.ZipFile(sys.argv[1])\n"
		"assert z.testzip() is None\n"
		"for i in z.infolist():\n"
		"    if 'n' * 200 in i.filename: continue\n"
		"    print(i.filename, oct(i.external_attr >> 16), i.file_size, i.create_system)\n";
	static const char wanted[] =
		"tree/ 0o40755 0 3\n"
		"tree/a/ 0o40755 0 3\n"
		"tree/a/link 0o120777 8 3\n"
		"tree/a/private 0o100600 1 3\n"
		"tree/a/run 0o100755 10 3\n"
		"tree/absolute 0o120777 8 3\n"
		"tree/b.txt 0o100644 13 3\n"
		"tree/empty/ 0o41777 0 3\n"
		"tree/empty-file 0o100644 0 3\n"
		"tree/gr\xc3\xbc\xc3\x9f/ 0o40755 0 3\n"
		"tree/gr\xc3\xbc\xc3\x9f/\xe6\x97\xa5\xe6\x9c\xac 0o100644 6 3\n"
		"tree/hard 0o100644 13 3\n";
	_cleanup_collector_ struct collector archive = { .room = 0 };
	_cleanup_buffer_ struct buffer list = BUFFER_INIT(100000);
	_cleanup_buffer_ struct buffer said = BUFFER_INIT(100000);

	(void)state;
	make_tree();
	archive = pack(PACK_ZIP, DEFLATE_DEFAULT, sandbox_path("tree"));
	save(&archive, sandbox_path("x.zip"));
	if (!has_program("python3") || !has_program("unzip"))
		skip();
	assert_int_equal(RUN(&list, "env", "PYTHONIOENCODING=utf-8", "python3", "-c", python,
			     sandbox_path("x.zip")),
			 0);
	assert_string_equal(buffer_string(&list), wanted);
	if (RUN(&said, "env", "LC_ALL=C.UTF-8", "unzip", "-q", "-K", sandbox_path("x.zip"), "-d",
		sandbox_path("out")) != 0)
		fail_msg("%s", buffer_string(&said));
	touch(sandbox_path("tree/a/link"), 0);
	touch(sandbox_path("out/tree/a/link"), 0);
	touch(sandbox_path("tree/absolute"), 0);
	touch(sandbox_path("out/tree/absolute"), 0);
	assert_same_tree(sandbox_path("tree"), sandbox_path("out/tree"), true);
}

static void zip_of_a_file_has_its_basename(void **state)
{
	_cleanup_collector_ struct collector archive = { .room = 0 };
	_cleanup_buffer_ struct buffer list = BUFFER_INIT(100000);

	(void)state;
	put_text(sandbox_path("deep/down/file"), "zip\n");
	archive = pack(PACK_ZIP, DEFLATE_DEFAULT, sandbox_path("deep/down/file"));
	save(&archive, sandbox_path("x.zip"));
	if (!has_program("unzip"))
		skip();
	assert_int_equal(RUN(&list, "unzip", "-Z1", sandbox_path("x.zip")), 0);
	assert_string_equal(buffer_string(&list), "file\n");
}

static void many_zip_entries_need_zip64(void **state)
{
	static const char python[] = "import sys, zipfile\n"
				     "z = zipfile.ZipFile(sys.argv[1])\n"
				     "print(len(z.namelist()), z.namelist()[-1])\n";
	struct member member = { .link = "x", .mode = S_IFLNK | 0777 };
	_cleanup_collector_ struct collector archive;
	_cleanup_zip_writer_ struct zip_writer zip;
	_cleanup_buffer_ struct buffer list = BUFFER_INIT(100000);
	struct error err = ERROR_NONE;
	const char *end;
	char name[16];

	(void)state;
	if (!has_program("python3"))
		skip();
	collector_init(&archive, UNLIMITED);
	assert_int_equal(zip_writer_init(&zip, &archive.writer, 1, &err), 0);
	member.name = name;
	for (int i = 0; i < 65600; i++) {
		snprintf(name, sizeof(name), "m/%05d", i);
		assert_int_equal(zip_writer_begin(&zip, &member, &err), 0);
	}
	assert_int_equal(zip_writer_finish(&zip, &err), 0);
	/* Python trusts the directory more than the counts: the zip64 end record, its locator (20
	 * bytes) and the plain end record (22) come last. */
	end = archive.data.data + archive.data.size - 56 - 20 - 22;
	assert_memory_equal(end, "PK\6\6", 4);
	assert_memory_equal(end + 32, "\x40\x00\x01\0\0\0\0\0", 8);
	save(&archive, sandbox_path("x.zip"));
	assert_int_equal(RUN(&list, "python3", "-c", python, sandbox_path("x.zip")), 0);
	assert_string_equal(buffer_string(&list), "65600 m/65599\n");
}

static void missing_source_is_not_found(void **state)
{
	struct pack_options options = { .format = PACK_TAR_GZ, .level = DEFLATE_DEFAULT };
	_cleanup_collector_ struct collector out;
	struct error err = ERROR_NONE;
	const char *path = sandbox_path("absent");
	const char *wanted = sandbox_path("absent no such file or directory");

	(void)state;
	collector_init(&out, UNLIMITED);
	assert_int_equal(pack_tree(AT_FDCWD, path, &options, &out.writer, NULL, &err), -ENOENT);
	assert_int_equal(err.class, ERROR_NOT_FOUND);
	assert_string_equal(err.message, wanted);
	assert_return_code(symlink("absent", sandbox_path("dangling")), errno);
	assert_int_equal(pack_tree(AT_FDCWD, sandbox_path("dangling"), &options, &out.writer, NULL,
				   &err),
			 -ENOENT);
	assert_int_equal(out.data.size, 0);
}

static void special_sources_are_refused_without_blocking(void **state)
{
	struct pack_options options = { .format = PACK_TAR_GZ, .level = DEFLATE_DEFAULT };
	_cleanup_collector_ struct collector out;
	struct error err = ERROR_NONE;

	(void)state;
	collector_init(&out, UNLIMITED);
	assert_return_code(mkfifo(sandbox_path("fifo"), 0600), errno);
	assert_int_equal(pack_tree(AT_FDCWD, sandbox_path("fifo"), &options, &out.writer, NULL,
				   &err),
			 -EINVAL);
	assert_non_null(strstr(err.message, "is not a regular file or directory"));
	assert_int_equal(pack_tree(AT_FDCWD, "/dev/zero", &options, &out.writer, NULL, &err),
			 -EINVAL);
	assert_int_equal(pack_tree(AT_FDCWD, "/", &options, &out.writer, NULL, &err), -EINVAL);
}

static void link_at_the_top_is_followed(void **state)
{
	_cleanup_collector_ struct collector archive = { .room = 0 };
	_cleanup_buffer_ struct buffer list = BUFFER_INIT(100000);

	(void)state;
	put_text(sandbox_path("real/f"), "x");
	assert_return_code(symlink("real", sandbox_path("name")), errno);
	archive = pack(PACK_TAR_GZ, DEFLATE_DEFAULT, sandbox_path("name"));
	save(&archive, sandbox_path("x.tgz"));
	assert_int_equal(RUN(&list, "tar", "-tzf", sandbox_path("x.tgz")), 0);
	assert_string_equal(buffer_string(&list), "name\nname/f\n");
}

static void descriptor_is_packed_under_the_given_name(void **state)
{
	struct pack_options options = { .format = PACK_TAR, .name = "given" };
	_cleanup_buffer_ struct buffer list = BUFFER_INIT(100000);
	_cleanup_collector_ struct collector out;
	_cleanup_close_ int fd = -1;
	struct pack_result result;
	struct error err = ERROR_NONE;

	(void)state;
	put_text(sandbox_path("real/f"), "12345");
	fd = open(sandbox_path("real"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (int round = 0; round < 2; round++) { /* the descriptor's position does not matter */
		collector_init(&out, UNLIMITED);
		assert_int_equal(pack_descriptor(fd, &options, &out.writer, &result, &err), 0);
		assert_int_equal(result.entries, 2);
		assert_int_equal(result.bytes, 5);
		assert_int_equal(result.warnings, 0);
		save(&out, sandbox_path("x.tar"));
		collector_done(&out);
	}
	assert_int_equal(RUN(&list, "tar", "-tf", sandbox_path("x.tar")), 0);
	assert_string_equal(buffer_string(&list), "given\ngiven/f\n");
}

static void make_socket(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	assert_return_code(bind(fd, (struct sockaddr *)&address, sizeof(address)), errno);
}

static void sockets_are_left_out_with_a_warning(void **state)
{
	struct warnings warnings = { .text = BUFFER_INIT(10000) };
	struct pack_options options = { .format = PACK_ZIP, .level = 1 };
	_cleanup_collector_ struct collector out;
	struct pack_result result;
	struct error err = ERROR_NONE;

	(void)state;
	put_text(sandbox_path("d/f"), "x");
	make_socket(sandbox_path("d/socket"));
	assert_return_code(mkfifo(sandbox_path("d/fifo"), 0600), errno);
	options.hooks = (struct hooks){ .warn = on_warning, .context = &warnings };
	collector_init(&out, UNLIMITED);
	assert_int_equal(
		pack_tree(AT_FDCWD, sandbox_path("d"), &options, &out.writer, &result, &err), 0);
	assert_int_equal(result.entries, 2);
	assert_int_equal(result.warnings, 2);
	assert_string_equal(warnings.text.data,
			    "d/fifo: neither file, directory nor link: left out\n"
			    "d/socket: a socket: left out\n");
	buffer_done(&warnings.text);
}

/* A hook that changes the file when it is asked for the n-th time. */
struct meddler {
	struct warnings warnings; /* first, as the hooks' context */
	int calls;
	const char *path;
	off_t new_size;
};

static bool meddle(void *context)
{
	struct meddler *meddler = context;

	if (++meddler->calls == 4)
		assert_return_code(truncate(meddler->path, meddler->new_size), errno);
	return false;
}

static void check_changing_size(enum pack_format format, off_t new_size, const char *warning)
{
	struct meddler meddler = { .warnings.text = BUFFER_INIT(10000), .new_size = new_size };
	struct pack_options options = { .format = format, .level = 1 };
	_cleanup_free_ char *data = calloc(1, 1000000);
	_cleanup_collector_ struct collector out;
	struct pack_result result;
	struct error err = ERROR_NONE;

	memset(data, 'x', 1000000);
	put_file(sandbox_path("log/f"), data, 1000000, 0644);
	meddler.path = sandbox_path("log/f");
	options.hooks = (struct hooks){ on_warning, meddle, &meddler };
	collector_init(&out, UNLIMITED);
	assert_int_equal(
		pack_tree(AT_FDCWD, sandbox_path("log"), &options, &out.writer, &result, &err), 0);
	assert_int_equal(result.bytes, 1000000);
	assert_int_equal(meddler.warnings.count, 1);
	assert_non_null(strstr(meddler.warnings.text.data, warning));
	buffer_done(&meddler.warnings.text);
	save(&out, sandbox_path("x"));
	if (format == PACK_ZIP)
		assert_int_equal(RUN(NULL, "python3", "-m", "zipfile", "-t", sandbox_path("x")), 0);
	else
		assert_int_equal(RUN(NULL, "tar", "-tf", sandbox_path("x")), 0);
}

static void changing_files_keep_the_archive_whole(void **state)
{
	static const enum pack_format formats[] = { PACK_TAR, PACK_ZIP };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		check_changing_size(formats[i], 300000, "log/f: shrank while it was read");
		check_changing_size(formats[i], 2000000,
				    "log/f: grew while it was read: cut at "
				    "1000000 bytes");
	}
}

static void every_write_error_is_reported(void **state)
{
	static const enum pack_format formats[] = { PACK_TAR_GZ, PACK_TAR, PACK_ZIP };

	(void)state;
	make_tree();
	for (size_t i = 0; i < 3; i++) {
		struct pack_options options = { .format = formats[i], .level = 6 };
		_cleanup_collector_ struct collector whole =
			pack(formats[i], 6, sandbox_path("tree"));

		for (size_t room = 0; room < whole.data.size;
		     room += room + 64 < whole.data.size ? 61 : 1) {
			_cleanup_collector_ struct collector out;
			struct error err = ERROR_NONE;

			collector_init(&out, room);
			assert_int_equal(pack_tree(AT_FDCWD, sandbox_path("tree"), &options,
						   &out.writer, NULL, &err),
					 -ENOSPC);
			assert_non_null(strstr(err.message, "no space left on device"));
		}
	}
}

static bool cancel(void *context)
{
	int *left = context;

	return --*left < 0;
}

static void cancelling_stops_it(void **state)
{
	(void)state;
	make_tree();
	for (int calls = 0; calls < 10; calls++) {
		struct pack_options options = { .format = PACK_TAR_GZ, .level = 1 };
		_cleanup_collector_ struct collector out;
		struct error err = ERROR_NONE;
		int left = calls;

		options.hooks = (struct hooks){ .is_cancelled = cancel, .context = &left };
		collector_init(&out, UNLIMITED);
		assert_int_equal(pack_tree(AT_FDCWD, sandbox_path("tree"), &options, &out.writer,
					   NULL, &err),
				 -ECANCELED);
		assert_int_equal(err.class, ERROR_CANCELLED);
	}
}

static void holes_come_back(void **state)
{
	struct unpack_options options = { .max_entries = 0 };
	_cleanup_collector_ struct collector out;
	struct memory_reader reader;
	struct error err = ERROR_NONE;
	struct stat st;
	int fd;

	(void)state;
	put_file(sandbox_path("sparse/f"), "begin", 5, 0644);
	fd = open(sandbox_path("sparse/f"), O_WRONLY | O_CLOEXEC);
	assert_int_equal(pwrite(fd, "middle", 6, 5000000), 6);
	assert_return_code(ftruncate(fd, 9000000), errno);
	close(fd);
	out = pack(PACK_TAR_GZ, DEFLATE_DEFAULT, sandbox_path("sparse"));
	memory_reader_init(&reader, out.data.data, out.data.size);
	if (unpack_tar(&reader.reader, spot_by_path(sandbox_path("again")), &options, &err) < 0)
		fail_msg("%s", err.message);
	assert_same_tree(sandbox_path("sparse"), sandbox_path("again"), false);
	assert_return_code(stat(sandbox_path("again/f"), &st), errno);
	assert_int_equal(st.st_size, 9000000);
	assert_true(st.st_blocks * 512 < 1000000);
}

static void too_deep_trees_name_the_limit(void **state)
{
	struct pack_options options = { .format = PACK_TAR_GZ, .level = 1 };
	_cleanup_collector_ struct collector out;
	struct error err = ERROR_NONE;
	_cleanup_close_ int fd = -1;

	(void)state;
	put_directory(sandbox_path("deep"), 0755);
	fd = open(sandbox_path("deep"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (int i = 0; i < 515; i++) {
		int sub;

		assert_return_code(mkdirat(fd, "d", 0755), errno);
		sub = openat(fd, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		close(fd);
		fd = sub;
	}
	collector_init(&out, UNLIMITED);
	assert_int_equal(pack_tree(AT_FDCWD, sandbox_path("deep"), &options, &out.writer, NULL,
				   &err),
			 -ELOOP);
	assert_non_null(strstr(err.message, "deeper than the limit of 512 directories"));
}

/* Swaps what is packed with links to a secret, as fast as it can, until it is killed. */
static pid_t start_swapper(void)
{
	_cleanup_free_ char *a = strdup(sandbox_path("t/dir"));
	_cleanup_free_ char *b = strdup(sandbox_path("other-dir"));
	_cleanup_free_ char *c = strdup(sandbox_path("t/file"));
	_cleanup_free_ char *d = strdup(sandbox_path("other-file"));
	pid_t pid = fork();

	if (pid == 0)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (pid == 0) {
		renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE);
		renameat2(AT_FDCWD, c, AT_FDCWD, d, RENAME_EXCHANGE);
	}
	return pid;
}

static void racing_links_give_nothing_away(void **state)
{
	struct pack_options options = { .format = PACK_TAR };
	pid_t pid;
	int status;

	(void)state;
	put_text(sandbox_path("secret/f"), "SECRET");
	put_text(sandbox_path("t/dir/f"), "public");
	put_text(sandbox_path("t/file"), "public");
	assert_return_code(symlink("../secret", sandbox_path("other-dir")), errno);
	assert_return_code(symlink("../secret/f", sandbox_path("other-file")), errno);
	pid = start_swapper();
	assert_true(pid > 0);
	for (int i = 0; i < 400; i++) {
		_cleanup_collector_ struct collector out;
		struct error err = ERROR_NONE;

		collector_init(&out, UNLIMITED);
		if (pack_tree(AT_FDCWD, sandbox_path("t"), &options, &out.writer, NULL, &err) < 0)
			fail_msg("%s", err.message);
		assert_null(memmem(out.data.data, out.data.size, "SECRET", 6));
	}
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(WTERMSIG(status), SIGKILL);
}

static enum detected detect(const void *data, size_t size)
{
	struct error err = ERROR_NONE;
	enum detected detected;

	assert_int_equal(detect_format(data, size, &detected, &err), 0);
	return detected;
}

static void archives_are_detected(void **state)
{
	_cleanup_collector_ struct collector gz = { .room = 0 };
	_cleanup_collector_ struct collector tar = { .room = 0 };
	_cleanup_collector_ struct collector zip = { .room = 0 };
	_cleanup_buffer_ struct buffer zstd = BUFFER_INIT(0), empty = BUFFER_INIT(0),
				       text = BUFFER_INIT(0), zstd_text = BUFFER_INIT(0);

	(void)state;
	make_tree();
	gz = pack(PACK_TAR_GZ, DEFLATE_DEFAULT, sandbox_path("tree"));
	tar = pack(PACK_TAR, 0, sandbox_path("tree"));
	zip = pack(PACK_ZIP, 1, sandbox_path("tree"));
	assert_int_equal(detect(gz.data.data, gz.data.size), DETECTED_TAR_GZ);
	assert_int_equal(detect(tar.data.data, tar.data.size), DETECTED_PLAIN);
	assert_int_equal(detect(zip.data.data, zip.data.size), DETECTED_PLAIN);
	assert_int_equal(detect("", 0), DETECTED_PLAIN);
	for (size_t cut = 1; cut < 40; cut++)
		assert_int_equal(detect(gz.data.data, cut), DETECTED_PLAIN);
	save(&tar, sandbox_path("x.tar"));
	assert_int_equal(RUN(NULL, "sh", "-c",
			     "cd \"$0\" && gzip -c tree/b.txt >text.gz && "
			     "tar -cf - -T /dev/null | gzip >empty.tgz",
			     sandbox_path(".")),
			 0);
	text = get_file(sandbox_path("text.gz"));
	empty = get_file(sandbox_path("empty.tgz"));
	assert_int_equal(detect(text.data, text.size), DETECTED_PLAIN);
	assert_int_equal(detect(empty.data, empty.size), DETECTED_PLAIN);
	if (RUN(NULL, "sh", "-c", "cd \"$0\" && zstd -q x.tar && zstd -q tree/b.txt -o text.zst",
		sandbox_path(".")) != 0)
		skip();
	zstd = get_file(sandbox_path("x.tar.zst"));
	zstd_text = get_file(sandbox_path("text.zst"));
	assert_int_equal(detect(zstd.data, zstd.size), DETECTED_TAR_ZSTD);
	assert_int_equal(detect(zstd_text.data, zstd_text.size), DETECTED_PLAIN);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(gnu_tar_unpacks_the_same_tree),
		TEST(python_lists_what_was_stored),
		TEST(equal_input_gives_equal_bytes),
		TEST(single_file_is_one_entry),
		TEST(every_level_is_read_by_gzip),
		TEST(unknown_levels_are_refused),
		TEST(zip_is_read_by_others),
		TEST(zip_of_a_file_has_its_basename),
		TEST(many_zip_entries_need_zip64),
		TEST(missing_source_is_not_found),
		TEST(special_sources_are_refused_without_blocking),
		TEST(link_at_the_top_is_followed),
		TEST(descriptor_is_packed_under_the_given_name),
		TEST(sockets_are_left_out_with_a_warning),
		TEST(changing_files_keep_the_archive_whole),
		TEST(every_write_error_is_reported),
		TEST(cancelling_stops_it),
		TEST(too_deep_trees_name_the_limit),
		TEST(holes_come_back),
		TEST(racing_links_give_nothing_away),
		TEST(archives_are_detected),
	};

	umask(022);
	return cmocka_run_group_tests_name("pack", tests, NULL, NULL);
}
