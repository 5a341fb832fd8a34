/* What loading and saving artifacts need to know of their pod; all borrowed. */
#pragma once

#include "executor/artifact/store.h"
#include "executor/base/log.h"
#include "executor/stage/handed.h"
#include "executor/stage/ledger.h"
#include "executor/template/template.h"

#include <stdbool.h>

struct stage {
	const struct template *template;
	const struct log *log;
	struct store_context store;
	const char *root; /* /var/run/argo */
	const char *inputs; /* /argo/inputs/artifacts */
	const char *main_root; /* /mainctrfs: the user's volumes, mirrored */
	const char *script; /* /argo/staging/script */
	const char *manifest; /* /tmp/manifest.yaml */
	const char *scratch; /* /tmp/argo/outputs: private to this container */
	bool is_initless;
	struct ledger *ledger; /* NULL = nobody looks */
	const struct handed *handed; /* what main's wrapper has handed over; NULL = nothing */
	/* load_inputs: how many side by side (0 = LOAD_WIDTH); those that are in their places already, as
	 * many as a ledger has (NULL = none). */
	unsigned load_width;
	const bool *loaded;
	const char *
		plugin; /* load_inputs: only what this artifact plugin has; NULL = all but plugins' */
};

#define STAGE_INPUTS "/argo/inputs/artifacts"
#define STAGE_MAIN_ROOT "/mainctrfs"
#define STAGE_SCRIPT "/argo/staging/script"
#define STAGE_MANIFEST "/tmp/manifest.yaml"
#define STAGE_SCRATCH "/tmp/argo/outputs"
#define STAGE_SECRETS "/argo/secret"

/* What `stage` will move, in the order in which it will: inputs if it loads them, outputs, archived
 * logs. Artifacts of plugins are theirs. 0 or -ENOMEM; on_change is set by the owner afterwards. */
int stage_plan(struct ledger *ledger, const struct template *template, bool with_inputs);

/* "<container>-logs": the name of a container's log as an artifact. */
#define STAGE_LOG_NAME_MAX 80
const char *stage_log_name(const char *container, char buffer[STAGE_LOG_NAME_MAX]);

/* True if `path` (clean) lies only in main's own file system, so that the wrapper had to bring it
 * (collect.h): not in a user volume, and not in an input artifact that is mounted for us too. */
bool stage_is_in_base(const struct stage *stage, const char *path);

/* Opens the store of an artifact that has been relocated; what goes through it counts for `entry`
 * (may be NULL). *ret is closed by stage_close_store. */
int stage_open_store(const struct stage *stage, struct json_object *artifact, const char *name,
		     struct ledger_entry *entry, struct store **ret, struct error *err);
void stage_close_store(struct store **store);
#define _cleanup_store_ _cleanup_(stage_close_store)

/* Packing and unpacking serve the loop now and then, so that signals are not kept waiting, and
 * end when it is cancelled; what they leave out is logged. */
struct hooks stage_hooks(const struct stage *stage);
