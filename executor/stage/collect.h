/*
 * The wrapper's half of saving outputs: what lies in the container's own file system is out of
 * reach for `wait`, so the wrapper of `main` puts it below /var/run/argo/outputs when the user's
 * command has ended, whatever its exit code (Argo's classic way; every version reads it):
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

/* Saves everything that the template declares, in its order; a missing source is a warning. Goes
 * on after a failure and returns the first one. Nothing half-written stays under a final name. */
int collect_outputs(const struct template *template, const char *root, const struct log *log,
		    struct error *err);
