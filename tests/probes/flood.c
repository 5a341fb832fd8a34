/*
 * flood BYTES: prints this many bytes of lines "y", in blocks as large as those of coreutils' `yes`.
 */
#include <stdlib.h>
#include <unistd.h>

#define BLOCK_BYTES 8192

int main(int argc, char **argv)
{
	char block[BLOCK_BYTES];
	long long left = argc > 1 ? strtoll(argv[1], NULL, 10) : 0;

	for (size_t i = 0; i < sizeof(block); i++)
		block[i] = i % 2 == 0 ? 'y' : '\n';
	while (left > 0) {
		size_t size = left < (long long)sizeof(block) ? (size_t)left : sizeof(block);
		ssize_t n = write(STDOUT_FILENO, block, size);

		if (n < 0)
			return 1;
		left -= n;
	}
	return 0;
}
