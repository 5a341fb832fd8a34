/*
 * A file or a directory tree into an archive, as a stream: nothing is written to disk, and memory
 * does not grow with the tree (except a directory's names while it is read, and zip's own list).
 *
 *	struct pack_options options = { .format = PACK_TAR_GZ, .level = DEFLATE_DEFAULT };
 *	r = pack_tree(AT_FDCWD, "/mainctrfs/data/out", &options, &upload.writer, &result, &err);
 *	if (r == 0)
 *		r = upload.writer.finish(&upload.writer, &err);
 *
 * Equal input gives equal bytes: entries are in lexical order within each directory, a directory
 * before its content; names are `top` and `top/…`, never absolute, never `./`. Content, modes
 * (setuid, setgid and sticky included), numeric owners, times in whole seconds and, in tar, users'
 * extended attributes are kept; holes become zeros; symbolic links inside are stored as they are, the
 * one that the caller names is followed.
 *
 * A file with several names is written whole under each: Argo's executor, up to 4.1 at least, passes
 * over hard links when it loads an archive, without a word, and the files would be missing. In tar
 * (within the limits of hard_links.h) the members say that they are one file, and unpack.h makes them
 * one again. They are numbered as they come, so that equal trees stay equal.
 *
 * A user process may change the tree meanwhile. Nothing outside can be read by it: every step is
 * relative to an open directory and follows no link. What vanished or changed its type is left
 * out, what grew is cut at the size it had when opened, what shrank is filled up with zeros; each
 * with a warning. Sockets are left out with a warning; FIFOs and devices are headers in tar, and
 * left out with a warning in zip, and in a tree that is walked as somebody else.
 */
#pragma once

#include "executor/archive/deflate.h"
#include "executor/archive/hooks.h"
#include "executor/base/identity.h"
#include "executor/base/stream.h"
#include "executor/event/pool.h"

#include <stdint.h>

enum pack_format { PACK_TAR_GZ, PACK_TAR, PACK_ZIP };

/* Names of one directory, held while it is walked: several million. */
#define PACK_LISTING_BYTES_MAX (256u * 1024 * 1024)

struct pack_options {
	enum pack_format format;
	int level; /* DEFLATE_HUFFMAN to DEFLATE_MAX; PACK_TAR does not look at it */
	const char *name; /* of the top entry; NULL = the last component of the path */
	const struct identity *as; /* whose tree it is (entry.h); NULL = ours, or a volume's */
	struct pool *pool; /* of threads, for tar.gz; NULL = none */
	struct hooks hooks;
};

struct pack_result {
	uint64_t entries; /* written */
	uint64_t bytes; /* of file content, before compression */
	uint64_t warnings;
};

/*
 * Packs what `path` (relative to parent_fd, or AT_FDCWD) names into `out`. On success everything
 * is written and out->finish is left to its owner; after a failure `out` holds half an archive and
 * must be discarded. ret may be NULL.
 *
 * -ENOENT (class NOT_FOUND) "<path> no such file or directory"; -EINVAL "<path> is not a regular
 * file or directory", or an unknown level; -ENAMETOOLONG, -ELOOP for names and depths beyond
 * MEMBER_NAME_MAX and MEMBER_DEPTH_MAX; -ECANCELED; whatever reading the tree or writing says.
 */
int pack_tree(int parent_fd, const char *path, const struct pack_options *options,
	      struct writer *out, struct pack_result *ret, struct error *err);

/* The same for an open file or directory (not owned; O_PATH does not do). options->name is
 * required. */
int pack_descriptor(int fd, const struct pack_options *options, struct writer *out,
		    struct pack_result *ret, struct error *err);
