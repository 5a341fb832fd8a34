/*
 * anonymous COMMAND [ARGUMENT...]: runs a command and says how many KiB of anonymous memory it holds
 * when it ends. Exit code 1 if that cannot be told, or the command fails.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

static int fail(const char *what)
{
	perror(what);
	return 1;
}

static int print_anonymous(pid_t pid)
{
	static const char field[] = "RssAnon:";
	char path[64], line[256];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	file = fopen(path, "re");
	if (!file)
		return fail(path);
	while (fgets(line, sizeof(line), file))
		if (strncmp(line, field, strlen(field)) == 0)
			printf("%ld\n", strtol(line + strlen(field), NULL, 10));
	fclose(file);
	return fflush(stdout) != 0;
}

int main(int argc, char **argv)
{
	int status;
	pid_t pid;

	if (argc < 2)
		return fail("usage: anonymous COMMAND...");
	pid = fork();
	if (pid == 0) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		execv(argv[1], argv + 1);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0 || !WIFSTOPPED(status))
		return fail("fork");
	/* Stops before the memory is given back, and at the exec. */
	if (ptrace(PTRACE_SETOPTIONS, pid, NULL, PTRACE_O_TRACEEXIT | PTRACE_O_EXITKILL) < 0)
		return fail("ptrace");
	do {
		if (ptrace(PTRACE_CONT, pid, NULL, NULL) < 0 || waitpid(pid, &status, 0) < 0)
			return fail("ptrace");
		if (WIFSTOPPED(status) && status >> 16 == PTRACE_EVENT_EXIT &&
		    print_anonymous(pid) != 0)
			return 1;
	} while (WIFSTOPPED(status));
	return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
}
