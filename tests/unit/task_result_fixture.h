/*
 * A task result with everything that it needs, against an API server in a thread, and what tests
 * say of it.
 */
#pragma once

#include "executor/report/task_result.h"
#include "tests/unit/api_server.h"

#define COLLECTION "/apis/argoproj.io/v1alpha1/namespaces/argo/workflowtaskresults"
#define ITEM COLLECTION "/node-1"
#define LABEL_FINAL "workflows.argoproj.io/report-outputs-completed"
#define CREATED CREATED_IN("")
#define CREATED_IN(annotations) \
	"POST " COLLECTION " {\"metadata\":{\"name\":\"node-1\",\"labels\":{" \
	"\"workflows.argoproj.io/workflow\":\"wf\",\"" LABEL_FINAL "\":\"false\"}," annotations \
	"\"ownerReferences\":[{\"apiVersion\":\"argoproj.io/v1alpha1\",\"kind\":\"Workflow\"," \
	"\"name\":\"wf\",\"uid\":\"uid-1\"}]},\"apiVersion\":\"argoproj.io/v1alpha1\"," \
	"\"kind\":\"WorkflowTaskResult\""
#define LEARNED "PATCH " ITEM " {}"
#define PATCH_OUTPUTS(version, result) \
	"PATCH " ITEM " {\"metadata\":{\"resourceVersion\":\"" version \
	"\"},\"outputs\":{\"result\":\"" result "\"}}"
#define PATCH_FINAL(version) \
	"PATCH " ITEM " {\"metadata\":{\"resourceVersion\":\"" version \
	"\",\"labels\":{\"" LABEL_FINAL "\":\"true\"}}}"

struct fixture {
	struct event_loop *loop;
	struct http_client *http;
	struct kube_config config;
	struct kube_client *client;
	struct api_server *server;
	struct task_result *result;
	struct log log;
};

void fixture_begin(struct fixture *f, const struct api_fault *faults, size_t count);
void fixture_end(struct fixture *f);

/* The process dies, and another one knows nothing. */
void fixture_restart(struct fixture *f);
/* The same in a pod whose uid is known. */
void fixture_restart_in(struct fixture *f, const char *pod_uid);

/* Starts with one fault per request, in order; further requests work. */
#define begin(f, ...) \
	fixture_begin( \
		f, (const struct api_fault[]){ __VA_ARGS__ __VA_OPT__(, ){ .status = 0 } }, \
		sizeof((const struct api_fault[]){ __VA_ARGS__ __VA_OPT__(, ){ .status = 0 } }) / \
			sizeof(struct api_fault))

struct json_object *fixture_parse(const char *text);
void fixture_set_outputs(struct fixture *f, const char *text);

/* Waits until everything is stored; or until it has failed with a message that holds `part`. */
void fixture_settle(struct fixture *f);
void fixture_settle_badly(struct fixture *f, const char *part);

/* Ends the server. These were the requests, and no others. */
void fixture_expect_requests(struct fixture *f, const char *const *expected, size_t count);
#define expect(f, ...) \
	fixture_expect_requests(f, (const char *const[]){ __VA_ARGS__ }, \
				sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(char *))

/* The object has exactly these outputs, and the label report-outputs-completed is `label`. */
void fixture_expect_object(struct fixture *f, const char *outputs, const char *label);
