/* Sandboxes, judges and collectors for the tests of executor/archive. */
#pragma once

#include "executor/base/buffer.h"
#include "executor/base/stream.h"

#include <stdbool.h>
#include <sys/types.h>

/* A directory of the test's own. sandbox_path() joins (static storage, a few at a time). */
void sandbox_make(void);
void sandbox_remove(void);
const char *sandbox_path(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Makes a file with missing parents; fails the test if it cannot. */
void put_file(const char *path, const void *data, size_t size, mode_t mode);
void put_text(const char *path, const char *text);
void put_directory(const char *path, mode_t mode);

/* The whole file, for comparison; caller frees with buffer_done. */
struct buffer get_file(const char *path);

/* Everything below `path`, one line each: name, type, mode, size, mtime, checksum or link text.
 * With mtimes left out if the flag says so. Caller frees. */
char *snapshot(const char *path, bool has_times);

/* Runs a program found in PATH, with its output collected into `out` if that is not NULL; the
 * exit code, or 127 if there is no such program. */
int run(struct buffer *out, const char *const argv[]);
#define RUN(out, ...) run(out, (const char *const[]){ __VA_ARGS__, NULL })
bool has_program(const char *name);

/* Collects what is written; fails with -ENOSPC once `room` bytes are used up. */
struct collector {
	struct writer writer;
	struct buffer data;
	size_t room;
};
void collector_init(struct collector *collector, size_t room);
void collector_done(struct collector *collector);
#define _cleanup_collector_ _cleanup_(collector_done)

/* Hands out a block of memory in pieces of at most `step` bytes. */
struct trickle {
	struct reader reader;
	const char *data;
	size_t size;
	size_t step;
};
void trickle_init(struct trickle *trickle, const void *data, size_t size, size_t step);
