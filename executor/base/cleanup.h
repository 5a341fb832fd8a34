/*
 * Scope-bound ownership. A local that owns something is declared with one of these attributes and
 * given away with TAKE_PTR or TAKE_FD; every destructor accepts the "nothing" value of its type
 * (NULL, a negative descriptor), so half-built objects can be dropped on any path.
 */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(function) __attribute__((cleanup(function)))
#define _cleanup_free_ _cleanup_(cleanup_free)
#define _cleanup_close_ _cleanup_(cleanup_close)

/* Evaluates to the pointer (or descriptor) and leaves "nothing" behind in the variable. */
#define TAKE_PTR(pointer) \
	({ \
		__typeof__(pointer) *slot_ = &(pointer); \
		__typeof__(pointer) taken_ = *slot_; \
		*slot_ = NULL; \
		taken_; \
	})
#define TAKE_FD(fd) \
	({ \
		int *slot_ = &(fd); \
		int taken_ = *slot_; \
		*slot_ = -1; \
		taken_; \
	})

static inline void cleanup_free(void *pointer)
{
	free(*(void **)pointer);
}

static inline void cleanup_close(const int *fd)
{
	if (*fd >= 0)
		close(*fd);
}
