/*
 * actor: a user's program that plays a part, and keeps a record of it where nobody else writes.
 *
 *	actor RECORDS KEY=VALUE...
 *
 * RECORDS is a directory; each run makes the next free file "0", "1", … of struct record in it, so
 * that a test knows what really happened, whatever the wrapper says.
 *
 *	life=MS		to live until it ends by itself; -1: for ever (default 0)
 *	code=N die=S	how it ends: with this code, or by this signal
 *	codes=N		the last attempt ends with code, those before it with N; see attempts
 *	attempts=N	which attempt is the last
 *	term=WORD	SIGTERM: "default", "ignore", or "handle": it ends with tcode
 *	tcode=N tdelay=MS tlines=N	the code then, so much later, so many lines written meanwhile
 *	lines=N width=N	lines to write, evenly over its life, and the bytes of each
 *	close=N		closes stdout after so many lines; -1: never (default)
 *	orphan=WORD	leaves a process in a session of its own: "sleep", "hold" (stdout), "write"
 *	zombies=N	leaves processes that end at once
 *	child=stopped	has a child that is stopped
 *	shell=1		plays the part in a child, and is deaf until that has ended; ends like it
 *	stop=MS		stops itself
 *	file=MS:PATH:TEXT	writes TEXT to PATH
 *	message=TEXT	is its own termination message
 *
 * A line of the attempt A is "A:NUMBER:" and filling, one of an orphan begins with "orphan".
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LINE_BYTES_MAX 4000
#define FOR_EVER INT64_MAX

/* Nanoseconds of the monotonic clock; 0: it did not happen. Kept in step with act.py. */
struct record {
	int64_t started, ready; /* main began; SIGTERM is dealt with as asked */
	int64_t terms, term_at; /* SIGTERMs handled, the first one's time */
	int64_t lines; /* written in full */
	int64_t end_kind, end_value, ended; /* 1 a code, 2 a signal: written right before the end */
	int64_t stopped;
	int64_t is_closed;
};

struct part {
	int64_t life_ms, code, die, codes, attempts, tcode, tdelay_ms, tlines, lines, width, close;
	int64_t zombies, stop_ms, shell;
	const char *term, *orphan, *child, *file, *message;
};

static volatile sig_atomic_t is_asked;
static volatile struct record *record;
static int attempt;

static int64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static void on_term(int signo)
{
	(void)signo;
	if (record->terms++ == 0)
		record->term_at = now();
	is_asked = 1;
}

