/* Of GET /metrics (control_answer.h): requests to stores by kind of store, endpoints by their gates. */
#include "signal/control_answer.h"

#include <inttypes.h>

/* A label's value: backslash, quote and line end are escaped (OpenMetrics 1.0, "escaped-string"). A
 * store's name and an endpoint are ours or a host's, but came from a template. */
static int write_label(struct buffer *out, const char *name, const char *value)
{
	int r = buffer_append_format(out, "%s=\"", name);

	for (; r == 0 && *value; value++) {
		if (*value == '\n')
			r = buffer_append_string(out, "\\n");
		else if (*value == '"' || *value == '\\')
			r = buffer_append_format(out, "\\%c", *value);
		else
			r = buffer_append(out, value, 1);
	}
	return r < 0 ? r : buffer_append_string(out, "\"");
}

static int write_head(struct buffer *out, const char *name, const char *type, const char *help)
{
	return buffer_append_format(out, "# TYPE argoexec_%s %s\n# HELP argoexec_%s %s\n", name,
				    type, name, help);
}

static int write_number(struct buffer *out, const char *name, const char *label, const char *value,
			const char *more, uint64_t number)
{
	int r = buffer_append_format(out, "argoexec_%s{", name);

	if (r == 0)
		r = write_label(out, label, value);
	return r < 0 ? r : buffer_append_format(out, "%s} %" PRIu64 "\n", more, number);
}

static int write_requests(struct buffer *out, const struct http_counts *counts)
{
	int r = write_head(out, "store_requests", "counter", "Requests sent to stores.");

	for (unsigned i = 0; r == 0 && i < counts->store_count; i++)
		r = write_number(out, "store_requests_total", "store", counts->stores[i].store, "",
				 counts->stores[i].requests);
	if (r == 0)
		r = buffer_append_string(out, "# TYPE argoexec_store_body_bytes counter\n"
					      "# UNIT argoexec_store_body_bytes bytes\n"
					      "# HELP argoexec_store_body_bytes Bodies of requests "
					      "and answers, those of failed attempts too.\n");
	for (unsigned i = 0; r == 0 && i < counts->store_count; i++) {
		const struct http_store_counts *store = &counts->stores[i];

		r = write_number(out, "store_body_bytes_total", "store", store->store,
				 ",direction=\"sent\"", store->sent_bytes);
		if (r == 0)
			r = write_number(out, "store_body_bytes_total", "store", store->store,
					 ",direction=\"received\"", store->received_bytes);
	}
	return r;
}

/* One line for each class that something can fail with, zeros too: a rate needs a beginning. */
static int write_classes(struct buffer *out, const char *name, const char *store,
			 const uint64_t *numbers, bool is_retried)
{
	int r = 0;

	for (int class = 0; r == 0 && class < ERROR_CLASS_COUNT; class ++) {
		const struct error error = { .class = (enum error_class) class };
		char label[64];

		if (is_retried && !error_is_retryable(&error))
			continue;
		snprintf(label, sizeof(label), ",class=\"%s\"",
			 error_class_name((enum error_class) class));
		r = write_number(out, name, "store", store, label, numbers[class]);
	}
	return r;
}

static int write_failures(struct buffer *out, const struct http_counts *counts)
{
	int r = write_head(out, "store_failures", "counter",
			   "Attempts that failed, by the class of the failure.");

	for (unsigned i = 0; r == 0 && i < counts->store_count; i++)
		r = write_classes(out, "store_failures_total", counts->stores[i].store,
				  counts->stores[i].failures, false);
	if (r == 0)
		r = write_head(out, "store_retries", "counter",
			       "Attempts that were followed by another one.");
	for (unsigned i = 0; r == 0 && i < counts->store_count; i++)
		r = write_classes(out, "store_retries_total", counts->stores[i].store,
				  counts->stores[i].retries, true);
	return r;
}

static int write_states(struct buffer *out, const struct http_counts *counts)
{
	int r = write_head(out, "endpoint_state", "gauge",
			   "1 for the state that the gate of an endpoint is in.");

	for (unsigned i = 0; r == 0 && i < counts->endpoint_count; i++) {
		for (int state = 0; r == 0 && state < GATE_STATE_COUNT; state++) {
			char label[32];

			snprintf(label, sizeof(label), ",state=\"%s\"",
				 gate_state_name((enum gate_state)state));
			r = write_number(out, "endpoint_state", "endpoint",
					 counts->endpoints[i].endpoint, label,
					 counts->endpoints[i].state == (enum gate_state)state);
		}
	}
	return r;
}

static int write_gates(struct buffer *out, const struct http_counts *counts)
{
	int r = write_head(out, "endpoint_requests", "gauge",
			   "Requests to an endpoint: under way, and held back by its gate.");

	for (unsigned i = 0; r == 0 && i < counts->endpoint_count; i++) {
		const struct http_endpoint_counts *endpoint = &counts->endpoints[i];

		r = write_number(out, "endpoint_requests", "endpoint", endpoint->endpoint,
				 ",phase=\"running\"", endpoint->running);
		if (r == 0)
			r = write_number(out, "endpoint_requests", "endpoint", endpoint->endpoint,
					 ",phase=\"waiting\"", endpoint->waiting);
	}
	if (r == 0)
		r = write_head(out, "endpoint_changes", "counter",
			       "How often the gate of an endpoint came to that state.");
	for (unsigned i = 0; r == 0 && i < counts->endpoint_count; i++) {
		const struct http_endpoint_counts *endpoint = &counts->endpoints[i];

		r = write_number(out, "endpoint_changes_total", "endpoint", endpoint->endpoint,
				 ",state=\"slowed\"", endpoint->slowed);
		if (r == 0)
			r = write_number(out, "endpoint_changes_total", "endpoint",
					 endpoint->endpoint, ",state=\"failing\"",
					 endpoint->failed);
	}
	return r;
}

int control_write_traffic(struct buffer *out, const struct control_model *model)
{
	struct http_counts counts;
	int r;

	model->traffic(model->context, &counts);
	r = write_requests(out, &counts);
	if (r == 0)
		r = write_failures(out, &counts);
	if (r == 0)
		r = write_states(out, &counts);
	return r < 0 ? r : write_gates(out, &counts);
}
