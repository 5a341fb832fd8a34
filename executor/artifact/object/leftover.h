/* Uploads that were begun for us without our knowing, because the answer got lost, or who had
 * it has died. Their parts would
 * cost their owner money, and nobody sees them. */
#pragma once

#include "executor/artifact/object/upload.h"

/* Aborts those of a doubtful upload, other than itself: best effort. */
void object_leftover_abort(const struct object_upload *upload);
