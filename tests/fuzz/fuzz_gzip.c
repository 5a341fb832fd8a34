/*
 * Our reader of gzip against zlib. The first byte says how large the pieces are that the source gives, the
 * second how many bytes are asked for at a time, so that blocks and members end anywhere in them; the third
 * what the rest is:
 *
 *	even	deflated data (RFC 1951), around which a header and the right end are put
 *	odd	how members are made by zlib of the rest: a byte for level, strategy and what ends its
 *		block, one for the size, the content; at last two that say what is changed
 *
 * Required: zlib and we read the same, or refuse both.
 */
#include "executor/archive/gzip.h"
#include "executor/base/cleanup.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/targets.h"

#include <string.h>
#include <zlib.h>

/* Of a bomb, this much is read. */
#define CONTENT_BYTES_MAX (64 * 1024)
#define PACKED_BYTES_MAX (1024 * 1024)
#define CHUNK 4096

static void append(struct buffer *buffer, const void *data, size_t size)
{
	fuzz_require(buffer_append(buffer, data, size) == 0);
}

/* --- zlib --------------------------------------------------------------------------------- */

/* Z_OK = it goes on beyond what is read of a bomb; Z_STREAM_END; or a fault. */
static int inflate_all(z_stream *stream, struct buffer *out)
{
	char chunk[CHUNK];
	int r = Z_OK;

	while (r == Z_OK && out->size + CHUNK <= CONTENT_BYTES_MAX) {
		stream->next_out = (unsigned char *)chunk;
		stream->avail_out = CHUNK;
		r = inflate(stream, Z_NO_FLUSH);
		if (r == Z_OK || r == Z_STREAM_END)
			append(out, chunk, CHUNK - stream->avail_out);
	}
	return r;
}

/* Huffman codes that no packer makes: ISA-L takes some of them, and the checksum decides. */
#define ODD_CODE 100

static bool is_odd_code(const char *fault)
{
	static const char *const faults[] = {
		"invalid literal/lengths set",
		"invalid distances set",
		"invalid code lengths set",
		"too many length or distance symbols",
		"invalid code -- missing end-of-block",
	};

	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
		if (fault && strcmp(fault, faults[i]) == 0)
			return true;
	return false;
}

static int read_with_zlib(const struct buffer *packed, struct buffer *out)
{
	z_stream stream = { .next_in = (unsigned char *)buffer_string(packed),
			    .avail_in = (unsigned)packed->size };
	int r;

	fuzz_require(inflateInit2(&stream, 15 + 16) == Z_OK);
	do {
		r = inflate_all(&stream, out);
		if (r != Z_STREAM_END || stream.avail_in < 2 || stream.next_in[0] != 0x1f ||
		    stream.next_in[1] != 0x8b)
			break;
	} while (inflateReset(&stream) == Z_OK);
	if (is_odd_code(stream.msg))
		r = ODD_CODE;
	inflateEnd(&stream);
	return r;
}

/* --- ours --------------------------------------------------------------------------------- */

static ssize_t read_ourselves(const struct buffer *packed, size_t step, size_t wanted,
			      struct buffer *out)
{
	struct fuzz_pieces pieces;
	_cleanup_gzip_reader_ struct gzip_reader gzip = { .state = NULL };
	struct error err = ERROR_NONE;
	char chunk[CHUNK];
	ssize_t n;

	fuzz_pieces_init(&pieces, buffer_string(packed), packed->size, step);
	fuzz_require(gzip_reader_init(&gzip, &pieces.reader, &err) == 0);
	do {
		n = gzip.reader.read(&gzip.reader, chunk, wanted, &err);
		fuzz_require(n <= (ssize_t)wanted);
		if (n > 0)
			append(out, chunk, (size_t)n);
	} while (n > 0 && out->size + CHUNK <= CONTENT_BYTES_MAX);
	if (n < 0)
		fuzz_check_error((int)n, &err);
	return n;
}

