/* The requests of an engine, in their order: which of them has its turn, which has had its chances. */
#pragma once

#include "executor/stage/engine.h"

/* At the end; of an earlier life of it nothing is left. */
void engine_requests_add(struct engine *engine, struct engine_request *request);
void engine_requests_remove(struct engine *engine, const struct engine_request *request);

/* The first one that was not sent; NULL = none. *ret_sent is how many were. */
struct engine_request *engine_requests_next(const struct engine *engine, size_t *ret_sent);
/* The first load that was not sent, or with want_sent any. */
struct engine_request *engine_requests_load(const struct engine *engine, bool want_sent);
/* The first one that has seen too many deaths. */
struct engine_request *engine_requests_doomed(const struct engine *engine);

/* Children that died over it may have begun uploads that nobody will complete. If the store could not be
 * reached, it cannot now. */
bool engine_requests_may_have_left(const struct engine_request *request);
