/*
 * Extended attributes of a file or directory, those of users (`user.*`) only: what others hold
 * (capabilities, labels, ACLs) belongs to the machine, not to the data.
 *
 * A list is a buffer of records, in the order of their names: name, NUL, size (uint32_t), value.
 */
#pragma once

#include "executor/base/buffer.h"

#include <stdbool.h>
#include <stdint.h>

/* Of one file, names and values. The kernel allows 64 KiB a value; usual file systems, one block
 * for all. */
#define ATTRIBUTES_BYTES_MAX (64u * 1024)
#define ATTRIBUTES_INIT BUFFER_INIT(ATTRIBUTES_BYTES_MAX)

struct attribute {
	const char *name;
	const char *value;
	uint32_t size;
};

/* Adds a record unless it is not a user's, or its name cannot be a pax key (`=`): 0, -EMSGSIZE
 * beyond the maximum, -ENOMEM. */
int attributes_add(struct buffer *list, const struct attribute *attribute);

/* Reads what the file behind `fd` has, none where there is no such thing. 0 or a negative errno:
 * -EMSGSIZE if it is more than the maximum. */
int attributes_read(struct buffer *list, int fd);

/* Steps through a list: *at begins with 0. False at the end. */
bool attributes_next(const struct buffer *list, size_t *at, struct attribute *ret);

/* Gives them to the file behind `fd`, as many as it takes: 0, or the first failure. */
int attributes_set(const struct buffer *list, int fd);