static bool open_record(const char *directory)
{
	char path[256];
	int fd = -1;

	for (attempt = 0; attempt < 100 && fd < 0; attempt++) {
		snprintf(path, sizeof(path), "%s/%d", directory, attempt);
		fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
		if (fd < 0 && errno != EEXIST)
			return false;
	}
	attempt--;
	if (fd < 0 || ftruncate(fd, sizeof(*record)) < 0)
		return false;
	record = mmap(NULL, sizeof(*record), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	return record != MAP_FAILED;
}

static void end_by(int64_t kind, int64_t value)
{
	sigset_t nothing;

	record->end_kind = kind;
	record->end_value = value;
	record->ended = now();
	if (kind == 1)
		_exit((int)value);
	signal((int)value, SIG_DFL);
	sigemptyset(&nothing);
	sigprocmask(SIG_SETMASK, &nothing, NULL);
	kill(getpid(), (int)value);
	_exit(99); /* a signal that does not end a process was asked for */
}

/* A line is one write, which a pipe takes as a whole or not at all. */
static void write_line(const struct part *part)
{
	char line[LINE_BYTES_MAX + 64];
	int size;

	if (record->is_closed)
		return;
	size = snprintf(line, sizeof(line), "%d:%lld:", attempt, (long long)record->lines);
	while (size < part->width - 1 && size < LINE_BYTES_MAX)
		line[size++] = 'x';
	line[size++] = '\n';
	if (write(STDOUT_FILENO, line, (size_t)size) == size)
		record->lines++;
	if (record->lines == part->close) {
		record->is_closed = 1;
		close(STDOUT_FILENO);
	}
}

static void live_as_orphan(const char *what)
{
	for (int fd = 3; fd < 64; fd++)
		close(fd);
	prctl(PR_SET_NAME, "orphan");
	signal(SIGTERM, SIG_DFL);
	if (strcmp(what, "sleep") == 0)
		close(STDOUT_FILENO);
	for (;;) {
		if (strcmp(what, "write") == 0 && write(STDOUT_FILENO, "orphan\n", 7) < 0)
			pause();
		poll(NULL, 0, 5);
	}
}

/* Whoever adopts them lets them live, or has to wait for them. */
static void leave_behind(const struct part *part)
{
	for (int64_t i = 0; i < part->zombies + (part->orphan ? 1 : 0); i++) {
		pid_t pid = fork();

		if (pid == 0) {
			setsid();
			if (fork() == 0 && i == part->zombies)
				live_as_orphan(part->orphan);
			_exit(0);
		}
		waitpid(pid, NULL, 0);
	}
	if (part->child && fork() == 0) {
		raise(SIGSTOP);
		pause();
		_exit(0);
	}
}

static void put_file(const char *argument)
{
	char path[256];
	const char *text;
	int fd;

	argument = strchr(argument, ':') + 1;
	text = strchr(argument, ':') + 1;
	snprintf(path, sizeof(path), "%.*s", (int)(text - argument - 1), argument);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (fd >= 0) {
		(void)!write(fd, text, strlen(text));
		close(fd);
	}
}

static void die_politely(const struct part *part)
{
	for (int64_t i = 0; i < part->tlines; i++)
		write_line(part);
	for (int64_t until = now() + part->tdelay_ms * 1000000; now() < until;)
		poll(NULL, 0, (int)((until - now()) / 1000000 + 1));
	end_by(1, part->tcode);
}

static void sleep_until(int64_t moment, const sigset_t *mask)
{
	int64_t left = moment - now();
	struct timespec time = { .tv_sec = left / 1000000000, .tv_nsec = left % 1000000000 };

	if (left > 0)
		ppoll(NULL, 0, moment == FOR_EVER ? NULL : &time, mask);
}

static int64_t at(int64_t ms)
{
	return ms < 0 ? FOR_EVER : record->started + ms * 1000000;
}

static void play(const struct part *part, const sigset_t *awake)
{
	int64_t end = at(part->life_ms), stop = at(part->stop_ms);
	int64_t file = part->file ? at(strtoll(part->file, NULL, 10)) : FOR_EVER;
	int64_t span = (part->life_ms < 0 ? 200 : part->life_ms) * 1000000;

	while (!is_asked) {
		int64_t time = now(), line = FOR_EVER, next;

		if (part->lines > 0 && record->lines < part->lines && !record->is_closed)
			line = record->started + span * record->lines / part->lines;
		if (time >= line) {
			write_line(part);
		} else if (time >= file) {
			put_file(part->file);
			file = FOR_EVER;
		} else if (time >= stop) {
			stop = FOR_EVER;
			record->stopped = time;
			raise(SIGSTOP);
		} else if (time >= end) {
			sleep_until(time + 1, awake); /* a signal that is pending comes first */
			if (!is_asked)
				return;
		} else {
			next = line < file ? line : file;
			next = next < stop ? next : stop;
			sleep_until(next < end ? next : end, awake);
		}
	}
	die_politely(part);
}

static void set(struct part *part, const char *word)
{
	const struct {
		const char *key;
		int64_t *number;
		const char **text;
	} keys[] = {
		{ "shell=", &part->shell, NULL },      { "life=", &part->life_ms, NULL },
		{ "code=", &part->code, NULL },        { "die=", &part->die, NULL },
		{ "codes=", &part->codes, NULL },      { "attempts=", &part->attempts, NULL },
		{ "term=", NULL, &part->term },        { "tcode=", &part->tcode, NULL },
		{ "tdelay=", &part->tdelay_ms, NULL }, { "tlines=", &part->tlines, NULL },
		{ "lines=", &part->lines, NULL },      { "width=", &part->width, NULL },
		{ "close=", &part->close, NULL },      { "orphan=", NULL, &part->orphan },
		{ "zombies=", &part->zombies, NULL },  { "child=", NULL, &part->child },
		{ "stop=", &part->stop_ms, NULL },     { "file=", NULL, &part->file },
		{ "message=", NULL, &part->message },
	};

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		size_t size = strlen(keys[i].key);

		if (strncmp(word, keys[i].key, size) != 0)
			continue;
		if (keys[i].number)
			*keys[i].number = strtoll(word + size, NULL, 10);
		else
			*keys[i].text = word + size;
		return;
	}
	fprintf(stderr, "actor: %s: what?\n", word);
	_exit(98);
}

/* As a shell script that waits for a command: its signals are the command's business. Returns in
 * the child. */
static void stay_in_front(void)
{
	sigset_t all, before;
	int status;
	pid_t pid;

	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &before);
	pid = fork();
	if (pid == 0) {
		sigprocmask(SIG_SETMASK, &before, NULL);
		return;
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		_exit(97);
	if (WIFEXITED(status))
		_exit(WEXITSTATUS(status));
	/* Others may be pending: they come too late. */
	sigemptyset(&before);
	sigaddset(&before, WTERMSIG(status));
	signal(WTERMSIG(status), SIG_DFL);
	kill(getpid(), WTERMSIG(status));
	sigprocmask(SIG_UNBLOCK, &before, NULL);
	_exit(96);
}

int main(int argc, char **argv)
{
	struct part part = { .width = 20, .close = -1, .stop_ms = -1, .term = "default" };
	struct sigaction handler = { .sa_handler = on_term };
	sigset_t term, before;
	int64_t began = now();

	if (argc < 2 || !open_record(argv[1]))
		return 98;
	record->started = began;
	for (int i = 2; i < argc; i++)
		set(&part, argv[i]);
	if (part.shell)
		stay_in_front();
	/* Only between two lines: what is written is counted. */
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	if (strcmp(part.term, "ignore") == 0)
		signal(SIGTERM, SIG_IGN);
	if (strcmp(part.term, "handle") == 0) {
		sigprocmask(SIG_BLOCK, &term, &before);
		sigaction(SIGTERM, &handler, NULL);
	} else {
		sigprocmask(SIG_BLOCK, NULL, &before);
	}
	record->ready = now();
	signal(SIGPIPE, SIG_IGN);
	if (part.message) {
		char text[512];

		snprintf(text, sizeof(text), "0:/dev/termination-log:%s", part.message);
		put_file(text);
	}
	leave_behind(&part);
	play(&part, &before);
	if (part.attempts > attempt + 1)
		end_by(1, part.codes);
	end_by(part.die ? 2 : 1, part.die ? part.die : part.code);
}
