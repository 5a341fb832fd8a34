/* Files and descriptors: whole reads and writes, copies, atomic replacement. */
#pragma once

#include "executor/base/buffer.h"
#include "executor/base/error.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

/* Writes all of it, retrying on EINTR and short writes; 0 or a negative errno. */
int fd_write_all(int fd, const void *data, size_t size);

/* For a log whose reader may be slow, dead or stopped: waits up to patience_ms for room, each time
 * there is none, then gives up with -ETIMEDOUT. The open file is shared with others, who may have
 * set O_NONBLOCK or not; pipes and terminals are therefore opened anew. 0 or a negative errno. */
int fd_write_patiently(int fd, const void *data, size_t size, int patience_ms);

/* Appends everything up to end of file to `out`; -EMSGSIZE when out->max is exceeded. */
int fd_read_all(int fd, struct buffer *out);

/* Reads a whole file into `out` (whose max limits it). The message is "open <path>: <reason>" or
 * "read <path>: <reason>", or names the limit. Never blocks on a FIFO: anything that is neither
 * a regular file nor a character device is refused with -EINVAL. */
int file_read(const char *path, struct buffer *out, struct error *err);

/* Replaces the file at `path` by `size` bytes of `data` with exactly `mode` (the umask does not
 * apply), through a temporary name in the same directory and rename(2): readers see the old or
 * the new content, nothing half-written stays, and an existing file of another owner or without
 * write permission is no obstacle. */
int file_replace(const char *path, const void *data, size_t size, mode_t mode, struct error *err);

/* The same, taking the content from the descriptor `source` (from its current offset). */
int file_replace_from(const char *path, int source, mode_t mode, struct error *err);

/* Copies everything from one descriptor to the other, inside the kernel where it can. */
int fd_copy(int from, int to);

/* Whether symbolic links on the way are followed (as long as they stay below) or refused. */
enum beneath_links { BENEATH_FOLLOW, BENEATH_REFUSE };

/*
 * Opens `relative` below the directory `root`, and nothing else: what others may have put into a
 * shared volume (`..`, symbolic links, magic links) cannot lead out of it. Always O_CLOEXEC |
 * O_NONBLOCK | O_NOCTTY. Returns the descriptor, or a negative errno with "open <root>/<relative>:
 * <reason>" (a way out is EXDEV or ELOOP, said in words).
 */
int file_open_beneath(const char *root, const char *relative, int flags, enum beneath_links links,
		      struct error *err);

/* The same below an open directory; `root` is its path, for messages. */
int file_open_beneath_at(int root_fd, const char *root, const char *relative, int flags,
			 enum beneath_links links, struct error *err);

/*
 * The same, and a directory: mkdir -p for what is missing of `relative`, each of exactly `mode`. The
 * descriptor is good for *at() calls only.
 */
int file_make_beneath(int root_fd, const char *root, const char *relative, mode_t mode,
		      enum beneath_links links, struct error *err);

/* The first two, and fd_read_all for a regular file. */
int file_read_beneath(const char *root, const char *relative, enum beneath_links links,
		      struct buffer *out, struct error *err);
int file_read_beneath_at(int root_fd, const char *root, const char *relative,
			 enum beneath_links links, struct buffer *out, struct error *err);
