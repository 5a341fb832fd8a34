/*
 * Equal bytes under one number: what a search has seen, and texts that many of its states share.
 * Numbers count from 0 in the order of arrival. Running out of memory ends the test.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct text_pool {
	struct pooled_text *texts;
	size_t count, room;
	uint32_t *slots; /* number + 1; 0 = free */
	size_t slot_count; /* a power of two */
};

/* *ret_new (may be NULL): they were not there before. */
uint32_t text_pool_add(struct text_pool *pool, const void *data, size_t size, bool *ret_new);
/* Lent, followed by a NUL; *ret_size may be NULL. */
const char *text_pool_get(const struct text_pool *pool, uint32_t number, size_t *ret_size);
void text_pool_done(struct text_pool *pool);
