/* A row of the table of system calls, inside the room. libseccomp's header is here, in filter.c
 * and in refusal.c only. */
#pragma once

#include "executor/confine/layers.h"

#include <seccomp.h>

/* Its place in the table says what it is for. A call with several rows may be made as any of them
 * says; a row's comparisons all have to hold. */
struct confine_call {
	int number;
	/* 0 = allowed; else the errno that it fails with, or CONFINE_CALL_KILLS. */
	int failure;
	unsigned argument_count;
	struct scmp_arg_cmp arguments[2];
};

/* Ends the process on the spot, signal handlers or not. */
#define CONFINE_CALL_KILLS (-1)
