/*
 * The `wait` container of a pod: waits for the main containers, saves what they leave, and reports
 * it. SIGTERM never aborts it: the controller sends one after every step, and it means "finish up".
 */
#pragma once

#include "executor/base/role.h"

int wait_main(const struct role *role);
