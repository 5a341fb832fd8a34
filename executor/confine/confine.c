#include "executor/confine/confine.h"

#include "executor/confine/layers.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#define VARIABLE "ARGOEXEC_CONFINEMENT"

int confine_mode_from_environment(enum confine_mode *ret, struct error *err)
{
	static const char *const words[] = { "auto", "required", "record", "off" };
	const char *value = getenv(VARIABLE);

	if (!value || !*value)
		value = words[CONFINE_AUTO];
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strcmp(value, words[i]) == 0) {
			*ret = (enum confine_mode)i;
			return 0;
		}
	}
	return error_set(err, -EINVAL, VARIABLE " \"%.64s\": use auto, required, record or off",
			 value);
}

const char *confine_layer_name(enum confine_layer layer)
{
	static const char *const names[CONFINE_LAYER_COUNT] = {
		"capabilities", "no new privileges", "memory", "system calls", "files",
	};

	return names[layer];
}

const char *confine_state_name(enum confine_state state)
{
	static const char *const names[CONFINE_STATE_COUNT] = {
		"unused",
		"refused",
		"recording",
		"in force",
	};

	return names[state];
}

static void settle(struct confine_condition *condition, int r, enum confine_state good)
{
	condition->state = r < 0 ? CONFINE_REFUSED : good;
	if (r < 0 && !condition->reason[0])
		error_text(r, condition->reason, sizeof(condition->reason));
}

/* In the order in which each still may do what the next one needs. */
static void confine_layers(enum confine_kind kind, const struct confine_options *options,
			   struct confine_condition *layers)
{
	int r = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : 0;

	settle(&layers[CONFINE_PRIVILEGES], r, CONFINE_IN_FORCE);
	settle(&layers[CONFINE_CAPABILITIES],
	       confine_capabilities(kind, r == 0, layers[CONFINE_CAPABILITIES].reason),
	       CONFINE_IN_FORCE);
	settle(&layers[CONFINE_MEMORY], confine_memory(), CONFINE_IN_FORCE);
	if (options->place_count > 0)
		settle(&layers[CONFINE_FILES], confine_files(options, layers[CONFINE_FILES].reason),
		       CONFINE_IN_FORCE);
	r = confine_filter(kind, options);
	if (r != -ENOENT)
		settle(&layers[CONFINE_CALLS], r,
		       options->mode == CONFINE_RECORD ? CONFINE_RECORDING : CONFINE_IN_FORCE);
}

int confine(enum confine_kind kind, const struct confine_options *options, struct confinement *ret,
	    struct error *err)
{
	enum confine_layer refused;

	memset(ret, 0, sizeof(*ret));
	if (options->mode == CONFINE_OFF)
		return 0;
	confine_layers(kind, options, ret->layers);
	refused = confinement_refused(ret);
	if (options->mode != CONFINE_REQUIRED || refused == CONFINE_LAYER_COUNT)
		return 0;
	return error_set(err, -EPERM, VARIABLE "=required, but confinement of %s is refused: %s",
			 confine_layer_name(refused), ret->layers[refused].reason);
}

int confine_role(enum confine_kind kind, const struct role *role, const char *written,
		 struct confinement *ret, struct error *err)
{
	const struct confine_place places[] = {
		{ .path = "/" },
		{ .path = role->termination_log, .is_writable = true },
		{ .path = written, .is_writable = true },
	};
	struct confine_options options = { .notice_fd = -1,
					   .termination_log = role->termination_log,
					   .places = places,
					   .place_count = written ? 3 : 0 };
	int r = confine_mode_from_environment(&options.mode, err);

	if (r < 0)
		return r;
	r = confine(kind, &options, ret, err);
	confinement_log(ret, "this process", &role->log);
	return r;
}

void confinement_log(const struct confinement *confinement, const char *who, const struct log *log)
{
	for (size_t i = 0; i < CONFINE_LAYER_COUNT; i++)
		if (confinement->layers[i].state == CONFINE_REFUSED)
			log_warn(log, "Not confined", log_string("who", who),
				 log_string("layer", confine_layer_name((enum confine_layer)i)),
				 log_string("reason", confinement->layers[i].reason));
}

enum confine_layer confinement_refused(const struct confinement *confinement)
{
	int layer = 0;

	while (layer < CONFINE_LAYER_COUNT && confinement->layers[layer].state != CONFINE_REFUSED)
		layer++;
	return (enum confine_layer)layer;
}
