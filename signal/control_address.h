/* Addresses of the TCP listener and its peers as people write them. */
#pragma once

#include "executor/base/error.h"

#include <stdbool.h>
#include <sys/socket.h>

/* "[IPv6]:port" and a NUL. */
#define CONTROL_ADDRESS_TEXT_MAX 64

/* "a.b.c.d:port" or "[IPv6]:port"; port 0 lets the kernel choose. Names are not resolved. -EINVAL. */
int control_address_parse(const char *text, struct sockaddr_storage *ret, struct error *err);

/* An IPv4 address that came in by an IPv6 socket is written as what it is. Returns buffer. */
const char *control_address_format(const struct sockaddr_storage *address,
				   char buffer[CONTROL_ADDRESS_TEXT_MAX]);

bool control_address_is_loopback(const struct sockaddr_storage *address);

/* For bind(2), connect(2). */
socklen_t control_address_size(const struct sockaddr_storage *address);
