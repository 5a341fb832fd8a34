/* Alibaba Cloud Object Storage Service: docs/stores/oss.md. */
#pragma once

#include "executor/artifact/store.h"

extern const struct store_operations oss_store_operations;
