/* Which TCP ports the staging process has to connect to, where a template says all of them. */
#pragma once

#include "executor/template/template.h"

#include <stddef.h>
#include <stdint.h>

/* More endpoints than any pod has. */
#define ENGINE_PORTS_MAX 64

struct engine_ports {
	uint16_t items[ENGINE_PORTS_MAX];
	size_t count; /* 0: not known, so any */
};

/*
 * The ports of the template's endpoints, and those of name servers, HTTP and HTTPS. They are known where
 * all that is loaded and saved is at S3 or OSS with keys from secrets, and no variable names a proxy: the
 * other stores redirect to where they like, and sources of credentials are at addresses that files and
 * answers name.
 */
void engine_ports_find(const struct template *template, struct engine_ports *ret);
