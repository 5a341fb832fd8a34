/* Inputs into a volume in which another process swaps directories with links out of it, as fast as it can:
 * with openat2 and without it, and nothing but our own code to keep us inside. */
#include "executor/base/cleanup.h"
#include "executor/stage/load.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include <cmocka.h>

#include "tests/unit/scratch.h"
#include "tests/unit/stage_fixture.h"

#define SECONDS_EACH 1
#define BLOCK 512

/* Below the volume. */
static const char *const swapped[] = { "in", "in/x", "in/x.tmpdir", "in/.argo-x.tmp", "in/x/d" };
#define SWAPPED_COUNT (sizeof(swapped) / sizeof(swapped[0]))

/* Where the links lead: where the one who loads is. The one who swaps is elsewhere, or he would go through
 * his own links. */
static const char *const targets[] = { "/proc/self/cwd", "/proc/self/cwd/d" };

static void swap_for_ever(uint64_t *swaps)
{
	int fd = open(scratch_path("volumes/work"), O_PATH | O_DIRECTORY | O_CLOEXEC);
	char links[SWAPPED_COUNT][16];

	if (chdir(scratch_path("nowhere")) < 0)
		_exit(1);
	for (size_t i = 0; i < SWAPPED_COUNT; i++) {
		snprintf(links[i], sizeof(links[i]), "link%zu", i);
		if (symlinkat(targets[i % 2], fd, links[i]) < 0)
			_exit(1);
	}
	for (;;)
		for (size_t i = 0; i < SWAPPED_COUNT; i++)
			if (renameat2(fd, swapped[i], fd, links[i], RENAME_EXCHANGE) == 0)
				(*swaps)++;
}

/* A directory t with a directory d and a file in each, as a plain tar: JSON text. */
static void print_tar(char *text)
{
	static const struct {
		const char *name, *type, *content;
	} members[] = { { "t", "5", "" },
			{ "t/d", "5", "" },
			{ "t/d/f", "0", "of the archive" },
			{ "t/f", "0", "of the archive" } };
	char tar[(2 * 4 + 2) * BLOCK] = "", *at = tar;

	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
		unsigned sum = 0;

		snprintf(at, 100, "%s", members[i].name);
		snprintf(at + 100, 8, "%07o", 0755);
		snprintf(at + 124, 12, "%011o", (unsigned)strlen(members[i].content));
		memset(at + 148, ' ', 8);
		at[156] = *members[i].type;
		snprintf(at + 257, 6, "ustar");
		at[263] = at[264] = '0';
		for (size_t j = 0; j < BLOCK; j++)
			sum += (unsigned char)at[j];
		snprintf(at + 148, 8, "%06o", sum);
		at += BLOCK;
		memcpy(at, members[i].content, strlen(members[i].content));
		at += *members[i].content ? BLOCK : 0;
	}
	for (const char *p = tar; p < at + 2 * BLOCK; p++) {
		if (*p)
			*text++ = *p;
		else
			text = stpcpy(text, "\\u0000");
	}
	*text = '\0';
}

static struct stat status_of(const char *name)
{
	struct stat st;

	assert_return_code(lstat(scratch_path(name), &st), errno);
	return st;
}

struct attempt {
	const char *archive, *data;
	bool has_openat2;
};

/* Returns how many came through. */
static unsigned load_for_a_while(const struct attempt *attempt)
{
	static char text[70000];
	const struct stage *stage;
	time_t end = time(NULL) + SECONDS_EACH + 1;
	unsigned whole = 0;

	snprintf(text, sizeof(text),
		 "{\"container\":{\"volumeMounts\":[{\"mountPath\":\"/work\"}]},"
		 "\"inputs\":{\"artifacts\":[{\"name\":\"x\",\"path\":\"/work/in/x\","
		 "\"archive\":{\"%s\":{}},\"mode\":448,\"recurseMode\":true,"
		 "\"raw\":{\"data\":\"%s\"}}]}}",
		 attempt->archive, attempt->data);
	stage = stage_fixture_begin(text);
	while (time(NULL) < end) {
		struct error err = ERROR_NONE;

		whole += load_inputs(stage, &err) == 0;
	}
	stage_fixture_end();
	return whole;
}

static int load_while_it_swaps(void *context)
{
	const struct attempt *attempt = context;
	static const char *const kept[] = { "outside", "outside/d", "outside/d/f" };
	struct stat before[3];
	uint64_t *swaps = mmap(NULL, sizeof(*swaps), PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pid;
	unsigned whole;

	for (size_t i = 0; i < 3; i++)
		before[i] = status_of(kept[i]);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		swap_for_ever(swaps);
	}
	if (chdir(scratch_path("outside")) < 0)
		return __LINE__;
	if (!attempt->has_openat2 && scratch_refuse_openat2(EPERM) < 0)
		return __LINE__;
	whole = load_for_a_while(attempt);
	if (pid < 0 || kill(pid, SIGKILL) < 0 || waitpid(pid, NULL, 0) != pid)
		return __LINE__;
	for (size_t i = 0; i < 3; i++) {
		struct stat st = status_of(kept[i]);

		if (st.st_ctim.tv_sec != before[i].st_ctim.tv_sec ||
		    st.st_ctim.tv_nsec != before[i].st_ctim.tv_nsec) {
			dprintf(2, "%s has changed\n", kept[i]);
			return __LINE__;
		}
	}
	/* Both happened often, or this has shown nothing. */
	return whole > 0 && *swaps > 1000 ? 0 : __LINE__;
}

static void play(struct attempt attempt)
{
	assert_int_equal(mkdir(scratch_path("outside"), 0755), 0);
	assert_int_equal(mkdir(scratch_path("nowhere"), 0755), 0);
	stage_fixture_put("outside/d/f", "kept");
	stage_fixture_put("volumes/work/in/beside", "");
	scratch_run_child(load_while_it_swaps, &attempt);
	assert_string_equal(scratch_read("outside/d/f"), "kept");
}

static void test_files(void **state)
{
	(void)state;
	play((struct attempt){ "none", "text", true });
}

static void test_files_without_openat2(void **state)
{
	(void)state;
	play((struct attempt){ "none", "text", false });
}

static void test_archives(void **state)
{
	static char tar[70000];

	(void)state;
	print_tar(tar);
	play((struct attempt){ "tar", tar, true });
}

static void test_archives_without_openat2(void **state)
{
	static char tar[70000];

	(void)state;
	print_tar(tar);
	play((struct attempt){ "tar", tar, false });
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define EACH(test) cmocka_unit_test_setup_teardown(test, stage_fixture_set_up, scratch_tear_down)
		EACH(test_files),
		EACH(test_files_without_openat2),
		EACH(test_archives),
		EACH(test_archives_without_openat2),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
