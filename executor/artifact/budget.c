#include "executor/artifact/budget.h"

#include "executor/base/cleanup.h"
#include "executor/base/fd.h"
#include "executor/base/path.h"
#include "executor/base/text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

TAILQ_HEAD(claim_list, transfer_claim);

struct transfer_budget {
	unsigned connections, connections_used;
	uint64_t bytes, bytes_used;
	struct claim_list waiting, granted; /* the first has waited longest */
};

struct transfer_budget *budget_new(unsigned connections, uint64_t bytes)
{
	struct transfer_budget *budget = calloc(1, sizeof(*budget));

	if (!budget)
		return NULL;
	budget->connections = connections;
	budget->bytes = bytes;
	TAILQ_INIT(&budget->waiting);
	TAILQ_INIT(&budget->granted);
	return budget;
}

void budget_free(struct transfer_budget *budget)
{
	free(budget);
}

uint64_t budget_bytes_max(const struct transfer_budget *budget)
{
	return budget ? budget->bytes : UINT64_MAX;
}

/* --- whose turn it is ------------------------------------------------------------------- */

static unsigned held_by(const struct transfer_budget *budget, const void *owner)
{
	const struct transfer_claim *claim;
	unsigned count = 0;

	TAILQ_FOREACH(claim, &budget->granted, link)
	count += claim->owner == owner;
	return count;
}

/* What wants connections, or bytes, where there are none left is passed over, but not overtaken by
 * others that want the same. */
static struct transfer_claim *find_next(struct transfer_budget *budget, bool with_connections,
					bool with_bytes)
{
	struct transfer_claim *claim, *next = NULL;
	unsigned least = 0;

	TAILQ_FOREACH(claim, &budget->waiting, link)
	{
		unsigned held;

		if ((claim->connections > 0 && !with_connections) ||
		    (claim->bytes > 0 && !with_bytes))
			continue;
		held = held_by(budget, claim->owner);
		if (!next || held < least) {
			next = claim;
			least = held;
		}
	}
	return next;
}

static void grant(struct transfer_budget *budget, struct transfer_claim *claim)
{
	TAILQ_REMOVE(&budget->waiting, claim, link);
	TAILQ_INSERT_TAIL(&budget->granted, claim, link);
	budget->connections_used += claim->connections;
	budget->bytes_used += claim->bytes;
	claim->is_granted = true;
}

static bool has_bytes(const struct transfer_budget *budget, uint64_t bytes)
{
	return bytes == 0 || budget->bytes_used == 0 ||
	       (budget->bytes_used < budget->bytes && bytes <= budget->bytes - budget->bytes_used);
}

/* `quiet` is being made: who makes it sees for himself. */
static void grant_all(struct transfer_budget *budget, const struct transfer_claim *quiet)
{
	bool with_connections = true, with_bytes = true;
	struct transfer_claim *claim;

	while ((claim = find_next(budget, with_connections, with_bytes))) {
		if (claim->connections > 0 &&
		    budget->connections_used + claim->connections > budget->connections) {
			with_connections = false;
		} else if (!has_bytes(budget, claim->bytes)) {
			with_bytes = false;
		} else {
			grant(budget, claim);
			if (claim != quiet && claim->on_granted)
				claim->on_granted(claim);
		}
	}
}

/* --- claims ----------------------------------------------------------------------------- */

void budget_claim(struct transfer_claim *claim, struct transfer_budget *budget, const void *owner,
		  unsigned connections, uint64_t bytes)
{
	claim->budget = budget;
	claim->owner = owner;
	claim->connections = connections;
	claim->bytes = bytes;
	claim->is_granted = !budget;
	if (!budget)
		return;
	TAILQ_INSERT_TAIL(&budget->waiting, claim, link);
	grant_all(budget, claim);
}

int budget_wait(struct transfer_claim *claim, struct transfer_budget *budget, const void *owner,
		unsigned connections, uint64_t bytes, struct event_loop *loop, struct error *err)
{
	int r;

	claim->on_granted = NULL;
	budget_claim(claim, budget, owner, connections, bytes);
	if (claim->is_granted)
		return 0;
	r = event_loop_wait(loop, &claim->is_granted);
	if (r == 0)
		return 0;
	budget_return(claim);
	return r == -ECANCELED ? event_loop_cancelled_error(err) :
				 error_errno(err, r, "wait for a transfer's turn");
}

