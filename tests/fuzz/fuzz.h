/*
 * What the fuzz targets share. A target takes any bytes, feeds them to one parser (or one server) and
 * requires of the outcome what must hold for all input: docs/testing.md.
 *
 * All targets are one program. clang's libFuzzer drives it (libfuzzer.c), and the corpus is replayed
 * with gcc's sanitizers by replay.c.
 */
#pragma once

#include "executor/base/error.h"
#include "executor/base/stream.h"
#include "executor/http/http.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fuzz_target {
	const char *name;
	void (*run)(const char *data, size_t size);
};

/* Ends with name NULL. */
extern const struct fuzz_target fuzz_targets[];
/* NULL if there is no such target. */
const struct fuzz_target *fuzz_find(const char *name);

/* Ends the process with a report if the condition does not hold. */
#define fuzz_require(condition) \
	((condition) ? (void)0 : fuzz_fail(__FILE__, __LINE__, __func__, #condition))
void fuzz_fail(const char *file, int line, const char *function, const char *condition)
	__attribute__((noreturn));

/* A directory of this process's own ($TMPDIR, else /tmp), removed when it exits. */
const char *fuzz_directory(void);
/* "<directory>/<name>"; valid for the next three calls. */
const char *fuzz_path(const char *name);
void fuzz_write_file(const char *path, const char *data, size_t size);

/* A copy with a NUL behind it, for those who take C strings; exactly as long, so that a read beyond
 * it is seen. The caller frees it. */
char *fuzz_text(const char *data, size_t size);

/* What is left of an input that says more than one thing. */
struct fuzz_input {
	const char *data;
	size_t size;
};
/* The next byte, or 0 at the end. */
unsigned char fuzz_take_byte(struct fuzz_input *input);
/* The next `size` bytes, or what is left. */
struct fuzz_input fuzz_take(struct fuzz_input *input, size_t size);
/* Everything up to `separator`, which is dropped, or to the end. */
struct fuzz_input fuzz_take_until(struct fuzz_input *input, char separator);

/* An answer out of "<status>\n<header lines>\n\n<body>", headers as the HTTP engine hands them over; its
 * owner frees it. */
void fuzz_take_response(struct fuzz_input *input, struct http_response *ret);

/* Gives bytes (not owned) out in pieces of `step`. */
struct fuzz_pieces {
	struct reader reader;
	const char *data;
	size_t size, step;
};
void fuzz_pieces_init(struct fuzz_pieces *pieces, const char *data, size_t size, size_t step);

/* One line of valid UTF-8. */
void fuzz_check_line(const char *text);
/* A failure as docs/errors.md has it: r is negative and what err says, and the message is a line. */
void fuzz_check_error(int r, const struct error *err);

/* The lowest free descriptor: the same before and after, if nothing was leaked. */
int fuzz_next_fd(void);
