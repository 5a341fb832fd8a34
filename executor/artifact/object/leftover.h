/* Uploads that were begun for us without our knowing, because the answer got lost, or who had
 * it has died. Their parts would
 * cost their owner money, and nobody sees them. */
#pragma once

#include "executor/artifact/object/upload.h"

/* What the server's clock and ours may differ by, unnoticed, when an upload is begun. */
#define OBJECT_CLOCK_DOUBT_S 5

/* Aborts those of a doubtful upload, other than itself: best effort. */
void object_leftover_abort(const struct object_upload *upload);

/* Aborts all that were begun of the client's key (and of what lies below it) since the time that its
 * context says (lost_from_s). */
int object_leftover_sweep(struct object_client *client, bool is_below_too, struct error *err);
