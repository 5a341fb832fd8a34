/*
 * Removing what artifacts have left, one or thousands of them.
 *
 * What is to be removed is looked at first: the object, or if there is none what lies below "<clean key>/",
 * markers too; a key that ends in a slash is such a prefix already. Of many keys most are found by listing
 * what they have in common, a thousand with one request. Whoever may not look is asked to remove the object
 * alone, as Argo does.
 */
#pragma once

#include "executor/artifact/object/client.h"

/* As many keys are worked on at a time. */
#define OBJECT_REMOVE_WIDTH 16

/* Of so many keys and more, a listing is worth its requests. */
#define OBJECT_REMOVE_SURVEY_MIN 16

/* As store_operations.remove_all. A store that answers nobody any more, for as long as requests are
 * retried, is asked for nothing else: the rest fails at once. */
int object_remove_all(struct object_client *client, const struct store_removal *removal,
		      struct error *err);

/* One key. Success if there is nothing. */
int object_remove(struct object_client *client, const char *key, struct error *err);
