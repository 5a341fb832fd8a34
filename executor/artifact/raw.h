/* The literal in the template itself: read only, one object, no directories. */
#pragma once

#include "executor/artifact/store.h"

extern const struct store_operations raw_store_operations;
