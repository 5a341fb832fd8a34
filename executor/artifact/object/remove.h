/* Removing objects. */
#pragma once

#include "executor/artifact/object/client.h"

/* Removes the object, or if there is none what lies below "<clean key>/", markers too. A key that ends in a
 * slash is such a prefix already. Success if there is neither. Whoever may not look is asked to remove the
 * object alone, as Argo does. */
int object_remove(struct object_client *client, const char *key, struct error *err);
