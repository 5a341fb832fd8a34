/* Where a later attempt of this step would store over what this one has stored. */
#pragma once

#include "executor/base/log.h"
#include "executor/template/environment.h"
#include "executor/template/template.h"

/* Warns, once, of the output artifacts whose key neither names this pod nor this node: a retry gets
 * both anew, but the user has fixed the key. */
void keys_warn(const struct template *template, const struct environment *environment,
	       const struct log *log);
