/* What is in force of confinement, of the role and of its staging process (control_answer.h). */
#include "executor/base/cleanup.h"
#include "signal/control_answer.h"

#include <errno.h>

/* The role, and its child; NULL where there is nothing to tell. */
#define PROCESSES 2

static const char *collect(const struct control_model *model, size_t i,
			   const struct confinement **ret)
{
	*ret = NULL;
	if (model->confinement)
		*ret = model->confinement(model->context, i == 1);
	return i == 1 ? "stage" : model->role;
}

static struct json_object *describe(const char *process, enum confine_layer layer,
				    const struct confine_condition *condition)
{
	_cleanup_json_ struct json_object *object = json_new_object();

	if (!object || json_set_string(object, "process", process) < 0 ||
	    json_set_string(object, "layer", confine_layer_name(layer)) < 0 ||
	    json_set_string(object, "state", confine_state_name(condition->state)) < 0 ||
	    (condition->reason[0] && json_set_string(object, "reason", condition->reason) < 0))
		return NULL;
	return TAKE_PTR(object);
}

int control_set_confinement(struct json_object *object, const struct control_model *model)
{
	_cleanup_json_ struct json_object *array = json_new_array();
	int r = array ? 0 : -ENOMEM;

	for (size_t i = 0; i < PROCESSES; i++) {
		const struct confinement *confinement;
		const char *process = collect(model, i, &confinement);

		for (int l = 0; r == 0 && confinement && l < CONFINE_LAYER_COUNT; l++)
			r = json_append(array, describe(process, (enum confine_layer)l,
							&confinement->layers[l]));
	}
	return r < 0 ? r : json_set(object, "confinement", TAKE_PTR(array));
}

static int write_process(struct buffer *out, const char *process,
			 const struct confinement *confinement)
{
	int r = 0;

	for (int l = 0; l < CONFINE_LAYER_COUNT; l++)
		for (int s = 0; r == 0 && s < CONFINE_STATE_COUNT; s++)
			r = buffer_append_format(
				out,
				"argoexec_confinement{process=\"%s\",layer=\"%s\",state=\"%s\"} "
				"%d\n",
				process, confine_layer_name((enum confine_layer)l),
				confine_state_name((enum confine_state)s),
				(int)confinement->layers[l].state == s);
	return r;
}

int control_write_confinement(struct buffer *out, const struct control_model *model)
{
	int r = buffer_append_string(
		out, "# TYPE argoexec_confinement gauge\n"
		     "# HELP argoexec_confinement What each process has given up, 1 for the state "
		     "it is in.\n");

	for (size_t i = 0; i < PROCESSES; i++) {
		const struct confinement *confinement;
		const char *process = collect(model, i, &confinement);

		if (r == 0 && confinement)
			r = write_process(out, process, confinement);
	}
	return r;
}
