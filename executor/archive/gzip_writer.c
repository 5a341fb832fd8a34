#include "executor/archive/deflate_block.h"
#include "executor/archive/gzip.h"

#include <errno.h>
#include <isa-l/crc.h>
#include <string.h>
#include <zlib.h>

#define SLOTS_MAX (POOL_THREADS_MAX + 2)

/* A block under way: filled on the loop, compressed on a thread, given out on the loop. */
struct slot {
	struct pool_job job;
	struct deflate_block *deflate;
	size_t history; /* bytes in front of the data */
	size_t size;
	bool is_last;
	size_t out_size;
	uint32_t crc;
	unsigned char in[DEFLATE_HISTORY_BYTES + GZIP_BLOCK_BYTES];
	unsigned char out[DEFLATE_BLOCK_BOUND(GZIP_BLOCK_BYTES)];
};

struct gzip_blocks {
	struct writer *out; /* not owned */
	struct pool *pool; /* not owned */
	int level;
	unsigned count;
	struct slot *slots[SLOTS_MAX]; /* a ring; made as they are needed */
	uint64_t first, next; /* the oldest one under way, the one that is filled */
	uint64_t in_bytes;
	uint32_t crc;
};

static struct slot *slot_at(const struct gzip_blocks *self, uint64_t number)
{
	return self->slots[number % self->count];
}

static void compress_slot(struct pool_job *job)
{
	struct slot *slot = (struct slot *)job;
	const unsigned char *data = slot->in + DEFLATE_HISTORY_BYTES;

	slot->crc = crc32_gzip_refl(0, data, slot->size);
	slot->out_size = deflate_block_run(slot->deflate, data, slot->size, slot->history,
					   slot->is_last, slot->out);
}

/* Makes the next slot ready to be filled; its memory is free. */
static int open_slot(struct gzip_blocks *self, struct error *err)
{
	struct slot **slot = &self->slots[self->next % self->count];
	const struct slot *before = self->next > 0 ? slot_at(self, self->next - 1) : NULL;

	if (!*slot) {
		*slot = malloc(sizeof(**slot));
		if (!*slot)
			return error_set(err, -ENOMEM, "out of memory");
		(*slot)->job = (struct pool_job){ .work = compress_slot };
		(*slot)->deflate = deflate_block_new(self->level);
		if (!(*slot)->deflate) {
			free(*slot);
			*slot = NULL;
			return error_set(err, -ENOMEM, "out of memory");
		}
	}
	/* All blocks but the last are full, so the history is; it may lie in the same slot. */
	(*slot)->history = before ? DEFLATE_HISTORY_BYTES : 0;
	if (before)
		memmove((*slot)->in, before->in + GZIP_BLOCK_BYTES, DEFLATE_HISTORY_BYTES);
	(*slot)->size = 0;
	(*slot)->is_last = false;
	return 0;
}

static int give_out_first(struct gzip_blocks *self, struct error *err)
{
	struct slot *slot = slot_at(self, self->first);
	int r = pool_wait(self->pool, &slot->job);

	if (r < 0)
		return error_errno(err, r, "wait for compressed data");
	self->first++;
	self->crc = (uint32_t)crc32_combine(self->crc, slot->crc, (z_off_t)slot->size);
	return self->out->write(self->out, slot->out, slot->out_size, err);
}

/* Sends the slot that was filled on its way; there is one to be filled afterwards. */
static int close_slot(struct gzip_blocks *self, bool is_last, struct error *err)
{
	struct slot *slot = slot_at(self, self->next);
	int r = 0;

	slot->is_last = is_last;
	self->in_bytes += slot->size;
	/* What is less than a block is not worth a thread. */
	pool_start(is_last && self->next == 0 ? NULL : self->pool, &slot->job);
	self->next++;
	while (r == 0 && self->first < self->next &&
	       (is_last || self->next - self->first == self->count ||
		slot_at(self, self->first)->job.is_done))
		r = give_out_first(self, err);
	return r < 0 || is_last ? r : open_slot(self, err);
}

static int blocks_write(struct writer *base, const void *data, size_t size, struct error *err)
{
	struct gzip_blocks *self = ((struct gzip_writer *)base)->blocks;
	const char *p = data;

	while (size > 0) {
		struct slot *slot = slot_at(self, self->next);
		size_t room = GZIP_BLOCK_BYTES - slot->size, n = size < room ? size : room;
		int r;

		memcpy(slot->in + DEFLATE_HISTORY_BYTES + slot->size, p, n);
		slot->size += n;
		p += n;
		size -= n;
		r = slot->size == GZIP_BLOCK_BYTES ? close_slot(self, false, err) : 0;
		if (r < 0)
			return r;
	}
	return 0;
}

static int blocks_finish(struct writer *base, struct error *err)
{
	struct gzip_blocks *self = ((struct gzip_writer *)base)->blocks;
	unsigned char trailer[8];
	int r = close_slot(self, true, err);

	if (r < 0)
		return r;
	for (int i = 0; i < 4; i++) {
		trailer[i] = (unsigned char)(self->crc >> (8 * i));
		trailer[4 + i] = (unsigned char)(self->in_bytes >> (8 * i));
	}
	return self->out->write(self->out, trailer, sizeof(trailer), err);
}

int gzip_writer_init(struct gzip_writer *writer, struct writer *out, int level, struct pool *pool,
		     struct error *err)
{
	unsigned char header[10] = { 0x1f, 0x8b, 8, [9] = 255 };
	struct gzip_blocks *blocks;
	int r;

	*writer = (struct gzip_writer){
		.writer = { .write = blocks_write, .finish = blocks_finish },
	};
	if (level < DEFLATE_HUFFMAN || level > DEFLATE_MAX)
		return deflate_refuse_level(level, err);
	blocks = calloc(1, sizeof(*blocks));
	if (!blocks)
		return error_set(err, -ENOMEM, "out of memory");
	writer->blocks = blocks;
	blocks->out = out;
	blocks->pool = pool;
	blocks->level = level;
	blocks->count = pool ? pool_width(pool) + 2 : 1;
	r = open_slot(blocks, err);
	if (r < 0)
		return r;
	header[8] = level == 9 ? 2 : level == 1 ? 4 : 0;
	return out->write(out, header, sizeof(header), err);
}

void gzip_writer_done(struct gzip_writer *writer)
{
	struct gzip_blocks *blocks = writer->blocks;

	if (!blocks)
		return;
	for (unsigned i = 0; i < SLOTS_MAX; i++) {
		if (!blocks->slots[i])
			continue;
		pool_take_back(blocks->pool, &blocks->slots[i]->job);
		deflate_block_free(blocks->slots[i]->deflate);
		free(blocks->slots[i]);
	}
	free(blocks);
	writer->blocks = NULL;
}
