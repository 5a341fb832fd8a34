#include "executor/base/identity.h"

#include <errno.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What reads regardless of permissions. */
#define DAC_MASK (1u << CAP_DAC_OVERRIDE | 1u << CAP_DAC_READ_SEARCH)

/* The C library has no wrapper for one thread's capabilities, and its setgroups() changes those of
 * all threads. */
struct capabilities {
	struct __user_cap_header_struct header;
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
};

static int get_capabilities(struct capabilities *ret)
{
	ret->header = (struct __user_cap_header_struct){ .version = _LINUX_CAPABILITY_VERSION_3 };
	return syscall(SYS_capget, &ret->header, ret->data) < 0 ? -errno : 0;
}

static int set_effective(uint32_t effective)
{
	struct capabilities all;
	int r = get_capabilities(&all);

	if (r < 0)
		return r;
	all.data[0].effective = effective;
	return syscall(SYS_capset, &all.header, all.data) < 0 ? -errno : 0;
}

static int set_groups(const gid_t *groups, size_t count)
{
	return syscall(SYS_setgroups, count, groups) < 0 ? -errno : 0;
}

/* Neither call says whether it worked; asking for the impossible tells what is. */
static int set_user(uid_t uid)
{
	setfsuid(uid);
	return (uid_t)setfsuid((uid_t)-1) == uid ? 0 : -EPERM;
}

static int set_group(gid_t gid)
{
	setfsgid(gid);
	return (gid_t)setfsgid((gid_t)-1) == gid ? 0 : -EPERM;
}

static bool has_group(const struct identity *identity, gid_t gid)
{
	for (size_t i = 0; i < identity->group_count; i++)
		if (identity->groups[i] == gid)
			return true;
	return identity->gid == gid;
}

/* True if ours are no more than its. */
static bool covers_own_groups(const struct identity *identity)
{
	for (size_t i = 0; i < identity->own_group_count; i++)
		if (!has_group(identity, identity->own_groups[i]))
			return false;
	return true;
}

static bool own_has_group(const struct identity *identity, gid_t gid)
{
	for (size_t i = 0; i < identity->own_group_count; i++)
		if (identity->own_groups[i] == gid)
			return true;
	return false;
}

static bool has_same_groups(const struct identity *identity)
{
	for (size_t i = 0; i < identity->group_count; i++)
		if (!own_has_group(identity, identity->groups[i]))
			return false;
	return covers_own_groups(identity);
}

static void load_own(struct identity *identity)
{
	struct capabilities all = { .data = { { 0 } } };
	int count = getgroups(IDENTITY_GROUPS_MAX, identity->own_groups);

	identity->own_uid = (uid_t)setfsuid((uid_t)-1);
	identity->own_gid = (gid_t)setfsgid((gid_t)-1);
	identity->own_group_count = count > 0 ? (size_t)count : 0;
	/* More of them than are kept cannot be given back. */
	identity->is_anybody = count < 0;
	if (get_capabilities(&all) == 0)
		identity->own_effective = all.data[0].effective;
	identity->changes_capabilities = identity->own_effective & DAC_MASK;
}

static bool has_capability(const struct identity *identity, int capability)
{
	return identity->own_effective & 1u << capability;
}

void identity_init(struct identity *identity, uid_t uid, gid_t gid, const gid_t *groups,
		   size_t group_count)
{
	bool can_group, can_user;

	*identity = (struct identity){ .uid = uid, .gid = gid };
	if (group_count > IDENTITY_GROUPS_MAX)
		group_count = IDENTITY_GROUPS_MAX;
	if (group_count > 0)
		memcpy(identity->groups, groups, group_count * sizeof(*groups));
	identity->group_count = group_count;
	load_own(identity);
	can_group = has_capability(identity, CAP_SETGID);
	can_user = has_capability(identity, CAP_SETUID);
	identity->changes_user = uid != identity->own_uid;
	identity->changes_group = gid != identity->own_gid;
	identity->changes_groups = !has_same_groups(identity);
	/* Fewer groups than the peer has only take something away from us. */
	if (!can_group && covers_own_groups(identity) && has_group(identity, identity->own_gid))
		identity->changes_group = identity->changes_groups = false;
	if ((identity->changes_user && !can_user) ||
	    ((identity->changes_group || identity->changes_groups) && !can_group))
		identity->is_anybody = true;
	/* The capabilities are there; a filter or a user namespace without that user may say no. */
	if (!identity->is_anybody && identity_enter(identity) < 0)
		identity->is_anybody = true;
	else
		identity_leave(identity);
	if (identity->is_anybody)
		identity->changes_user = identity->changes_group = identity->changes_groups = false;
}

int identity_enter(const struct identity *identity)
{
	int r = 0;

	if (!identity)
		return 0;
	if (identity->changes_groups)
		r = set_groups(identity->groups, identity->group_count);
	if (r == 0 && identity->changes_group)
		r = set_group(identity->gid);
	if (r == 0 && identity->changes_capabilities)
		r = set_effective(identity->own_effective & ~DAC_MASK);
	/* Last: it takes the capabilities of files away by itself where root becomes another user. */
	if (r == 0 && identity->changes_user)
		r = set_user(identity->uid);
	if (r < 0)
		identity_leave(identity);
	return r < 0 ? -EPERM : 0;
}

void identity_leave(const struct identity *identity)
{
	int saved = errno;

	if (!identity)
		return;
	if (identity->changes_user)
		setfsuid(identity->own_uid);
	if (identity->changes_group)
		setfsgid(identity->own_gid);
	if (identity->changes_groups)
		set_groups(identity->own_groups, identity->own_group_count);
	if (identity->changes_capabilities || identity->changes_user)
		set_effective(identity->own_effective);
	errno = saved;
}

bool identity_may_read(const struct identity *identity, const struct stat *st)
{
	mode_t needed = S_ISDIR(st->st_mode) ? S_IROTH | S_IXOTH : S_IROTH;

	return !identity || !identity->is_anybody || (st->st_mode & needed) == needed;
}
