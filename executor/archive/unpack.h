/*
 * An archive into a file or directory, from people who are not trusted.
 *
 *	struct unpack_options options = { .hooks = hooks };
 *	r = unpack_tar(&body.reader, spot_by_path("/tmp/argo/outputs/data"), &options, &err);
 *
 * In a directory that others can write, too, the target is a spot (spot.h) in a descriptor of it.
 * Everything is made in `<target>.tmpdir` first. Exactly one top-level entry becomes the target
 * itself, whatever its name was; otherwise the directory with all of them does. After a failure
 * neither is left, and a target that was there before is as it was.
 *
 * Refused, with Argo's words: names that lie outside ("illegal file path: <name>", in zip "<full
 * path>: Illegal file path"), symbolic links that point outside or at the top ("illegal symlink
 * target: <name> -> <target>"), names whose directory leads outside through links ("illegal file
 * path after symlink resolution: <name> resolves outside destination"); in all these, absolute
 * names count as relative, absolute link targets as outside.
 * Left out with a warning: FIFOs, devices, hard links to what is not there.
 *
 * Kept: permission bits of files (without setuid, setgid, sticky) and, at least 0755, of
 * directories; times; symbolic and hard links, the latter also where a tar only tells of them
 * (twins.h); users' extended attributes, where the file system has them; long runs of zeros become
 * holes. Not kept: owners, other extended attributes, ACLs.
 * A later entry replaces an earlier file of the same name, but a symbolic link replaces nothing.
 */
#pragma once

#include "executor/archive/hooks.h"
#include "executor/archive/member.h"
#include "executor/base/spot.h"
#include "executor/base/stream.h"
#include "executor/event/pool.h"

#include <stdint.h>

/* More than any real artifact has, fewer than would use up the inodes of a usual file system. */
#define UNPACK_ENTRIES_MAX 10000000u
/* Padding behind a compressed tar that is read to see the checksum at the end of the data; what
 * is longer is not padding, and is not read. */
#define UNPACK_PADDING_BYTES_MAX (16u * 1024 * 1024)

/* Zeros mean the defaults. MEMBER_NAME_MAX and MEMBER_DEPTH_MAX hold as well, and content may
 * never be more than the target's file system has free. */
struct unpack_options {
	uint64_t max_entries; /* UNPACK_ENTRIES_MAX */
	uint64_t max_bytes; /* of all files' content; default: free space only */
	struct hooks hooks;
	/* Threads that open small files beside (small_files.h), with its loop; NULL = none. */
	struct pool *pool;
};

/*
 * tar, told by its first bytes to be gzip (one or more members; what follows them is ignored),
 * zstd, or plain. An archive without entries gives an empty directory; an empty stream, a cut
 * archive, a wrong checksum, anything else: -EBADMSG. Other codes: -EXDEV for what is refused,
 * -ENOSPC, -EFBIG and -EMSGSIZE for limits, -ECANCELED, what `in` says. Never the class NOT_FOUND
 * unless `in` said so. May not read `in` to its end.
 */
int unpack_tar(struct reader *in, struct spot target, const struct unpack_options *options,
	       struct error *err);

/*
 * zip needs its central directory, which is at the end: `fd` is a regular file (not owned). A
 * symbolic link that points inside is made as one; one that does not becomes a regular file with
 * the text in it, which is what Argo's executor makes of all of them. Encryption and methods other
 * than store and deflate: -EOPNOTSUPP.
 */
int unpack_zip(int fd, struct spot target, const struct unpack_options *options, struct error *err);
