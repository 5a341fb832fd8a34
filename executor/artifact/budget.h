/*
 * What all transfers of a process may have at a time: connections, and memory for data on its way.
 * Who needs some makes a claim, which is granted at once or when others have given back. Nobody is
 * refused, and nobody waits behind one artifact's many requests: the owner that holds the least is
 * served first, among equals the one that has waited longest.
 *
 * What waits holds nothing that the one it waits for could need: whoever needs both connection and
 * memory claims them together, or memory first. Ranges that are to be read in order are claimed in
 * that order.
 */
#pragma once

#include "executor/event/loop.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#define BUDGET_CONNECTIONS 16
/* Leaves room for the rest of a process that shall need no more than 48 MB. */
#define BUDGET_BYTES ((uint64_t)24 * 1024 * 1024)
/* Two of the smallest parts of an upload: one is filled while the other is sent. */
#define BUDGET_BYTES_MIN ((uint64_t)10 * 1024 * 1024)

struct transfer_budget;

/* `bytes` as from budget_bytes(). NULL = no memory. */
struct transfer_budget *budget_new(unsigned connections, uint64_t bytes);
/* No claim may be left. */
void budget_free(struct transfer_budget *budget);
static inline void budget_freep(struct transfer_budget **budget)
{
	budget_free(*budget);
}

/* BUDGET_BYTES, or less under a small memory limit of the process's control groups (version 1 or 2;
 * Linux, Documentation/admin-guide/cgroup-v2.rst): a quarter of it and 2 MiB, but BUDGET_BYTES_MIN at
 * least, which fits into 32 MiB. `root` is "/". */
uint64_t budget_bytes(const char *root);

/* The most that can be claimed; UINT64_MAX without a budget. */
uint64_t budget_bytes_max(const struct transfer_budget *budget);

/* Embedded by who makes it. Zeroed memory is no claim. */
struct transfer_claim {
	struct transfer_budget *budget; /* NULL = none is made */
	TAILQ_ENTRY(transfer_claim) link;
	const void *owner;
	unsigned connections;
	uint64_t bytes;
	bool is_granted;
	/* From inside whichever call gave back what was needed: takes note, and acts later. NULL =
	 * is_granted is waited for. */
	void (*on_granted)(struct transfer_claim *claim);
};

/* Makes a claim; `owner` is compared only. Claims for more bytes than there are wait until nobody
 * has any. is_granted may be true on return (without on_granted). Without a budget it always is. */
void budget_claim(struct transfer_claim *claim, struct transfer_budget *budget, const void *owner,
		  unsigned connections, uint64_t bytes);
/* The same, and waits: 0, or -ECANCELED with the claim withdrawn. */
int budget_wait(struct transfer_claim *claim, struct transfer_budget *budget, const void *owner,
		unsigned connections, uint64_t bytes, struct event_loop *loop, struct error *err);
/* A granted claim goes on as another one, which holds nothing; on_granted is not called. */
void budget_move(struct transfer_claim *to, struct transfer_claim *from);
/* Gives it back, or withdraws it. Harmless for what is no claim. */
void budget_return(struct transfer_claim *claim);
