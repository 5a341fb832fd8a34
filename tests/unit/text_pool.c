#include "tests/unit/text_pool.h"

#include <stdlib.h>
#include <string.h>

struct pooled_text {
	uint64_t hash;
	size_t size;
	char *data;
};

/* FNV-1a, with its bits mixed for the low ones to count. */
static uint64_t hash_of(const unsigned char *data, size_t size)
{
	uint64_t hash = 0xcbf29ce484222325u;

	for (size_t i = 0; i < size; i++)
		hash = (hash ^ data[i]) * 0x100000001b3u;
	return hash ^ hash >> 29;
}

static void *need(void *memory)
{
	if (!memory)
		abort();
	return memory;
}

static void place(struct text_pool *pool, uint64_t hash, uint32_t number)
{
	size_t slot = hash & (pool->slot_count - 1);

	while (pool->slots[slot])
		slot = (slot + 1) & (pool->slot_count - 1);
	pool->slots[slot] = number + 1;
}

static void grow(struct text_pool *pool)
{
	pool->room = pool->room ? 2 * pool->room : 256;
	pool->texts = need(reallocarray(pool->texts, pool->room, sizeof(*pool->texts)));
	free(pool->slots);
	pool->slot_count = 4 * pool->room;
	pool->slots = need(calloc(pool->slot_count, sizeof(*pool->slots)));
	for (size_t i = 0; i < pool->count; i++)
		place(pool, pool->texts[i].hash, (uint32_t)i);
}

uint32_t text_pool_add(struct text_pool *pool, const void *data, size_t size, bool *ret_new)
{
	uint64_t hash = hash_of(data, size);
	struct pooled_text *text;

	if (ret_new)
		*ret_new = false;
	if (pool->count == pool->room)
		grow(pool);
	for (size_t slot = hash & (pool->slot_count - 1); pool->slots[slot];
	     slot = (slot + 1) & (pool->slot_count - 1)) {
		text = &pool->texts[pool->slots[slot] - 1];
		if (text->hash == hash && text->size == size && !memcmp(text->data, data, size))
			return pool->slots[slot] - 1;
	}
	text = &pool->texts[pool->count];
	*text = (struct pooled_text){ .hash = hash, .size = size, .data = need(malloc(size + 1)) };
	memcpy(text->data, data, size);
	text->data[size] = '\0';
	place(pool, hash, (uint32_t)pool->count);
	if (ret_new)
		*ret_new = true;
	return (uint32_t)pool->count++;
}

const char *text_pool_get(const struct text_pool *pool, uint32_t number, size_t *ret_size)
{
	if (ret_size)
		*ret_size = pool->texts[number].size;
	return pool->texts[number].data;
}

void text_pool_done(struct text_pool *pool)
{
	for (size_t i = 0; i < pool->count; i++)
		free(pool->texts[i].data);
	free(pool->texts);
	free(pool->slots);
	*pool = (struct text_pool){ .count = 0 };
}
