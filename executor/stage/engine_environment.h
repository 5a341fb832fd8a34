/* The part of our environment that the staging process is given: what its stores, its proxies and its
 * libraries read. Anything else that an operator has put there is none of its business. */
#pragma once

#include <stdbool.h>

/* Of one variable, "NAME=value". */
bool engine_environment_has(const char *variable);

/* For execve(2): the caller frees the array, not its strings. NULL without memory. */
char **engine_environment(void);
