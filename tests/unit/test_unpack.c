#include "executor/archive/pack.h"
#include "executor/archive/unpack.h"
#include "executor/base/cleanup.h"
#include "executor/base/path.h"
#include "tests/unit/scratch.h"
#include "tests/unit/unpack_support.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <cmocka.h>

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

static void cut_archives_fail(void **state)
{
	_cleanup_collector_ struct collector tar = { .room = 0 }, gz = { .room = 0 };
	struct error err;

	(void)state;
	put_text(sandbox_path("s/t/f"), "content");
	put_text(sandbox_path("s/t/g"), "content");
	tar = pack_source(PACK_TAR, sandbox_path("s/t"));
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
	gz = pack_source(PACK_TAR_GZ, sandbox_path("src/t"));
	gz.data.data[gz.data.size - 6] ^= 1; /* the checksum */
	assert_int_equal(unpack_buffer(&gz.data, &err), -EBADMSG);
	assert_string_equal(err.message, "gzip: checksum or length is wrong");
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
	tar = pack_source(PACK_TAR, sandbox_path("src/t"));
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
	assert_int_equal(
		unpack_tar(&trickle.reader, spot_by_path(sandbox_path("in/art")), &usual, &err), 0);
	assert_int_equal(RUN(NULL, "diff", "-r", "--no-dereference", sandbox_path("src/t"),
			     sandbox_path("in/art")),
			 0);
}

/* --- What others wrote ---------------------------------------------------------------------------- */

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
	assert_int_equal(unpack_tar(&reader.reader, spot_by_path(sandbox_path("in/art")), &options,
				    &err),
			 -EFBIG);
	assert_string_equal(err.message, "more than the limit of 9 entries");
	assert_nothing_left();
	options = (struct unpack_options){ .max_bytes = 69 };
	memory_reader_init(&reader, tar.data, tar.size);
	assert_int_equal(unpack_tar(&reader.reader, spot_by_path(sandbox_path("in/art")), &options,
				    &err),
			 -EFBIG);
	assert_string_equal(err.message, "d/9: unpacked, it would exceed the limit of 69 bytes");
	assert_nothing_left();
	options.max_bytes = 70;
	memory_reader_init(&reader, tar.data, tar.size);
	assert_int_equal(unpack_tar(&reader.reader, spot_by_path(sandbox_path("in/art")), &options,
				    &err),
			 0);
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
		assert_int_equal(unpack_tar(&reader.reader, spot_by_path(sandbox_path("in/art")),
					    &options, &err),
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
	gz = pack_source(PACK_TAR_GZ, sandbox_path("src/t"));
	if (mount("tmpfs", sandbox_path("in"), "tmpfs", 0, "size=160k,nr_inodes=500") < 0)
		skip();
	assert_int_equal(unpack_buffer(&gz.data, &err), -ENOSPC);
	assert_non_null(strstr(err.message, "no space left on device"));
	assert_nothing_left();
	assert_int_equal(unpack_buffer(&many, &err), -ENOSPC); /* inodes */
	assert_nothing_left();
	assert_return_code(umount(sandbox_path("in")), errno);
}

static int unpack_without_truncation(void *context)
{
	struct buffer *tar = context;
	struct error err;

	if (scratch_refuse_call(SYS_ftruncate, EIO) < 0)
		return __LINE__;
	if (unpack_buffer(&tar[0], &err) < 0)
		return __LINE__;
	/* Zeros at the end are not written. */
	if (unpack_buffer(&tar[1], &err) != -EIO || !strstr(err.message, "truncate d/zeros"))
		return __LINE__;
	return 0;
}

/* Of many small files, a call that changes nothing is a good part of what they take. */
static void written_files_have_their_size(void **state)
{
	static const struct entry written[] = { FILE_("d/empty", ""), FILE_("d/full", "content") };
	static const struct entry zeros = { '0', "d/zeros", NULL, NULL, 0, 2 * BLOCK };
	static const char content[2 * BLOCK];
	struct buffer tar[2] = { BUFFER_INIT(100000), BUFFER_INIT(100000) };

	(void)state;
	for (size_t i = 0; i < sizeof(written) / sizeof(written[0]); i++)
		add_entry(&tar[0], &written[i]);
	add_end(&tar[0]);
	add_block(&tar[1], &zeros, sizeof(content));
	assert_int_equal(buffer_append(&tar[1], content, sizeof(content)), 0);
	add_end(&tar[1]);
	scratch_run_child(unpack_without_truncation, tar);
	buffer_done(&tar[0]);
	buffer_done(&tar[1]);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, unpack_setup, unpack_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(modes_and_times_are_kept),
		TEST(cut_archives_fail),
		TEST(damaged_compression_fails),
		TEST(other_data_is_refused),
		TEST(members_and_garbage_are_accepted),
		TEST(gnu_tar_is_understood),
		TEST(hard_links_are_restored),
		TEST(target_follows_the_number_of_entries),
		TEST(error_says_what_lies_at_the_target),
		TEST(limits_are_named),
		TEST(cancelling_leaves_nothing),
		TEST(full_disk_leaves_nothing),
		TEST(written_files_have_their_size),
	};

	umask(022);
	/* Mounts of these tests are nobody else's, and end with the process. */
	if (unshare(CLONE_NEWNS) == 0)
		mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
	return cmocka_run_group_tests_name("unpack", tests, NULL, NULL);
}
