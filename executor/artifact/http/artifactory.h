/* The store for files of JFrog Artifactory, a URL with user and password: docs/stores/artifactory.md. */
#pragma once

#include "executor/artifact/store.h"

extern const struct store_operations artifactory_store_operations;
