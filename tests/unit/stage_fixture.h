/* A pod's places below the scratch directory: run/ (/var/run/argo), inputs/, volumes/ (/mainctrfs),
 * staging/, scratch/. */
#pragma once

#include "executor/stage/stage.h"

/* A stage for that template, its log discarded; valid until stage_fixture_end(). `text` may hold
 * %s once, which becomes the scratch directory. */
const struct stage *stage_fixture_begin(const char *text);
void stage_fixture_end(void);

/* The template and log of the current stage. */
const struct template *stage_fixture_template(void);
const struct log *stage_fixture_log(void);

/* What was logged since the start of the stage. */
const char *stage_fixture_logged(void);

/* Makes parents, then a file; names as for scratch_write(). */
void stage_fixture_put(const char *name, const char *content);

int stage_fixture_set_up(void **state);
