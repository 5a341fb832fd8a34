#include "executor/archive/zstd.h"

#include <errno.h>
#include <stdbool.h>
#include <zstd.h>
#include <zstd_errors.h>

#define IN_BYTES (64 * 1024)

struct zstd_state {
	struct reader *source;
	ZSTD_DCtx *context;
	ZSTD_inBuffer in;
	bool is_inside_frame;
	unsigned long long announced; /* bytes of the frame, or ZSTD_CONTENTSIZE_UNKNOWN */
	unsigned long long given;
	bool is_full; /* the last call filled its output: more may come without new input */
	char chunk[IN_BYTES];
};

static int decompress_error(size_t code, struct error *err)
{
	if (ZSTD_getErrorCode(code) == ZSTD_error_frameParameter_windowTooLarge)
		return error_set(err, -EFBIG, "zstd: the window is larger than the limit of %d MiB",
				 1 << (ZSTD_READER_WINDOW_LOG - 20));
	return error_set(err, -EBADMSG, "zstd: %s", ZSTD_getErrorName(code));
}

/* 1 = there is input, 0 = the source has ended between frames. */
static int need_input(struct zstd_state *state, struct error *err)
{
	ssize_t n;

	if (state->in.pos < state->in.size || state->is_full)
		return 1;
	n = state->source->read(state->source, state->chunk, sizeof(state->chunk), err);
	if (n < 0)
		return (int)n;
	if (n == 0 && state->is_inside_frame)
		return error_set(err, -EBADMSG,
				 "zstd: unexpected end of file: the archive is truncated");
	state->in = (ZSTD_inBuffer){ .src = state->chunk, .size = (size_t)n };
	return n > 0;
}

/* The library itself does not compare them when an empty block comes last. A header that has arrived
 * in part only announces nothing. */
static void begin_frame(struct zstd_state *state)
{
	state->announced = ZSTD_getFrameContentSize((const char *)state->in.src + state->in.pos,
						    state->in.size - state->in.pos);
	if (state->announced == ZSTD_CONTENTSIZE_ERROR)
		state->announced = ZSTD_CONTENTSIZE_UNKNOWN;
	state->given = 0;
}

static ssize_t frame_read(struct reader *base, void *data, size_t size, struct error *err)
{
	struct zstd_state *state = ((struct zstd_reader *)base)->state;
	ZSTD_outBuffer out = { .dst = data, .size = size };

	while (out.pos == 0) {
		int r = need_input(state, err);
		size_t left, before = out.pos;

		if (r <= 0)
			return r;
		if (!state->is_inside_frame)
			begin_frame(state);
		left = ZSTD_decompressStream(state->context, &out, &state->in);
		if (ZSTD_isError(left))
			return decompress_error(left, err);
		state->is_inside_frame = left != 0;
		state->given += out.pos - before;
		if (left == 0 && state->announced != ZSTD_CONTENTSIZE_UNKNOWN &&
		    state->given != state->announced)
			return error_set(err, -EBADMSG,
					 "zstd: the content is not as long as announced");
		state->is_full = left != 0 && out.pos == out.size;
	}
	return (ssize_t)out.pos;
}

int zstd_reader_init(struct zstd_reader *reader, struct reader *source, struct error *err)
{
	struct zstd_state *state = calloc(1, sizeof(*state));

	*reader = (struct zstd_reader){ .reader.read = frame_read, .state = state };
	if (!state)
		return error_set(err, -ENOMEM, "out of memory");
	state->source = source;
	state->context = ZSTD_createDCtx();
	if (!state->context ||
	    ZSTD_isError(ZSTD_DCtx_setParameter(state->context, ZSTD_d_windowLogMax,
						ZSTD_READER_WINDOW_LOG)))
		return error_set(err, -ENOMEM, "out of memory");
	return 0;
}

void zstd_reader_done(struct zstd_reader *reader)
{
	if (reader->state)
		ZSTD_freeDCtx(reader->state->context);
	free(reader->state);
	reader->state = NULL;
}
