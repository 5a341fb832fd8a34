/* A directory of its own for each test binary, and children whose failures reach the test. */
#pragma once

#include <stddef.h>
#include <sys/types.h>

/* Group set-up and tear-down: make and remove the directory. A test that hangs is killed after
 * SCRATCH_SECONDS_MAX. */
#define SCRATCH_SECONDS_MAX 60
int scratch_set_up(void **state);
int scratch_tear_down(void **state);

/* "<directory>/<name>" ("" is the directory itself); valid for the next seven calls. */
const char *scratch_path(const char *name);

/* A regular file with that content, 0644. */
void scratch_write(const char *name, const char *text);
void scratch_write_bytes(const char *name, const void *data, size_t size);

/* The content of a file, NUL terminated; valid until the next call. */
const char *scratch_read(const char *name);

/* Permission bits, set-id bits included; fails the test if there is no such file. */
mode_t scratch_mode(const char *name);

/* Entries in a directory below, dots left out. */
unsigned scratch_count(const char *name);

/* Runs `body` in a forked child, which ends then: 0, or what went wrong (a line number below 256
 * would do, so bodies return __LINE__). Fails the test unless body returned 0. */
void scratch_run_child(int (*body)(void *context), void *context);

/* In such a child: become an ordinary user for good; 0 or a negative errno. */
int scratch_drop_privileges(void);

/* And: a system call fails with `error` from now on, as where a container's filter refuses it. 0 or -1. */
int scratch_refuse_call(unsigned number, unsigned error);
int scratch_refuse_openat2(unsigned error);
