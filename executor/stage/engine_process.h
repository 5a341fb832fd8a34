/*
 * The staging process as a process. It is this very program, executed anew (`argoexec stage`), so it
 * has nothing of its role's memory, whenever it is started: not what the role has read, no threads, no
 * state of TLS. Of descriptors it has three: the orders are its standard input, the questions for files
 * with credentials its standard output, both SOCK_SEQPACKET, and the log its standard error.
 *
 * It leads a process group of its own and keeps every signal blocked, so a signal for the role is the
 * role's alone. It dies with its role: the kernel kills it (PR_SET_PDEATHSIG), and it ends when the
 * other end of its orders is closed.
 *
 * A system call beyond its table (executor/confine) ends it, too; which one it was comes by a pipe, whose
 * writing end it gets with its first message.
 */
#pragma once

#include "executor/base/error.h"

#include <sys/types.h>

/* Its name in ps and /proc/<pid>/comm. */
#define ENGINE_PROCESS_NAME "argoexec-stage"
/* The word of the command line that makes it one; not for people. */
#define ENGINE_PROCESS_COMMAND "stage"

#define ENGINE_PROCESS_DEATH_MAX 256

struct engine_process {
	pid_t pid; /* 0 = there is none */
	int orders_fd, asks_fd; /* open while there is one */
	int notices_fd, its_notices_fd; /* a pipe; its end is open until it has been passed on */
};

/* 0 or a negative errno with err filled; then there is none. */
int engine_process_start(struct engine_process *process, struct error *err);

/* With the first message, which hands over its_notices_fd. */
void engine_process_has_notices(struct engine_process *process);

/* Longest wait for its end once it was killed; microseconds, unless it waits for a disk. */
#define ENGINE_PROCESS_END_MS 1000

/* Makes it end, if it has not ended, and collects it: no zombie is left, unless a disk keeps it from
 * ending, which it then does when the disk has answered, without another deed. *death (may be NULL) says how
 * it ended: "was killed by signal 9", "ended with exit status 1", "was stopped at
 * the system call ptrace". Harmless if there is none. */
void engine_process_end(struct engine_process *process, char death[ENGINE_PROCESS_DEATH_MAX]);

/* For the child, first thing. */
void engine_process_begin(void);
