/*
 * Regular files out of a tar, and which of them are one file under several names. An archive says so by
 * the numbers of a member (member.h, is_shared), whose content it has under each name all the same.
 *
 * What an archive says is not believed: a later name becomes a hard link only if the file that was made
 * for an earlier one is still there, the very same, and has the size, the permissions, the time and
 * every byte that this member has. Otherwise it is a file of its own. So each name has the content of its
 * member, whatever the numbers say. (Extended attributes are the first name's: they are not compared.)
 */
#pragma once

#include "executor/archive/hard_links.h"
#include "executor/archive/hooks.h"
#include "executor/archive/tar_reader.h"
#include "executor/archive/tree.h"

struct twins {
	struct tree *tree;
	const struct hooks *hooks;
	struct hard_links links;
	bool is_full;
};

void twins_init(struct twins *twins, struct tree *tree, const struct hooks *hooks);
void twins_done(struct twins *twins);

/* The regular file `member`, the reader's current entry, at `location`. Errors as of tree_file_open(),
 * tree_file_close() and the reader. */
int twins_unpack(struct twins *twins, struct tar_reader *tar, const char *location,
		 const struct member *member, struct error *err);
