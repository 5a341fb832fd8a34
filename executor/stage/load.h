/*
 * Before main: the template's files (script, manifest) and its input artifacts are put where main
 * will find them. An artifact comes straight from its store into its place, unpacked on the way;
 * until it is complete it has another name, so what a crash leaves can be told from what is whole,
 * and a second run starts over.
 */
#pragma once

#include "executor/base/error.h"
#include "executor/stage/stage.h"

/* Script source (0755) and inline resource manifest (0644). */
int load_files(const struct stage *stage, struct error *err);

/* How many inputs are loaded side by side. Those of a plugin come one by one, as Argo has it. */
#define LOAD_WIDTH 4

/* All inputs but those of artifact plugins, or, with stage->plugin, those of that plugin alone. They
 * are begun in their order; one that goes to or below the place of an earlier one comes after it. The
 * first failure cancels the rest. Messages: "artifact <name> failed to load: …", "required artifact
 * '<name>' not supplied". */
int load_inputs(const struct stage *stage, struct error *err);
