#include "executor/archive/unpack.h"
#include "executor/base/cleanup.h"
#include "executor/base/path.h"
#include "tests/unit/hostile_archives.h"
#include "tests/unit/unpack_support.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/openat2.h>
#include <linux/seccomp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cmocka.h>

/* None is ever taken away. */
#define CASES_MIN 60

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
	assert_true(hostile_archives_count >= CASES_MIN);
	for (size_t i = 0; i < hostile_archives_count; i++) {
		const struct hostile *test = &hostile_archives[i];
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

#define TEST(function) cmocka_unit_test_setup_teardown(function, unpack_setup, unpack_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(hostile_archives_stay_inside), TEST(long_and_deep_names_meet_the_limits),
		TEST(links_do_not_add_up_depth),    TEST(header_bombs_are_stopped),
		TEST(racing_links_lead_nowhere),
	};
	int failed;

	umask(022);
	failed = cmocka_run_group_tests_name("unpack hostile", tests, NULL, NULL);
	return failed + cmocka_run_group_tests_name("unpack hostile without openat2", tests,
						    forbid_openat2, NULL);
}
