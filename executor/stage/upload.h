/* An opened source into an opened store, in the form that the artifact asks for. */
#pragma once

#include "executor/stage/source.h"

/* `name` is the last part of the object's key. The object is there when this returns 0. Errors:
 * "artifact <name> failed to save: …". */
int upload_artifact(const struct stage *stage, const struct template_artifact *artifact,
		    const struct source *source, struct store *store, const char *name,
		    struct error *err);

/* A regular file as it is. */
int upload_file(const struct stage *stage, const struct source *source, struct store *store,
		const char *name, struct error *err);
