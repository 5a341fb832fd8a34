/* The messages of Argo's artifact.proto, as far as they are sent and read here. */
#pragma once

#include "executor/base/buffer.h"
#include "executor/base/error.h"
#include "executor/json/json.h"

/* LoadArtifactRequest and SaveArtifactRequest: `artifact` (an artifact of a template) and `path`.
 * 0 or the buffer's error. */
int message_load_request(struct json_object *artifact, const char *path, struct buffer *out);
int message_save_request(struct json_object *artifact, const char *path, struct buffer *out);

/* DeleteArtifactRequest, which has no path. */
int message_delete_request(struct json_object *artifact, const char *path, struct buffer *out);

/* The responses to all of these. 0 if it says success, -EREMOTEIO with the text that
 * it holds if not, -EBADMSG if it is no message. */
int message_judge_response(const struct buffer *response, struct error *err);
