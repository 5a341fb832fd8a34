#include "executor/archive/pack.h"
#include "executor/archive/unpack.h"
#include "executor/base/cleanup.h"
#include "executor/base/path.h"
#include "tests/unit/unpack_support.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

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
	zip = pack_source(PACK_ZIP, sandbox_path("src/t"));
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
	zip = pack_source(PACK_ZIP, sandbox_path("s/t"));
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

#define TEST(function) cmocka_unit_test_setup_teardown(function, unpack_setup, unpack_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(zip_round_trip),
		TEST(zips_of_others_are_understood),
		TEST(hostile_zips_stay_inside),
		TEST(damaged_zips_fail),
		TEST(encrypted_zips_are_refused),
	};

	umask(022);
	return cmocka_run_group_tests_name("unpack zip", tests, NULL, NULL);
}
