/*
 * argosay: the small program that workflow examples run as their user image.
 *
 *	argosay [echo [TEXT [FILE]]]	TEXT (default "hello argo") and a newline to stdout or FILE
 *	argosay cat FILE...		files to stdout
 *	argosay sleep DURATION		a Go duration: 1s, 500ms, 1m30s, 1.5h
 *	argosay exit CODE		end with this code
 *
 * Statically linked, no state, exit code 1 and one line on stderr when something is wrong.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int fail(const char *what, const char *why)
{
	fprintf(stderr, "argosay: %s: %s\n", what, why);
	return 1;
}

static int echo(const char *text, const char *path)
{
	FILE *out = path ? fopen(path, "we") : stdout;

	if (!out)
		return fail(path, strerror(errno));
	if (fprintf(out, "%s\n", text) < 0 || fflush(out) != 0)
		return fail(path ? path : "stdout", strerror(errno));
	if (path && fclose(out) != 0)
		return fail(path, strerror(errno));
	return 0;
}

static int cat(const char *path)
{
	char buffer[65536];
	size_t got;
	FILE *in = fopen(path, "re");

	if (!in)
		return fail(path, strerror(errno));
	while ((got = fread(buffer, 1, sizeof(buffer), in)) > 0) {
		if (fwrite(buffer, 1, got, stdout) != got)
			break;
	}
	if (ferror(in) || fflush(stdout) != 0) {
		int number = errno;

		fclose(in);
		return fail(path, strerror(number));
	}
	fclose(in);
	return 0;
}

/* Seconds of one unit at the head of text; *used is its length. 0 when it is no unit. */
static double unit_seconds(const char *text, size_t *used)
{
	static const struct {
		const char *name;
		double seconds;
	} units[] = {
		{ "ns", 1e-9 }, { "us", 1e-6 }, { "ms", 1e-3 },
		{ "s", 1.0 },   { "m", 60.0 },  { "h", 3600.0 },
	};

	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		*used = strlen(units[i].name);
		if (strncmp(text, units[i].name, *used) == 0)
			return units[i].seconds;
	}
	return 0.0;
}

/* The sum of a Go duration's number-unit pairs, or -1 when it is none. */
static double duration_seconds(const char *text)
{
	double sum = 0.0;

	if (strcmp(text, "0") == 0)
		return 0.0;
	if (*text == '\0')
		return -1.0;
	while (*text != '\0') {
		char *end;
		size_t used = 0;
		double number = strtod(text, &end);
		double unit = unit_seconds(end, &used);

		if (end == text || number < 0.0 || unit == 0.0)
			return -1.0;
		sum += number * unit;
		text = end + used;
	}
	return sum;
}

static int sleep_for(const char *text)
{
	double seconds = duration_seconds(text);
	struct timespec left;

	if (seconds < 0.0 || seconds > 1e9)
		return fail(text, "not a duration");
	left.tv_sec = (time_t)seconds;
	left.tv_nsec = (long)((seconds - (double)left.tv_sec) * 1e9);
	while (nanosleep(&left, &left) != 0) {
		if (errno != EINTR)
			return fail("sleep", strerror(errno));
	}
	return 0;
}

static int exit_code(const char *text)
{
	char *end;
	long code = strtol(text, &end, 10);

	if (end == text || *end != '\0' || code < 0 || code > 255)
		return fail(text, "not an exit code");
	return (int)code;
}

int main(int argc, char **argv)
{
	const char *verb = argc > 1 ? argv[1] : "echo";

	if (strcmp(verb, "echo") == 0 && argc <= 4)
		return echo(argc > 2 ? argv[2] : "hello argo", argc > 3 ? argv[3] : NULL);
	if (strcmp(verb, "sleep") == 0 && argc == 3)
		return sleep_for(argv[2]);
	if (strcmp(verb, "exit") == 0 && argc == 3)
		return exit_code(argv[2]);
	if (strcmp(verb, "cat") == 0) {
		for (int i = 2; i < argc; i++) {
			if (cat(argv[i]) != 0)
				return 1;
		}
		return 0;
	}
	return fail(
		verb,
		"usage: argosay [echo [TEXT [FILE]] | cat FILE... | sleep DURATION | exit CODE]");
}
