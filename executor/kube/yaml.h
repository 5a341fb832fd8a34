/*
 * Reads a kubeconfig's YAML into JSON values, by way of libyaml, whose header is included nowhere
 * else. Mappings, sequences and scalars of the first document are taken; every scalar becomes a
 * string, except plain true/false and null, because a kubeconfig has no numbers (a token may look
 * like one). Anchors, aliases and merge keys are refused: kubeconfigs are written by programs that
 * do not use them, and expanding them is what YAML bombs are made of.
 */
#pragma once

#include "executor/base/error.h"
#include "executor/json/json.h"

#include <stddef.h>

/* Values in one document; a kubeconfig of a hundred clusters has some 2,000. */
#define YAML_VALUES_MAX 100000

/* `what` names the document in messages: "<what>:<line>: <reason>". An empty document is NULL.
 * The depth is limited to JSON_DEPTH_MAX. */
int yaml_parse(const char *text, size_t size, const char *what, struct json_object **ret,
	       struct error *err);
