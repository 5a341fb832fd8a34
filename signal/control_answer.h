/* What the control server says, without a socket: documents of requests and answers
 * (docs/control-api.md). Everything here is plain data in, plain data out. */
#pragma once

#include "executor/base/buffer.h"
#include "executor/json/json.h"
#include "signal/control.h"

/* Latency of acknowledgements: counts up to each bound, and the sum. */
#define CONTROL_BUCKETS 7
struct control_statistics {
	int64_t started_ms; /* clock_now_ms() */
	unsigned long acknowledged[CONTROL_BUCKETS + 1]; /* the last one: slower than all bounds */
	int64_t acknowledged_us; /* sum */
	unsigned long refused; /* answers from 400 on */
	unsigned long unauthorized; /* of those, 401 */
};
void control_count_acknowledgement(struct control_statistics *statistics, int64_t us);

/* A parsed body of POST /v1/terminate. */
struct control_terminate {
	struct termination_request request;
	size_t *which; /* containers, NULL = all; owned */
	size_t count;
};

/* Strict: an unknown field, a wrong type, a number outside its range, an unknown container are
 * -EINVAL with a sentence for the asker. An empty body asks for the defaults. */
int control_parse_terminate(const struct control_model *model, const char *body, size_t size,
			    struct control_terminate *ret, struct error *err);
void control_terminate_done(struct control_terminate *terminate);

/* All writers: 0 or a negative errno. */
int control_write_acknowledgement(struct buffer *out, unsigned id,
				  enum termination_outcome outcome);
int control_write_error(struct buffer *out, int status, const char *message);
int control_write_status(struct buffer *out, const struct control_model *model,
			 const struct control_statistics *statistics);
/* What changes and is told of one by one: containers first, then the ledger's entries. */
size_t control_item_count(const struct control_model *model);
/* One object of GET /v1/events. */
int control_write_event(struct buffer *out, const struct control_model *model, size_t item);
/* OpenMetrics 1.0 text. */
int control_write_metrics(struct buffer *out, const struct control_model *model,
			  const struct control_statistics *statistics);

/* Of that, and of the status: what is in force of confinement. */
int control_write_confinement(struct buffer *out, const struct control_model *model);
int control_set_confinement(struct json_object *object, const struct control_model *model);

/* Of that: what the requests to stores came to. */
int control_write_traffic(struct buffer *out, const struct control_model *model);
