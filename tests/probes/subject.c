/*
 * subject: a user's program that tells how it was started, and ends as it is told to.
 *
 *	subject show		what it finds itself with, as one line of JSON
 *	subject exit CODE	ends with this code
 *	subject die SIGNAL	sends itself this signal, unblocked and with its default action; ends
 *				with 0 if it survives
 *	subject record LAST	says "ready", then one line for each signal that it gets; ends with 0
 *				after LAST. SIGKILL apart, no other signal ends it
 *	subject idle		says "ready" and does nothing for ever, every signal unblocked and with
 *				its default action
 *	subject reflect PID	sends each signal to that process and writes down which ones come back:
 *				one line of JSON, {"number": [numbers], …}; 64 must always come back
 *	subject zombies COUNT	leaves COUNT children that end and that nobody has waited for
 *
 * Signals are handled by plain system calls: libc hides 32 and 33.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define SIGNALS_MAX 64
#define DESCRIPTORS_MAX 256

/* The kernel's struct sigaction, of x86-64 and arm64. */
struct action {
	uintptr_t handler;
	unsigned long flags;
	uintptr_t restorer;
	uint64_t mask;
};

static void set_mask(int how, uint64_t mask, uint64_t *ret_old)
{
	syscall(SYS_rt_sigprocmask, how, &mask, ret_old, sizeof(mask));
}

static void print_string(const char *text)
{
	putchar('"');
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			printf("\\%c", *text);
		else if ((unsigned char)*text < 0x20)
			printf("\\u%04x", (unsigned)*text);
		else
			putchar(*text);
	}
	putchar('"');
}

static void print_strings(const char *name, char **list)
{
	printf("\"%s\": [", name);
	for (int i = 0; list[i]; i++) {
		printf(i > 0 ? ", " : "");
		print_string(list[i]);
	}
	printf("], ");
}

static void print_signals(void)
{
	uint64_t mask = 0;
	bool is_first = true;

	set_mask(SIG_BLOCK, 0, &mask);
	printf("\"blocked\": \"%016llx\", \"handled\": {", (unsigned long long)mask);
	for (int i = 1; i <= SIGNALS_MAX; i++) {
		struct action action = { .handler = 0 };

		if (syscall(SYS_rt_sigaction, i, NULL, &action, sizeof(action.mask)) < 0 ||
		    action.handler == 0)
			continue;
		printf("%s\"%d\": \"%s\"", is_first ? "" : ", ", i,
		       action.handler == 1 ? "ignored" : "handler");
		is_first = false;
	}
	printf("}, ");
}

static void print_descriptors(void)
{
	bool is_first = true;

	printf("\"descriptors\": {");
	for (int fd = 0; fd < DESCRIPTORS_MAX; fd++) {
		struct stat st;

		if (fstat(fd, &st) < 0)
			continue;
		printf("%s\"%d\": \"%llx:%llu %o %d\"", is_first ? "" : ", ", fd,
		       (unsigned long long)st.st_dev, (unsigned long long)st.st_ino,
		       (unsigned)st.st_mode, fcntl(fd, F_GETFL));
		is_first = false;
	}
	printf("}, ");
}

static void print_limits(void)
{
	printf("\"limits\": [");
	for (int i = 0; i < RLIM_NLIMITS; i++) {
		struct rlimit limit = { 0, 0 };

		getrlimit((__rlimit_resource_t)i, &limit);
		printf("%s[\"%llx\", \"%llx\"]", i > 0 ? ", " : "",
		       (unsigned long long)limit.rlim_cur, (unsigned long long)limit.rlim_max);
	}
	printf("], ");
}

/* Credentials, capabilities, no_new_privs, filters: the kernel's own words. */
static void print_status(void)
{
	static const char *const wanted[] = { "Uid:",    "Gid:",        "Groups:",     "CapInh:",
					      "CapPrm:", "CapEff:",     "CapBnd:",     "CapAmb:",
					      "Seccomp", "NoNewPrivs:", "THP_enabled:" };
	FILE *file = fopen("/proc/self/status", "re");
	bool is_first = true;
	char line[512];

	printf("\"status\": [");
	while (file && fgets(line, sizeof(line), file)) {
		line[strcspn(line, "\n")] = '\0';
		for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
			if (strncmp(line, wanted[i], strlen(wanted[i])) != 0)
				continue;
			printf(is_first ? "" : ", ");
			print_string(line);
			is_first = false;
		}
	}
	if (file)
		fclose(file);
	printf("], \"dumpable\": %d, ", prctl(PR_GET_DUMPABLE, 0, 0, 0, 0));
}

static void print_namespaces(void)
{
	static const char *const names[] = { "cgroup", "ipc",  "mnt",  "net",
					     "pid",    "time", "user", "uts" };

	printf("\"namespaces\": [");
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char path[64], target[64] = "";

		snprintf(path, sizeof(path), "/proc/self/ns/%s", names[i]);
		(void)!readlink(path, target, sizeof(target) - 1);
		printf(i > 0 ? ", " : "");
		print_string(target);
	}
	printf("], ");
}

