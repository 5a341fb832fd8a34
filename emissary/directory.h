/* A wrapped container's own directory, ctr/<name> below /var/run/argo: where it is asked to end, and
 * where others learn how it ended. */
#pragma once

#include "executor/base/error.h"
#include "executor/base/path.h"
#include "executor/base/role.h"

struct directory {
	const struct role *role;
	const char *container; /* ARGO_CONTAINER_NAME; borrowed */
	char path[PATH_MAX_BYTES]; /* "" = it could not be made */
};

/* Makes it, puts room aside for the exit code and leaves the record of this process (the latter
 * two as far as possible). The umask is 0 from now on. */
int directory_make(struct directory *directory, const struct role *role, const char *container,
		   struct error *err);

/* The very last thing: whoever waits for the container's end waits for this file. Trouble is
 * logged. */
void directory_write_exit_code(const struct directory *directory, int code);
