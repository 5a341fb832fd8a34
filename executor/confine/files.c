#include "executor/base/cleanup.h"
#include "executor/confine/layers.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Rights and scopes by the ABI that brought them; the build's headers may be older than the kernel. */
#define RIGHT_REFER (1ULL << 13) /* 2 */
#define RIGHT_TRUNCATE (1ULL << 14) /* 3 */
#define RIGHT_IOCTL_DEV (1ULL << 15) /* 5 */
#define RIGHT_CONNECT_TCP (1ULL << 1) /* 4 */
#define RULE_NET_PORT 2
#define SCOPE_ABSTRACT_UNIX_SOCKET (1ULL << 0) /* 6 */
#define SCOPE_SIGNAL (1ULL << 1)

#define RIGHTS_1 ((1ULL << 13) - 1)
#define READING (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
/* Neither devices nor executing; sockets and FIFOs are nobody's artifact. */
#define WRITING \
	(LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR | \
	 LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_DIR | \
	 LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SYM | RIGHT_REFER | RIGHT_TRUNCATE)
/* What can be allowed of one file. */
#define OF_FILES (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | RIGHT_TRUNCATE)

/* struct landlock_ruleset_attr of ABI 6. */
struct ruleset {
	uint64_t files, ports, scopes;
};

static uint64_t known_rights(int abi)
{
	uint64_t rights = RIGHTS_1;

	if (abi >= 2)
		rights |= RIGHT_REFER;
	if (abi >= 3)
		rights |= RIGHT_TRUNCATE;
	if (abi >= 5)
		rights |= RIGHT_IOCTL_DEV;
	return rights;
}

static int create(int abi, bool has_ports, struct ruleset *ruleset)
{
	/* A kernel refuses more bytes than it knows, if they are not zero. */
	size_t size = abi >= 6 ? sizeof(*ruleset) :
		      abi >= 4 ? offsetof(struct ruleset, scopes) :
				 sizeof(ruleset->files);

	*ruleset = (struct ruleset){ .files = known_rights(abi) };
	if (abi >= 4 && has_ports)
		ruleset->ports = RIGHT_CONNECT_TCP;
	if (abi >= 6)
		ruleset->scopes = SCOPE_ABSTRACT_UNIX_SOCKET | SCOPE_SIGNAL;
	return (int)syscall(SYS_landlock_create_ruleset, ruleset, size, 0);
}

/* A place that is not there needs no rule: nothing will be found there. */
static int allow(int ruleset_fd, const struct ruleset *ruleset, const struct confine_place *place)
{
	_cleanup_close_ int own_fd = place->path ? open(place->path, O_PATH | O_CLOEXEC) : -1;
	int fd = place->path ? own_fd : place->fd;
	struct landlock_path_beneath_attr rule = {
		.allowed_access = ruleset->files &
				  (place->is_writable ? READING | WRITING : READING),
		.parent_fd = fd,
	};
	struct stat st;

	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR || errno == EACCES ? 0 : -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISDIR(st.st_mode))
		rule.allowed_access &= OF_FILES;
	return syscall(SYS_landlock_add_rule, ruleset_fd, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) <
			       0 ?
		       -errno :
		       0;
}

/* struct landlock_net_port_attr of ABI 4. */
static int allow_port(int ruleset_fd, const struct ruleset *ruleset, uint16_t port)
{
	const struct {
		uint64_t allowed_access, port;
	} rule = { ruleset->ports, port };

	if (!ruleset->ports)
		return 0;
	return syscall(SYS_landlock_add_rule, ruleset_fd, RULE_NET_PORT, &rule, 0) < 0 ? -errno : 0;
}

int confine_files(const struct confine_options *options, char reason[static CONFINE_REASON_MAX])
{
	int abi =
		(int)syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	_cleanup_close_ int fd = -1;
	struct ruleset ruleset;

	if (abi < 0) {
		int saved = errno;

		snprintf(reason, CONFINE_REASON_MAX,
			 saved == ENOSYS || saved == EOPNOTSUPP ? "this kernel has no Landlock" :
								  "Landlock is not permitted");
		return -saved;
	}
	/* Every rename into another directory would be refused, and with it every artifact. */
	if (abi < 2) {
		snprintf(reason, CONFINE_REASON_MAX, "Landlock of this kernel is too old (ABI %d)",
			 abi);
		return -EOPNOTSUPP;
	}
	fd = create(abi, options->port_count > 0, &ruleset);
	if (fd < 0)
		return -errno;
	for (size_t i = 0; i < options->place_count; i++) {
		int r = allow(fd, &ruleset, &options->places[i]);

		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < options->port_count; i++) {
		int r = allow_port(fd, &ruleset, options->ports[i]);

		if (r < 0)
			return r;
	}
	return syscall(SYS_landlock_restrict_self, fd, 0) < 0 ? -errno : 0;
}
