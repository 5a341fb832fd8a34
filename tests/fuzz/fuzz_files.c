/*
 * The files under /var/run/argo that user code can write: exitcode, signal, status, progress. The
 * first byte says what kind of file stands there. Required: only codes 0 to 255 and signals 1 to 64,
 * exactly as the file has them; a signal is taken once; nothing is followed, opened or waited for
 * that is no regular file; a code that is written is the code that is read.
 */
#include "emissary/ready.h"
#include "executor/base/fd.h"
#include "executor/base/path.h"
#include "executor/process/files.h"
#include "executor/process/inbox.h"
#include "executor/process/signals.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/targets.h"
#include "wait/progress.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum kind { REGULAR, LINK, FIFO, DIRECTORY, KINDS };

static void put(const char *path, enum kind kind, struct fuzz_input content)
{
	const char *elsewhere = fuzz_path("elsewhere");

	switch (kind) {
	case REGULAR:
		fuzz_write_file(path, content.data, content.size);
		break;
	case LINK:
		fuzz_write_file(elsewhere, content.data, content.size);
		fuzz_require(symlink(elsewhere, path) == 0);
		break;
	case FIFO:
		fuzz_require(mkfifo(path, 0666) == 0);
		break;
	default:
		fuzz_require(mkdir(path, 0777) == 0);
	}
}

/* The number that a file holds, by way of the C library; -1 if it holds more than that. */
static long plain_number(struct fuzz_input content)
{
	_cleanup_free_ char *text = fuzz_text(content.data, content.size);
	char *end;
	long value = strtol(text, &end, 10);

	end += strspn(end, " \t\r\n");
	return end == text + content.size ? value : -1;
}

struct taker {
	struct inbox inbox; /* first */
	int signo; /* the last one; 0 = none */
	unsigned count;
};

static void on_signal(struct inbox *inbox, int signo)
{
	struct taker *taker = (struct taker *)inbox;

	fuzz_require(signo >= 1 && signo <= SIGNALS_MAX);
	taker->signo = signo;
	taker->count++;
}

/* Looks, and once more when the time of a number that may not be whole has passed. */
static void take(struct taker *taker)
{
	inbox_look(&taker->inbox, NULL);
	taker->inbox.settle.callback(&taker->inbox.settle);
	inbox_look(&taker->inbox, NULL);
}

static void check_signal(const char *root, enum kind kind, struct fuzz_input content)
{
	struct taker taker = { .inbox.on_signal = on_signal };
	struct event_loop *loop = event_loop_new();
	char path[PATH_MAX_BYTES];
	struct stat st;

	fuzz_require(inbox_init(&taker.inbox, loop, root, "main") == 0);
	taker.inbox.on_signal = on_signal;
	put(files_container_path(root, "main", "signal", path, sizeof(path)), kind, content);
	take(&taker);
	fuzz_require(taker.count <= 1);
	if (taker.count == 1) {
		fuzz_require(kind == REGULAR && plain_number(content) == taker.signo);
		fuzz_require(lstat(path, &st) < 0);
	}
	take(&taker);
	fuzz_require(taker.count <= 1);
	fuzz_require(kind != LINK || stat(fuzz_path("elsewhere"), &st) == 0);
	inbox_done(&taker.inbox);
	event_loop_free(loop);
	fuzz_require(path_remove_tree(path, NULL) == 0);
}

static void check_exit_code(const char *root, enum kind kind, struct fuzz_input content)
{
	char path[PATH_MAX_BYTES];
	int code = -1, again = -1;
	int r;

	put(files_container_path(root, "main", "exitcode", path, sizeof(path)), kind, content);
	r = files_read_exit_code(root, "main", &code);
	if (r == 0) {
		fuzz_require(kind == REGULAR && code >= 0 && code <= 255);
		fuzz_require(plain_number(content) == code);
		fuzz_require(files_write_exit_code(root, "main", code, NULL) == 0);
		fuzz_require(files_read_exit_code(root, "main", &again) == 0 && again == code);
	} else {
		fuzz_require(r == -EAGAIN || r == -EINVAL);
		fuzz_require(code == -1);
	}
	fuzz_require(path_remove_tree(path, NULL) == 0);
}

/* What ready_await() does not wait for. */
static void check_status(const char *root, enum kind kind, struct fuzz_input content)
{
	_cleanup_free_ char *text = fuzz_text(content.data, content.size);
	enum ready_verdict verdict = ready_judge(text, 0);
	struct event_loop *loop;
	struct error err = ERROR_NONE;
	const char *path = fuzz_path(FILES_STATUS_NAME);
	int r;

	fuzz_require(verdict != READY_DEAD);
	if (kind != REGULAR || verdict == READY_WAIT || strlen(text) != content.size)
		return;
	put(path, kind, content);
	loop = event_loop_new();
	r = ready_await(loop, root, &err);
	event_loop_free(loop);
	if (verdict == READY_GO)
		fuzz_require(r == 0);
	else
		fuzz_check_error(r, &err);
	unlink(path);
}

static void check_progress(struct fuzz_input content)
{
	_cleanup_free_ char *text = fuzz_text(content.data, content.size);
	char value[PROGRESS_TEXT_MAX], again[PROGRESS_TEXT_MAX];
	long long n, m;
	char *slash;

	if (!progress_parse(text, value))
		return;
	n = strtoll(value, &slash, 10);
	fuzz_require(*slash == '/');
	m = strtoll(slash + 1, NULL, 10);
	fuzz_require(n >= 0 && n <= m && m > 0);
	fuzz_require(progress_parse(value, again) && strcmp(value, again) == 0);
}

void fuzz_files(const char *data, size_t size)
{
	struct fuzz_input input = { data, size };
	enum kind kind = (enum kind)(fuzz_take_byte(&input) % KINDS);
	const char *root = fuzz_directory();
	int fd;

	fuzz_require(files_make_container_directory(root, "main", NULL) == 0);
	fd = fuzz_next_fd();
	check_signal(root, kind, input);
	check_exit_code(root, kind, input);
	check_status(root, kind, input);
	check_progress(input);
	fuzz_require(fuzz_next_fd() == fd);
}
