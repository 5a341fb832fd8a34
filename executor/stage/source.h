/* Where the bytes of an output artifact are, as an open descriptor. */
#pragma once

#include "executor/stage/stage.h"

#include <stdint.h>

struct source {
	int fd; /* of the file or directory itself, or of the wrapper's tar.gz */
	const struct handed_item *handed; /* as main's wrapper handed it over; NULL = it did not */
	bool is_collected; /* fd is the wrapper's tar.gz of it */
	bool is_directory; /* of fd */
	uint64_t size; /* of a regular file */
	char path[4096]; /* for messages */
};

/* NOT_FOUND "… no such file or directory" if there is none. What main's wrapper has handed over goes
 * before what it has left in files; its own reason for not having it is the error. -EINVAL for what is neither a regular
 * file nor a directory. */
int source_open(const struct stage *stage, const struct template_artifact *artifact,
		struct source *ret, struct error *err);

/* Whose tree it is, for those who walk it (entry.h); NULL = it is for us to read. */
const struct identity *source_identity(const struct source *source);

/*
 * Holds what was sent (entries with links and directories, or files alone) against what was there
 * when the source was handed over: -EIO if something is missing. A container that is removed takes
 * its files from under whoever still reads them. 0 for any other source.
 */
int source_check_entries(const struct source *source, uint64_t sent, struct error *err);
int source_check_files(const struct source *source, uint64_t sent, struct error *err);

/* Opens a file that a wrapper left below /var/run/argo; no links are followed there. */
int source_open_collected(const struct stage *stage, const char *relative, struct source *ret,
			  struct error *err);
void source_close(struct source *source);
#define _cleanup_source_ _cleanup_(source_close)
