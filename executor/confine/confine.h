/*
 * Giving up what a process does not need, before it reads the first byte of a stranger: one call, once,
 * while it has one thread. Five layers, each of which works without the others; what the kernel or the
 * container's runtime refuses is told and left out. docs/security.md says what each is for.
 *
 * Nothing here is for a process that runs a user's command: children inherit all of it.
 */
#pragma once

#include "executor/base/error.h"
#include "executor/base/log.h"
#include "executor/base/role.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum confine_kind {
	CONFINE_INIT,
	CONFINE_WAIT, /* and supervisor */
	CONFINE_GC,
	CONFINE_STAGE, /* the child of init, wait and supervisor that loads and saves */
	CONFINE_KIND_COUNT,
};

enum confine_layer {
	CONFINE_CAPABILITIES, /* only those of the table in capabilities.c are left, in every set */
	CONFINE_PRIVILEGES, /* no_new_privs: executing a file never gives any */
	CONFINE_MEMORY, /* no core files; nobody of our user reads it by ptrace(2) or /proc/<pid> */
	CONFINE_CALLS, /* only the system calls of the table in calls.c */
	CONFINE_FILES, /* Landlock: only the places that were given, nothing is executed */
	CONFINE_LAYER_COUNT,
};

enum confine_state {
	CONFINE_UNUSED, /* not for this kind of process, or switched off */
	CONFINE_REFUSED, /* by the kernel or the runtime: `reason` */
	CONFINE_RECORDING, /* CALLS: what the table lacks is allowed, and told to the kernel's log */
	CONFINE_IN_FORCE,
	CONFINE_STATE_COUNT,
};

#define CONFINE_REASON_MAX 128

/* What has become of each layer. */
struct confinement {
	struct confine_condition {
		enum confine_state state;
		char reason[CONFINE_REASON_MAX]; /* empty, except for REFUSED */
	} layers[CONFINE_LAYER_COUNT];
};

/* What ARGOEXEC_CONFINEMENT says: "" or "auto", "required" (a refused layer is an error), "record",
 * "off". */
enum confine_mode { CONFINE_AUTO, CONFINE_REQUIRED, CONFINE_RECORD, CONFINE_OFF };

/* 0, or -EINVAL with the variable named. */
int confine_mode_from_environment(enum confine_mode *ret, struct error *err);

/* May be written (files made, changed, removed) or only read, with all that is below. One that does
 * not exist is left out. */
struct confine_place {
	const char *path; /* NULL: what `fd` is, in whatever mount namespace */
	int fd;
	bool is_writable;
};

struct confine_options {
	enum confine_mode mode;
	/* CALLS: where a refused call is told, see confine_notice(). -1 = by a line on stderr, */
	int notice_fd;
	const char *termination_log; /* and in this file, NULL = no; borrowed for good */
	/* FILES; without any the layer is unused. */
	const struct confine_place *places;
	size_t place_count;
	/* FILES, too: the TCP ports that may be connected to, where the kernel can (Landlock since ABI 4);
	 * without any, all. */
	const uint16_t *ports;
	size_t port_count;
};

/* Gives up everything that `kind` does not need. 0; or, if it is required, -EPERM with the first layer
 * that was refused. *ret is filled in either case. */
int confine(enum confine_kind kind, const struct confine_options *options, struct confinement *ret,
	    struct error *err);

/* The same for a role, as the environment says, with a line of its log for each layer that was refused.
 * FILES: with a directory that it writes (NULL: the layer is unused) it reads everything, and writes
 * there and its termination message. */
int confine_role(enum confine_kind kind, const struct role *role, const char *written,
		 struct confinement *ret, struct error *err);

/* Those lines: level warn, `who` has no such layer. */
void confinement_log(const struct confinement *confinement, const char *who, const struct log *log);

/* The first layer that was refused, CONFINE_LAYER_COUNT if none was. */
enum confine_layer confinement_refused(const struct confinement *confinement);

/* "capabilities", "no new privileges", "memory", "system calls", "files"; static storage. */
const char *confine_layer_name(enum confine_layer layer);
/* "unused", "refused", "recording", "in force"; static storage. */
const char *confine_state_name(enum confine_state state);

/* --- calls that were refused --------------------------------------------------------------- */

/* A process that makes a system call beyond its table ends at once, with this exit status, after a
 * word to notice_fd. */
#define CONFINE_EXIT_STATUS 159 /* 128 + SIGSYS */

/* At the other end of the pipe, when the process has ended: true if it left a word there, then `name`
 * is the call's ("ptrace"; "number 999" if it has none). Never blocks if the pipe does not. */
#define CONFINE_CALL_NAME_MAX 64
bool confine_notice(int fd, char name[static CONFINE_CALL_NAME_MAX]);
