/* The role `artifact delete`: the pod that the controller starts to delete a workflow's artifacts. */
#pragma once

#include "executor/base/role.h"

/*
 * Works through the WorkflowArtifactGCTasks that carry ARGO_ARTIFACT_POD_NAME as a label (without that
 * variable there is nothing to do) and returns the exit status. What has become of each artifact is stored
 * in the status of its task, while the work goes on; an artifact that cannot be deleted is a result, not a
 * failure of the command. Results that say success are never asked for twice, so that a pod which was
 * killed can be started again.
 *
 * Needs the verbs list on workflowartifactgctasks and patch on workflowartifactgctasks/status, writes no
 * file (but for artifact plugins, which are told to end by files), and names no task result: the pod is no
 * node of the workflow.
 */
int gc_main(const struct role *role);
