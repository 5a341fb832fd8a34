#include "executor/base/cleanup.h"
#include "executor/confine/calls.h"

#include <errno.h>
#include <unistd.h>

static void release(scmp_filter_ctx *filter)
{
	if (*filter)
		seccomp_release(*filter);
}

static uint32_t action_of(const struct confine_call *call, bool is_recording)
{
	if (call->failure == CONFINE_CALL_KILLS)
		return is_recording ? SCMP_ACT_LOG : SCMP_ACT_KILL_PROCESS;
	return call->failure ? SCMP_ACT_ERRNO((uint32_t)call->failure) : SCMP_ACT_ALLOW;
}

static int add(scmp_filter_ctx filter, const struct confine_call *call, bool is_recording)
{
	uint32_t action = action_of(call, is_recording);

	/* What is done anyway need not be said, and may not be. */
	if (is_recording && action == SCMP_ACT_LOG)
		return 0;
	/* One that this architecture does not have (open on arm64) is left out by libseccomp. */
	return seccomp_rule_add_array(filter, action, call->number, call->argument_count,
				      call->arguments);
}

int confine_filter(enum confine_kind kind, const struct confine_options *options)
{
	_cleanup_(release) scmp_filter_ctx filter = NULL;
	const struct confine_call *call = confine_calls(kind, 0);
	bool is_recording = options->mode == CONFINE_RECORD;
	int r = 0;

	if (!call)
		return -ENOENT;
	filter = seccomp_init(is_recording ? SCMP_ACT_LOG : SCMP_ACT_TRAP);
	if (!filter)
		return -ENOMEM;
	/* Whose calls have another numbering is no program of ours. */
	r = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	/* no_new_privs is a layer of its own: who has CAP_SYS_ADMIN needs none for this. */
	if (r == 0)
		r = seccomp_attr_set(filter, SCMP_FLTATR_CTL_NNP, 0);
	/* The errno of seccomp(2), not one for all. */
	if (r == 0)
		r = seccomp_attr_set(filter, SCMP_FLTATR_API_SYSRAWRC, 1);
	/* A tree instead of a list: the way to any call is short. */
	if (r == 0)
		r = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	for (size_t i = 1; r == 0 && call; i++) {
		r = add(filter, call, is_recording);
		call = confine_calls(kind, i);
	}
	/* abort(3) says how it ends. */
	if (r == 0 && !confine_is_parent(kind))
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
				     SCMP_A0_32(SCMP_CMP_EQ, (uint32_t)getpid()));
	if (r == 0)
		r = confine_refusals(options);
	return r < 0 ? r : seccomp_load(filter);
}
