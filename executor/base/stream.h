/*
 * Bytes on their way: a reader is asked for bytes, a writer is given them. Both are small vtables
 * that the owner embeds in its own struct; they say nothing about where the bytes live, which is
 * what lets a socket, a file, an archive and an upload be put in any order.
 *
 * Calls may run the event loop while they wait, and then fail with -ECANCELED (class CANCELLED)
 * if the loop was cancelled.
 */
#pragma once

#include "executor/base/error.h"

#include <stddef.h>
#include <sys/types.h>

/* How much is moved at a time by those who copy; large enough that system calls do not matter,
 * small enough to live on the heap of a process that must stay under a few megabytes. */
#define STREAM_CHUNK_BYTES (128 * 1024)

struct reader {
	/* Returns 1 to size bytes, 0 at the end, or a negative errno with err filled. */
	ssize_t (*read)(struct reader *reader, void *data, size_t size, struct error *err);
};

struct writer {
	/* Takes all size bytes or fails. After a failure nothing more may be written. */
	int (*write)(struct writer *writer, const void *data, size_t size, struct error *err);
	/* Makes what was written final (flushes, completes the upload). Called once, only when
	 * all writes succeeded; without it the owner's destructor discards. NULL = nothing to do. */
	int (*finish)(struct writer *writer, struct error *err);
};

/* Reads the next bytes of the descriptor `fd` (not owned). `name` is for messages. */
struct fd_reader {
	struct reader reader;
	int fd;
	const char *name;
};
void fd_reader_init(struct fd_reader *reader, int fd, const char *name);

/* Writes to the descriptor `fd` (not owned). */
struct fd_writer {
	struct writer writer;
	int fd;
	const char *name;
};
void fd_writer_init(struct fd_writer *writer, int fd, const char *name);

/* Reads a block of memory (not owned). */
struct memory_reader {
	struct reader reader;
	const char *data;
	size_t size;
	size_t position;
};
void memory_reader_init(struct memory_reader *reader, const void *data, size_t size);

/*
 * Gives back what was looked at: the first bytes of `source` can be examined before anybody
 * decides who reads them. Owns its buffer, not the source.
 */
struct peek_reader {
	struct reader reader;
	struct reader *source;
	char *data;
	size_t size;
	size_t position;
};
void peek_reader_init(struct peek_reader *reader, struct reader *source);
void peek_reader_done(struct peek_reader *reader);
/* Ensures up to `want` bytes are buffered (fewer only at the end of the source); returns their
 * number and sets *ret_data, or a negative errno. */
ssize_t peek_reader_peek(struct peek_reader *reader, size_t want, const char **ret_data,
			 struct error *err);

/* Moves everything from reader to writer (finish is not called); returns 0 or a negative errno.
 * If ret_bytes is not NULL it receives the count. */
int stream_copy(struct reader *reader, struct writer *writer, unsigned long long *ret_bytes,
		struct error *err);
