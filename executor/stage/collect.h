/*
 * The wrapper's half of saving outputs: what lies in the container's own file system is out of
 * reach for `wait`, so the wrapper of `main` puts it below /var/run/argo/outputs when the user's
 * command has ended, whatever its exit code. An artifact is handed over as a descriptor to whoever
 * takes it; what nobody takes, and parameters, which are small, go Argo's classic way, which every
 * version reads:
 *
 *	outputs/parameters/<path>        a copy of the file
 *	outputs/artifacts/<path>.tgz     tar+gzip of the file or directory
 *
 * Paths in the user's volumes are left alone: `wait` has those volumes too.
 */
#pragma once

#include "executor/base/error.h"
#include "executor/base/log.h"
#include "executor/template/template.h"

/* Largest output parameter: it has to fit into an API object of 1 MiB together with the rest. */
#define COLLECT_PARAMETER_BYTES_MAX (1024 * 1024)

/* Who takes descriptors. */
struct collect_taker {
	/* `fd` is the file or directory at `path`, open for reading; or there is none, and `code`
	 * (positive errno) says why. 0: it is taken, and need not be packed. */
	int (*give)(void *context, const char *path, int fd, int code);
	void *context;
};

/* True if an artifact of the template lies in the container's own file system. */
bool collect_has_artifacts(const struct template *template);

/* Saves everything that the template declares, in its order; a missing source is a warning. Goes
 * on after a failure and returns the first one. Nothing half-written stays under a final name.
 * `taker` may be NULL. */
int collect_outputs(const struct template *template, const char *root,
		    const struct collect_taker *taker, const struct log *log, struct error *err);
