/*
 * A pod without init container cannot mount each input artifact at its path: the wrapper of `main`
 * puts a symbolic link there, to /argo/inputs/artifacts/<name>. What is at that path in the image
 * is replaced; what is in, or above, a volume of the user is not touched, nor what is above the
 * places without which nothing would go on (/var/run/argo, /proc, …).
 */
#pragma once

#include "executor/base/error.h"
#include "executor/template/template.h"

/* In the order of the inputs; an artifact that is not below `inputs` is left out (it was optional,
 * or lies in a volume). -EPERM "… cannot be replaced by a link: …" for what is refused. The working
 * directory is entered anew at the end: it may have become a link itself. */
int links_make(const struct template *template, const char *inputs, struct error *err);
