/* A failure in the words of minio-go 7, for TRANSIENT_ERROR_PATTERN. */
#pragma once

#include "executor/artifact/object/client.h"

void s3_put_as_go(const struct http_response *response, const struct object_failure *failure,
		  struct retry *retry);
