/*
 * Artifact plugins (Argo 4.0): somebody's program in a container of the pod, that answers gRPC on
 * /tmp/artifact-plugins/<name>/socket and moves files between a store of its own and the volumes
 * that it shares with us. The messages are those of Argo's package `artifact` (artifact.proto).
 */
#pragma once

#include "executor/artifact/store.h"

#define PLUGIN_SOCKETS "/tmp/artifact-plugins"

extern const struct store_operations plugin_store_operations;
