/*
 * The files under /var/run/argo through which Argo's containers talk, in every version: the
 * directories ctr/<container>/ with exitcode, signal, stdout and combined. Everything in there can
 * be written by user code: names are checked, sizes limited, nothing else is believed.
 */
#pragma once

#include "executor/base/error.h"

#include <stddef.h>

#define FILES_VAR_RUN_ARGO "/var/run/argo"

/* How the supervisor of a pod without init container speaks to the wrappers (Argo 4.1): the first
 * line of <root>/status is one of the words, the rest of it a reason. */
#define FILES_STATUS_NAME "status"
#define FILES_STATUS_RUNNING "RUNNING"
#define FILES_STATUS_READY "READY"
#define FILES_STATUS_FAILED "FAILED"

/* "<root>/ctr/<container>/<file>" (file may be ""): buffer of PATH_MAX_BYTES. */
const char *files_container_path(const char *root, const char *container, const char *file,
				 char *buffer, size_t size);

/* Makes <root>/ctr/<container>, both 0777: containers may run under different users. What is there
 * and no directory, a link to one included, is replaced. */
int files_make_container_directory(const char *root, const char *container, struct error *err);

/* Opens a file in there, and nothing else: no link is followed, nothing blocks. With O_CREAT it
 * gets 0666. The descriptor or a negative errno. */
int files_open(const char *root, const char *container, const char *file, int flags,
	       struct error *err);
int files_rename(const char *root, const char *container, const char *from, const char *to);
/* Whatever it is, except a directory with something in it. */
int files_remove(const char *root, const char *container, const char *file);

/* Puts aside the room that the exit code will need, so that a disk which is full by then cannot
 * keep it from being written: others may wait for it for ever. Trouble is no reason not to start. */
int files_reserve_exit_code(const char *root, const char *container, struct error *err);

/* Writes the decimal code; last thing a wrapper does. The file appears with its content, in the
 * place of whatever had its name. */
int files_write_exit_code(const char *root, const char *container, int code, struct error *err);

/* The recorded code (0 to 255); -ENOENT if there is none yet, -EAGAIN if the file is (still) empty,
 * -EINVAL for anything that is not a code. */
int files_read_exit_code(const char *root, const char *container, int *ret);

/* Asks the wrapper of a container for a signal by writing that file. */
int files_write_signal(const char *root, const char *container, int signo, struct error *err);

/* A file with as much as this holds more than a number. */
#define FILES_NUMBER_BYTES_MAX 32

/* The trimmed decimal number that these bytes are; -EAGAIN if there is none (yet), -EINVAL if it is
 * another text or beyond low and high (≥ 0). */
int files_parse_number(const char *text, size_t size, int low, int high);
