/* The kinds that the fields of a template must have, as one table. */
#pragma once

#include "executor/base/error.h"
#include "executor/json/json.h"

/* 0, or -EINVAL with "field <path>: expected <kind>, found <kind>" (or what else is wrong with
 * it, such as a missing name). */
int template_check(struct json_object *template, struct error *err);

/*
 * An artifact that is about to be loaded or saved needs a path. `..` may appear in it as long as
 * the path does not leave what stands before the first one: /tmp/a/../b is refused, as Argo
 * refuses it, because /tmp/b is not below /tmp/a.
 */
int template_check_path(struct json_object *artifact, struct error *err);
