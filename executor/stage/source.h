/* Where the bytes of an output artifact are, as an open descriptor. */
#pragma once

#include "executor/stage/stage.h"

#include <stdint.h>

struct source {
	int fd; /* of the file or directory itself, or of the wrapper's tar.gz */
	bool is_collected; /* fd is the wrapper's tar.gz of it */
	bool is_directory; /* of fd */
	uint64_t size; /* of a regular file */
	char path[4096]; /* for messages */
};

/* NOT_FOUND "… no such file or directory" if there is none. -EINVAL for what is neither a regular
 * file nor a directory. */
int source_open(const struct stage *stage, const struct template_artifact *artifact,
		struct source *ret, struct error *err);

/* Opens a file that a wrapper left below /var/run/argo; no links are followed there. */
int source_open_collected(const struct stage *stage, const char *relative, struct source *ret,
			  struct error *err);
void source_close(struct source *source);
#define _cleanup_source_ _cleanup_(source_close)
