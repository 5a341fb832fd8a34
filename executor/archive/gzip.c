#include "executor/archive/gzip.h"

#include <errno.h>
#include <isa-l/igzip_lib.h>
#include <string.h>

#define IN_BYTES (64 * 1024)

/* RFC 1952, 2.3.1.2: whatever these say, what follows would not be understood. */
#define FLAGS_AT 3
#define FLAGS_RESERVED 0xe0

struct gzip_inflate {
	struct reader *source;
	struct inflate_state stream;
	bool is_source_ended;
	bool is_begun; /* the member's flags were looked at */
	bool is_ended;
	unsigned char chunk[IN_BYTES];
};

/* Reads more behind what is still unused. */
static int refill(struct gzip_inflate *state, struct error *err)
{
	struct inflate_state *stream = &state->stream;
	ssize_t n;

	memmove(state->chunk, stream->next_in, stream->avail_in);
	stream->next_in = state->chunk;
	n = state->source->read(state->source, state->chunk + stream->avail_in,
				sizeof(state->chunk) - stream->avail_in, err);
	if (n < 0)
		return (int)n;
	state->is_source_ended = n == 0;
	stream->avail_in += (uint32_t)n;
	return 0;
}

static void begin_member(struct gzip_inflate *state)
{
	isal_inflate_reset(&state->stream);
	state->is_begun = false;
	state->stream.crc_flag = ISAL_GZIP; /* header and trailer are verified too */
}

/* Up to `size` bytes are at hand; fewer only at the end of the source. */
static int gather(struct gzip_inflate *state, size_t size, struct error *err)
{
	int r = 0;

	while (r == 0 && state->stream.avail_in < size && !state->is_source_ended)
		r = refill(state, err);
	return r;
}

/* What ISA-L does not look at. */
static int check_flags(struct gzip_inflate *state, struct error *err)
{
	const struct inflate_state *stream = &state->stream;
	int r = gather(state, FLAGS_AT + 1, err);

	if (r < 0)
		return r;
	state->is_begun = true;
	if (stream->avail_in > FLAGS_AT && (stream->next_in[FLAGS_AT] & FLAGS_RESERVED))
		return error_set(err, -EBADMSG, "gzip: invalid header");
	return 0;
}

/* A member has ended: another one, or the end of all that concerns us. */
static int next_member(struct gzip_inflate *state, struct error *err)
{
	struct inflate_state *stream = &state->stream;
	int r = gather(state, 2, err);

	if (r < 0)
		return r;
	if (stream->avail_in < 2 || stream->next_in[0] != 0x1f || stream->next_in[1] != 0x8b)
		state->is_ended = true;
	else
		begin_member(state);
	return 0;
}

static const char *inflate_fault(int status)
{
	switch (status) {
	case ISAL_INCORRECT_CHECKSUM:
		return "checksum or length is wrong";
	case ISAL_INVALID_WRAPPER:
	case ISAL_UNSUPPORTED_METHOD:
		return "invalid header";
	default:
		return "invalid data";
	}
}

static int inflate_some(struct gzip_inflate *state, struct error *err)
{
	struct inflate_state *stream = &state->stream;
	uint32_t unread = stream->avail_in, room = stream->avail_out;
	int status = isal_inflate(stream), r;

	if (status < 0)
		return error_set(err, -EBADMSG, "gzip: %s", inflate_fault(status));
	if (stream->block_state == ISAL_BLOCK_FINISH)
		return next_member(state, err);
	if (stream->avail_in < unread || stream->avail_out < room)
		return 0;
	/* It holds nothing back any more: it needs input. */
	if (stream->avail_in > 0)
		return error_set(err, -EBADMSG, "gzip: invalid data");
	r = refill(state, err);
	if (r == 0 && state->is_source_ended)
		r = error_set(err, -EBADMSG,
			      "gzip: unexpected end of file: the archive is truncated");
	return r;
}

static ssize_t member_read(struct reader *base, void *data, size_t size, struct error *err)
{
	struct gzip_inflate *state = ((struct gzip_reader *)base)->state;
	struct inflate_state *stream = &state->stream;
	uint32_t wanted = size < IN_BYTES * 16u ? (uint32_t)size : IN_BYTES * 16u;

	stream->next_out = data;
	stream->avail_out = wanted;
	while (!state->is_ended && stream->avail_out == wanted) {
		int r = state->is_begun ? 0 : check_flags(state, err);

		if (r == 0)
			r = inflate_some(state, err);
		if (r < 0)
			return r;
	}
	return (ssize_t)(wanted - stream->avail_out);
}

int gzip_reader_init(struct gzip_reader *reader, struct reader *source, struct error *err)
{
	struct gzip_inflate *state = calloc(1, sizeof(*state));

	*reader = (struct gzip_reader){ .reader.read = member_read, .state = state };
	if (!state)
		return error_set(err, -ENOMEM, "out of memory");
	state->source = source;
	isal_inflate_init(&state->stream);
	begin_member(state);
	state->stream.next_in = state->chunk;
	return 0;
}

void gzip_reader_done(struct gzip_reader *reader)
{
	free(reader->state);
	reader->state = NULL;
}
