/* Amazon S3 and whatever speaks its protocol: docs/stores/s3.md. */
#pragma once

#include "executor/artifact/store.h"

extern const struct store_operations s3_store_operations;