static void compare(const struct buffer *packed, size_t step, size_t wanted)
{
	_cleanup_buffer_ struct buffer expected = BUFFER_INIT(CONTENT_BYTES_MAX);
	_cleanup_buffer_ struct buffer content = BUFFER_INIT(CONTENT_BYTES_MAX);
	int judge = read_with_zlib(packed, &expected);
	ssize_t n = read_ourselves(packed, step, wanted, &content);
	size_t common = content.size < expected.size ? content.size : expected.size;

	/* Whichever sees a fault first has read less. */
	fuzz_require(memcmp(buffer_string(&content), buffer_string(&expected), common) == 0);
	if (judge == Z_STREAM_END)
		fuzz_require(n >= 0 && (n > 0 || content.size == expected.size));
	else if (judge != Z_OK && judge != ODD_CODE)
		fuzz_require(n != 0);
}

/* --- what is read ------------------------------------------------------------------------- */

static void append_number(struct buffer *out, uint32_t number)
{
	for (int i = 0; i < 4; i++)
		append(out, &(char){ (char)(number >> 8 * i) }, 1);
}

/* The end is right as far as there is one. */
static void wrap(struct fuzz_input deflated, struct buffer *packed)
{
	_cleanup_buffer_ struct buffer content = BUFFER_INIT(CONTENT_BYTES_MAX);
	z_stream stream = { .next_in = (unsigned char *)deflated.data,
			    .avail_in = (unsigned)deflated.size };

	append(packed, "\x1f\x8b\x08\0\0\0\0\0\0\xff", 10);
	fuzz_require(inflateInit2(&stream, -15) == Z_OK);
	if (inflate_all(&stream, &content) == Z_STREAM_END)
		deflated.size -= stream.avail_in;
	inflateEnd(&stream);
	append(packed, deflated.data, deflated.size);
	append_number(packed, (uint32_t)crc32(0, (unsigned char *)buffer_string(&content),
					      (unsigned)content.size));
	append_number(packed, (uint32_t)content.size);
}

static void deflate_some(z_stream *stream, struct fuzz_input content, int flush,
			 struct buffer *packed)
{
	char chunk[CHUNK];

	stream->next_in = (unsigned char *)content.data;
	stream->avail_in = (unsigned)content.size;
	do {
		stream->next_out = (unsigned char *)chunk;
		stream->avail_out = CHUNK;
		deflate(stream, flush);
		append(packed, chunk, CHUNK - stream->avail_out);
	} while (stream->avail_out == 0);
}

static void make_members(struct fuzz_input *input, struct buffer *packed)
{
	static const int ends[] = { Z_NO_FLUSH, Z_SYNC_FLUSH, Z_FULL_FLUSH, Z_FINISH };

	while (input->size > 2) {
		unsigned char how = fuzz_take_byte(input);
		z_stream stream = { 0 };
		int flush = Z_NO_FLUSH;

		fuzz_require(deflateInit2(&stream, how % 10, Z_DEFLATED, 15 + 16, 1 + how % 9,
					  how / 10 % 5) == Z_OK);
		while (flush != Z_FINISH && input->size > 2) {
			struct fuzz_input content = fuzz_take(input, fuzz_take_byte(input));

			flush = ends[fuzz_take_byte(input) % 4];
			deflate_some(&stream, content, flush, packed);
		}
		if (flush != Z_FINISH)
			deflate_some(&stream, (struct fuzz_input){ NULL, 0 }, Z_FINISH, packed);
		deflateEnd(&stream);
	}
	if (input->size == 2 && packed->size > 0) {
		size_t where = fuzz_take_byte(input) * 257u % packed->size;

		packed->data[where] = (char)(packed->data[where] ^ (char)fuzz_take_byte(input));
	}
}

void fuzz_gzip(const char *data, size_t size)
{
	_cleanup_buffer_ struct buffer packed = BUFFER_INIT(PACKED_BYTES_MAX);
	struct fuzz_input input = { data, size };
	size_t step = fuzz_take_byte(&input), wanted = fuzz_take_byte(&input);

	if (fuzz_take_byte(&input) % 2)
		make_members(&input, &packed);
	else
		wrap(input, &packed);
	compare(&packed, step ? step : SIZE_MAX, wanted ? wanted : CHUNK);
}
