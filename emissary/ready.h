/* A pod without init container: the wrapper waits for the supervisor's word before it goes on. */
#pragma once

#include "executor/event/loop.h"

#include <stdint.h>

/* A supervisor that has not shown itself for so long is taken for dead (Argo 4.1). */
#define READY_SILENCE_MS 30000

/* 0 when <root>/status says READY. Errors: the reason that it gives with FAILED, "supervisor
 * presumed dead: …" after READY_SILENCE_MS of silence, -ECANCELED. */
int ready_await(struct event_loop *loop, const char *root, struct error *err);

enum ready_verdict { READY_WAIT, READY_GO, READY_FAILED, READY_DEAD };

/* The judgement of one look: `text` is the file's content (NULL = there is no file), age_ms how
 * long ago it was written, or how long we have been waiting if there is none. */
enum ready_verdict ready_judge(const char *text, int64_t age_ms);