static void print_terminal(void)
{
	struct winsize size = { .ws_row = 0 };

	ioctl(STDIN_FILENO, TIOCGWINSZ, &size);
	printf("\"terminal\": [%d, %d, %d], \"rows\": %d, \"columns\": %d, \"foreground\": %d, ",
	       isatty(0), isatty(1), isatty(2), size.ws_row, size.ws_col,
	       (int)tcgetpgrp(STDIN_FILENO));
}

static int show(char **argv)
{
	char directory[4096] = "", adjustment[16] = "0\n";
	int fd = open("/proc/self/oom_score_adj", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 ? read(fd, adjustment, sizeof(adjustment) - 1) : -1;
	mode_t mask = umask(0);

	if (fd >= 0)
		close(fd);
	if (n > 0)
		adjustment[n] = '\0';
	printf("{");
	print_strings("argv", argv);
	print_strings("env", environ);
	print_signals();
	print_descriptors();
	print_limits();
	print_status();
	print_namespaces();
	print_terminal();
	printf("\"cwd\": ");
	print_string(getcwd(directory, sizeof(directory)) ? directory : strerror(errno));
	printf(", \"pid\": %d, \"parent\": %d, \"group\": %d, \"session\": %d, \"umask\": %u, "
	       "\"nice\": %d, \"oom_score_adj\": %d, \"uid\": %u, \"gid\": %u}\n",
	       (int)getpid(), (int)getppid(), (int)getpgrp(), (int)getsid(0), (unsigned)mask,
	       getpriority(PRIO_PROCESS, 0), (int)strtol(adjustment, NULL, 10), getuid(), getgid());
	return fflush(stdout) != 0;
}

static void set_default(int signo)
{
	struct action standard = { .handler = 0 };

	syscall(SYS_rt_sigaction, signo, &standard, NULL, sizeof(standard.mask));
}

static int die(int signo)
{
	set_default(signo);
	set_mask(SIG_SETMASK, 0, NULL);
	return kill(getpid(), signo) < 0 ? 1 : 0;
}

static _Noreturn void idle(void)
{
	for (int i = 1; i <= SIGNALS_MAX; i++)
		set_default(i);
	set_mask(SIG_SETMASK, 0, NULL);
	puts("ready");
	fflush(stdout);
	for (;;)
		pause();
}

/* Pending signals are delivered in the order of their numbers: what comes at all comes before 64. */
static int reflect(pid_t pid)
{
	const struct timespec patience = { .tv_sec = 10 };
	uint64_t all = ~0ULL;

	set_mask(SIG_SETMASK, all, NULL);
	printf("{");
	for (int i = 1; i <= SIGNALS_MAX; i++) {
		const char *separator = "";

		if (kill(pid, i) < 0 || (i < SIGNALS_MAX && kill(pid, SIGNALS_MAX) < 0))
			return 1;
		printf("%s\"%d\": [", i > 1 ? ", " : "", i);
		for (;;) {
			long got = syscall(SYS_rt_sigtimedwait, &all, NULL, &patience, sizeof(all));

			if (got < 0 && errno != EINTR)
				return 1;
			if (got == SIGNALS_MAX)
				break;
			printf("%s%ld", separator, got);
			separator = ", ";
		}
		printf("]");
	}
	puts("}");
	return fflush(stdout) != 0;
}

static int record(int last)
{
	uint64_t all = ~0ULL;

	set_mask(SIG_SETMASK, all, NULL);
	puts("ready");
	fflush(stdout);
	for (;;) {
		long signo = syscall(SYS_rt_sigtimedwait, &all, NULL, NULL, sizeof(all));

		if (signo < 0)
			continue;
		printf("%ld\n", signo);
		fflush(stdout);
		if (signo == last)
			return 0;
	}
}

/* Each is the child of a process that has ended: whoever adopts it has to wait for it. */
static int leave_zombies(int count)
{
	for (int i = 0; i < count; i++) {
		pid_t pid = fork();

		if (pid == 0) {
			if (fork() == 0)
				_exit(0);
			_exit(0);
		}
		if (pid < 0)
			return 1;
		waitpid(pid, NULL, 0);
	}
	return 0;
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	int number = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 0;

	if (strcmp(what, "show") == 0)
		return show(argv);
	if (strcmp(what, "exit") == 0)
		return number;
	if (strcmp(what, "die") == 0)
		return die(number);
	if (strcmp(what, "record") == 0)
		return record(number);
	if (strcmp(what, "idle") == 0)
		idle();
	if (strcmp(what, "reflect") == 0)
		return reflect(number);
	if (strcmp(what, "zombies") == 0)
		return leave_zombies(number);
	fprintf(stderr, "subject: what?\n");
	return 1;
}
