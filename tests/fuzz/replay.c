/*
 * Replays a corpus without libFuzzer: replay TARGET FILE...
 * Prints the name of each file that went well; what fails ends the process.
 */
#include "tests/fuzz/fuzz.h"

#include "executor/base/fd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#define FILE_BYTES_MAX (1024 * 1024)

int main(int argc, char **argv)
{
	const struct fuzz_target *target = argc > 1 ? fuzz_find(argv[1]) : NULL;

	if (!target) {
		fprintf(stderr, "usage: replay TARGET FILE...\n");
		return EX_USAGE;
	}
	for (int i = 2; i < argc; i++) {
		_cleanup_buffer_ struct buffer data = BUFFER_INIT(FILE_BYTES_MAX);
		struct error err = ERROR_NONE;
		_cleanup_free_ char *exact = NULL;

		if (file_read(argv[i], &data, &err) < 0) {
			fprintf(stderr, "%s\n", err.message);
			return EX_NOINPUT;
		}
		/* A buffer has room behind its content; a read beyond the input shall be seen. */
		exact = malloc(data.size);
		memcpy(exact, buffer_string(&data), data.size);
		target->run(exact, data.size);
		printf("%s\n", argv[i]);
		fflush(stdout);
	}
	return 0;
}