void budget_move(struct transfer_claim *to, struct transfer_claim *from)
{
	struct transfer_budget *budget = TAKE_PTR(from->budget);

	to->budget = budget;
	to->owner = from->owner;
	to->connections = from->connections;
	to->bytes = from->bytes;
	to->is_granted = from->is_granted;
	from->is_granted = false;
	if (!budget)
		return;
	TAILQ_REMOVE(&budget->granted, from, link);
	TAILQ_INSERT_TAIL(&budget->granted, to, link);
}

void budget_return(struct transfer_claim *claim)
{
	struct transfer_budget *budget = TAKE_PTR(claim->budget);

	if (!budget)
		return;
	if (claim->is_granted) {
		TAILQ_REMOVE(&budget->granted, claim, link);
		budget->connections_used -= claim->connections;
		budget->bytes_used -= claim->bytes;
	} else {
		TAILQ_REMOVE(&budget->waiting, claim, link);
	}
	claim->is_granted = false;
	grant_all(budget, NULL);
}

/* --- the limit of memory ---------------------------------------------------------------- */

#define CGROUP_FILE_BYTES_MAX (64 * 1024)

/* *limit becomes what the file says, if that is a smaller number. */
static void lower(uint64_t *limit, const char *path)
{
	_cleanup_buffer_ struct buffer text = BUFFER_INIT(CGROUP_FILE_BYTES_MAX);
	int64_t number;

	if (file_read(path, &text, NULL) < 0 || text.size == 0)
		return;
	text.data[strcspn(text.data, "\n")] = '\0';
	/* "max" is no number. */
	if (text_parse_int64(text.data, &number) == 0 && number >= 0 && (uint64_t)number < *limit)
		*limit = (uint64_t)number;
}

/* A group's limit and those of the groups it is in; a container may see less of the way to it than
 * its /proc tells. */
static void lower_all_the_way(uint64_t *limit, const char *mount, char *group, const char *file)
{
	char path[PATH_MAX_BYTES];

	for (;;) {
		char *slash = strrchr(group, '/');

		if ((size_t)snprintf(path, sizeof(path), "%s%s/%s", mount, group, file) <
		    sizeof(path))
			lower(limit, path);
		if (!slash)
			return;
		*slash = '\0';
	}
}

static uint64_t memory_limit(const char *root)
{
	_cleanup_buffer_ struct buffer text = BUFFER_INIT(CGROUP_FILE_BYTES_MAX);
	char path[PATH_MAX_BYTES], mount[PATH_MAX_BYTES];
	uint64_t limit = UINT64_MAX;
	char *line, *rest;

	snprintf(path, sizeof(path), "%sproc/self/cgroup", root);
	if (file_read(path, &text, NULL) < 0 || text.size == 0)
		return limit;
	/* "0::/path" is version 2, "5:memory:/path" is version 1. */
	for (line = strtok_r(text.data, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		char *names = strchr(line, ':'), *group = names ? strchr(names + 1, ':') : NULL;

		if (!group)
			continue;
		*group++ = '\0';
		if (names[1] == '\0') {
			snprintf(mount, sizeof(mount), "%ssys/fs/cgroup", root);
			lower_all_the_way(&limit, mount, group, "memory.max");
		} else if (strcmp(names + 1, "memory") == 0) {
			snprintf(mount, sizeof(mount), "%ssys/fs/cgroup/memory", root);
			lower_all_the_way(&limit, mount, group, "memory.limit_in_bytes");
		}
	}
	return limit;
}

uint64_t budget_bytes(const char *root)
{
	uint64_t limit = memory_limit(root);
	uint64_t bytes = limit / 4 + (uint64_t)2 * 1024 * 1024;

	if (bytes > BUDGET_BYTES)
		return BUDGET_BYTES;
	return bytes < BUDGET_BYTES_MIN ? BUDGET_BYTES_MIN : bytes;
}
