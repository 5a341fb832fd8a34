#include "executor/confine/layers.h"

#include <errno.h>
#include <stdio.h>
#include <sys/capability.h>
#include <sys/prctl.h>

#define BIT(kind) (1U << CONFINE_##kind)
#define IN_PODS (BIT(INIT) | BIT(WAIT))

/* Which capability which process uses, and why. What is not here goes. */
static const struct {
	cap_value_t capability;
	unsigned kinds;
} table[] = {
	/* Files of the pod's other users, in volumes and in /var/run/argo; artifact GC has keys that
	 * were mounted for another user. */
	{ CAP_DAC_OVERRIDE, IN_PODS | BIT(STAGE) | BIT(GC) },
	/* What another user has made is replaced, or gets the mode that the artifact asks for. */
	{ CAP_FOWNER, IN_PODS | BIT(STAGE) },
	/* A mode with the setgid bit, where the file's group is not ours. */
	{ CAP_FSETID, BIT(STAGE) },
	/* What a wrapper hands over is walked as its sender (base/identity.h). */
	{ CAP_SETUID, BIT(WAIT) | BIT(STAGE) },
	{ CAP_SETGID, BIT(WAIT) | BIT(STAGE) },
	/* A control port below 1024. */
	{ CAP_NET_BIND_SERVICE, BIT(WAIT) },
};
#define TABLE_COUNT (sizeof(table) / sizeof(table[0]))

/* Under no_new_privs the staging process has nothing that its role does not have. */
static bool is_lent(unsigned kinds, enum confine_kind kind)
{
	return kinds & BIT(STAGE) && IN_PODS & 1U << kind;
}

/* Used: effective and permitted. Lent: permitted. Never more than there is. */
static int lower(enum confine_kind kind, cap_t now)
{
	cap_t wanted = cap_init();
	int r = wanted ? 0 : -ENOMEM;

	for (size_t i = 0; r == 0 && i < TABLE_COUNT; i++) {
		bool is_used = table[i].kinds & 1U << kind;
		cap_flag_value_t has = CAP_CLEAR;

		if ((!is_used && !is_lent(table[i].kinds, kind)) ||
		    cap_get_flag(now, table[i].capability, CAP_PERMITTED, &has) < 0 ||
		    has == CAP_CLEAR)
			continue;
		if (cap_set_flag(wanted, CAP_PERMITTED, 1, &table[i].capability, CAP_SET) < 0)
			r = -errno;
		if (cap_get_flag(now, table[i].capability, CAP_EFFECTIVE, &has) < 0 ||
		    has == CAP_CLEAR || !is_used)
			continue;
		if (cap_set_flag(wanted, CAP_EFFECTIVE, 1, &table[i].capability, CAP_SET) < 0)
			r = -errno;
	}
	if (r == 0 && cap_set_proc(wanted) < 0)
		r = -errno;
	cap_free(wanted);
	return r;
}

static bool is_kept(enum confine_kind kind, cap_value_t capability)
{
	for (size_t i = 0; i < TABLE_COUNT; i++)
		if (table[i].capability == capability)
			return table[i].kinds & 1U << kind || is_lent(table[i].kinds, kind);
	return false;
}

/* Needs CAP_SETPCAP. */
static int lower_bounding_set(enum confine_kind kind)
{
	/* Beyond the last one that the kernel knows, prctl(2) says -EINVAL. */
	for (cap_value_t i = 0; cap_get_bound(i) >= 0; i++)
		if (cap_get_bound(i) > 0 && !is_kept(kind, i) && cap_drop_bound(i) < 0)
			return -errno;
	return 0;
}

int confine_capabilities(enum confine_kind kind, bool has_no_new_privileges,
			 char reason[static CONFINE_REASON_MAX])
{
	cap_t now = cap_get_proc();
	int r, bounding;

	if (!now)
		return -errno;
	bounding = lower_bounding_set(kind);
	/* A kernel without an ambient set has nothing in it. */
	if (cap_reset_ambient() < 0 && errno != EINVAL)
		bounding = -errno;
	r = lower(kind, now);
	cap_free(now);
	if (r < 0 || bounding == 0 || has_no_new_privileges)
		return r;
	snprintf(reason, CONFINE_REASON_MAX, "the bounding set cannot be lowered");
	return bounding;
}
