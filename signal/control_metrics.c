/* GET /metrics (control_answer.h): OpenMetrics 1.0. */
#include "executor/base/clock.h"
#include "signal/control_answer.h"

#include <inttypes.h>
#include <string.h>

static const double bucket_s[CONTROL_BUCKETS] = { 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1 };

void control_count_acknowledgement(struct control_statistics *statistics, int64_t us)
{
	size_t i = 0;

	while (i < CONTROL_BUCKETS && (double)us > bucket_s[i] * 1e6)
		i++;
	statistics->acknowledged[i]++;
	statistics->acknowledged_us += us;
}

static int write_requests(struct buffer *out, const struct terminator *terminator)
{
	static const char *const ends[2] = { "ended", "killed" };
	int r = buffer_append_string(
		out, "# TYPE argoexec_termination_requests counter\n"
		     "# HELP argoexec_termination_requests Requests to end containers.\n");

	for (int s = 0; s < TERMINATION_SOURCE_COUNT; s++)
		for (int o = 0; r == 0 && o < TERMINATION_OUTCOME_COUNT; o++)
			r = buffer_append_format(
				out,
				"argoexec_termination_requests_total{source=\"%s\",outcome=\"%s\"}"
				" %lu\n",
				termination_source_name((enum termination_source)s),
				termination_outcome_name((enum termination_outcome)o),
				terminator->requests[s][o]);
	if (r == 0)
		r = buffer_append_string(
			out, "# TYPE argoexec_terminated_containers counter\n"
			     "# HELP argoexec_terminated_containers Containers that ended after a "
			     "request.\n");
	for (int s = 0; s < TERMINATION_SOURCE_COUNT; s++)
		for (int k = 0; r == 0 && k < 2; k++)
			r = buffer_append_format(
				out,
				"argoexec_terminated_containers_total{source=\"%s\","
				"outcome=\"%s\"} %lu\n",
				termination_source_name((enum termination_source)s), ends[k],
				terminator->ended[s][k]);
	return r;
}

static int write_latency(struct buffer *out, const struct control_statistics *statistics)
{
	unsigned long count = 0;
	int r = buffer_append_string(
		out, "# TYPE argoexec_acknowledgement_seconds histogram\n"
		     "# UNIT argoexec_acknowledgement_seconds seconds\n"
		     "# HELP argoexec_acknowledgement_seconds From a request's headers to 202.\n");

	for (size_t i = 0; r == 0 && i < CONTROL_BUCKETS; i++) {
		count += statistics->acknowledged[i];
		r = buffer_append_format(out,
					 "argoexec_acknowledgement_seconds_bucket{le=\"%g\"} %lu\n",
					 bucket_s[i], count);
	}
	count += statistics->acknowledged[CONTROL_BUCKETS];
	if (r == 0)
		r = buffer_append_format(
			out,
			"argoexec_acknowledgement_seconds_bucket{le=\"+Inf\"} %lu\n"
			"argoexec_acknowledgement_seconds_count %lu\n"
			"argoexec_acknowledgement_seconds_sum %.6f\n",
			count, count, (double)statistics->acknowledged_us / 1e6);
	return r;
}

static int write_containers(struct buffer *out, const struct control_model *model)
{
	static const char *const states[] = { "waiting", "running", "ended", "lost" };
	int r = buffer_append_string(
		out, "# TYPE argoexec_containers gauge\n"
		     "# HELP argoexec_containers Main containers of the pod by state.\n");

	for (size_t s = 0; r == 0 && s < sizeof(states) / sizeof(states[0]); s++) {
		unsigned count = 0;

		for (size_t i = 0; i < model->terminator->options.count; i++)
			count += strcmp(model->state(model->context, i), states[s]) == 0;
		r = buffer_append_format(out, "argoexec_containers{state=\"%s\"} %u\n", states[s],
					 count);
	}
	return r;
}

static int write_artifacts(struct buffer *out, const struct ledger *ledger)
{
	static const struct ledger none = { .count = 0 };
	int r = buffer_append_string(
		out, "# TYPE argoexec_artifacts gauge\n"
		     "# HELP argoexec_artifacts Artifacts of the pod, archived logs among them.\n");

	ledger = ledger ? ledger : &none;
	for (int d = 0; d < LEDGER_DIRECTION_COUNT; d++) {
		for (int s = 0; r == 0 && s < LEDGER_STATE_COUNT; s++) {
			unsigned count = 0;

			for (size_t i = 0; i < ledger->count; i++)
				count += (int)ledger->entries[i].direction == d &&
					 (int)ledger->entries[i].state == s;
			r = buffer_append_format(
				out, "argoexec_artifacts{direction=\"%s\",state=\"%s\"} %u\n",
				ledger_direction_name((enum ledger_direction)d),
				ledger_state_name((enum ledger_direction)d, (enum ledger_state)s),
				count);
		}
	}
	if (r == 0)
		r = buffer_append_format(
			out,
			"# TYPE argoexec_artifact_bytes counter\n"
			"# UNIT argoexec_artifact_bytes bytes\n"
			"# HELP argoexec_artifact_bytes Received from stores, and confirmed by them.\n"
			"argoexec_artifact_bytes_total{direction=\"input\"} %" PRIu64 "\n"
			"argoexec_artifact_bytes_total{direction=\"output\"} %" PRIu64 "\n"
			"# TYPE argoexec_artifact_retries counter\n"
			"# HELP argoexec_artifact_retries Requests to stores that were made again.\n"
			"argoexec_artifact_retries_total{direction=\"input\"} %" PRIu64 "\n"
			"argoexec_artifact_retries_total{direction=\"output\"} %" PRIu64 "\n",
			ledger->bytes[LEDGER_INPUT], ledger->bytes[LEDGER_OUTPUT],
			ledger->retries[LEDGER_INPUT], ledger->retries[LEDGER_OUTPUT]);
	return r;
}

int control_write_metrics(struct buffer *out, const struct control_model *model,
			  const struct control_statistics *statistics)
{
	int r = write_requests(out, model->terminator);

	if (r == 0)
		r = write_latency(out, statistics);
	if (r == 0)
		r = write_containers(out, model);
	if (r == 0)
		r = write_artifacts(out, model->ledger);
	if (r == 0 && model->traffic)
		r = control_write_traffic(out, model);
	if (r == 0 && model->confinement)
		r = control_write_confinement(out, model);
	if (r == 0)
		r = buffer_append_format(
			out,
			"# TYPE argoexec_refused_requests counter\n"
			"# HELP argoexec_refused_requests Answers with a status from 400 on.\n"
			"argoexec_refused_requests_total %lu\n"
			"# TYPE argoexec_unauthorized_requests counter\n"
			"# HELP argoexec_unauthorized_requests Of those, without the token.\n"
			"argoexec_unauthorized_requests_total %lu\n"
			"# TYPE argoexec_uptime_seconds gauge\n"
			"# UNIT argoexec_uptime_seconds seconds\n"
			"# HELP argoexec_uptime_seconds Age of this process's socket.\n"
			"argoexec_uptime_seconds %.3f\n# EOF\n",
			statistics->refused, statistics->unauthorized,
			(double)(clock_now_ms() - statistics->started_ms) / 1000);
	return r;
}
