/* The store for files behind any URL: fields and credentials are in docs/stores/http.md. */
#pragma once

#include "executor/artifact/store.h"

extern const struct store_operations http_store_operations;
