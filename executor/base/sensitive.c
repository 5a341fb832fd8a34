#include "executor/base/sensitive.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

void sensitive_lock(void *memory, size_t size)
{
	(void)mlock(memory, size);
}

char *sensitive_copy(const char *text)
{
	char *copy = strdup(text);

	if (copy)
		sensitive_lock(copy, strlen(copy));
	return copy;
}

void sensitive_free(void *memory, size_t size)
{
	if (memory)
		explicit_bzero(memory, size);
	free(memory);
}
