/* A failure in the words of Alibaba Cloud's OSS SDK for Go, for TRANSIENT_ERROR_PATTERN. */
#pragma once

#include "executor/artifact/object/client.h"

void oss_put_as_go(const struct http_response *response, const struct object_failure *failure,
		   struct retry *retry);
