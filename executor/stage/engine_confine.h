/* What the staging process gives up, and how its role hears of it. */
#pragma once

#include "executor/confine/confine.h"
#include "executor/json/json.h"
#include "executor/stage/engine_places.h"
#include "executor/stage/engine_process.h"
#include "executor/stage/engine_setup.h"
#include "executor/stage/stage.h"

/* In the child, when it knows its places and before anything else; `handed` is among them. notice_fd:
 * see confine.h. 0; or a negative errno with err filled, if confinement is required. *ret is filled in
 * either case. */
int engine_confine(const struct stage *stage, const struct engine_limits *limits,
		   const struct engine_places *handed, int notice_fd, struct confinement *ret,
		   struct error *err);

/* In the role: keeps what a child has said, and logs it once: one that replaces another has the same. */
void engine_confined_note(struct engine *engine, const struct confinement *confinement);

/* In the role, of a child that has ended: if confinement is required and was refused, it ended for that,
 * and *death says so; else *death stays. */
void engine_confined_explain(const struct confinement *confinement,
			     char death[ENGINE_PROCESS_DEATH_MAX]);

/* What has become of each layer as part of a message, and back: 0, -ENOMEM or -EPROTO. */
int engine_confined_print(struct json_object *message, const struct confinement *confinement);
int engine_confined_read(struct json_object *message, struct confinement *ret);
