#include "executor/http/digest.h"

#include "executor/base/cleanup.h"

#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>
#include <unistd.h>

#define CHUNK_BYTES (64 * 1024)

struct digest {
	EVP_MD_CTX *context;
	const EVP_MD *algorithm;
};

static const EVP_MD *algorithm_of(enum digest_kind kind)
{
	return kind == DIGEST_MD5 ? EVP_md5() : EVP_sha256();
}

/* OpenSSL's error queue must not be found by somebody else. */
static int refused(void)
{
	ERR_clear_error();
	return -ENOTSUP;
}

int digest_of(enum digest_kind kind, const void *data, size_t size, uint8_t *out)
{
	return EVP_Digest(data, size, out, NULL, algorithm_of(kind), NULL) == 1 ? 0 : refused();
}

struct digest *digest_new(enum digest_kind kind)
{
	_cleanup_(digest_freep) struct digest *digest = calloc(1, sizeof(*digest));

	if (!digest)
		return NULL;
	digest->algorithm = algorithm_of(kind);
	digest->context = EVP_MD_CTX_new();
	if (!digest->context) {
		errno = ENOMEM;
		return NULL;
	}
	if (digest_reset(digest) < 0) {
		errno = ENOTSUP;
		return NULL;
	}
	return TAKE_PTR(digest);
}

void digest_free(struct digest *digest)
{
	if (!digest)
		return;
	EVP_MD_CTX_free(digest->context);
	free(digest);
}

int digest_reset(struct digest *digest)
{
	return EVP_DigestInit_ex(digest->context, digest->algorithm, NULL) == 1 ? 0 : refused();
}

int digest_update(struct digest *digest, const void *data, size_t size)
{
	return EVP_DigestUpdate(digest->context, data, size) == 1 ? 0 : refused();
}

int digest_finish(struct digest *digest, uint8_t *out)
{
	return EVP_DigestFinal_ex(digest->context, out, NULL) == 1 ? 0 : refused();
}

static int add_file(struct digest *digest, int fd, uint64_t offset, uint64_t size,
		    struct error *err)
{
	_cleanup_free_ char *chunk = malloc(CHUNK_BYTES);
	uint64_t done = 0;

	if (!chunk)
		return error_errno(err, -ENOMEM, "compute a checksum");
	while (done < size) {
		size_t wanted = size - done < CHUNK_BYTES ? (size_t)(size - done) : CHUNK_BYTES;
		ssize_t n = pread(fd, chunk, wanted, (off_t)(offset + done));
		int r;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_errno(err, -errno, "read");
		if (n == 0)
			return error_set(err, -ESTALE,
					 "the file became shorter: it has %llu of %llu bytes",
					 (unsigned long long)done, (unsigned long long)size);
		r = digest_update(digest, chunk, (size_t)n);
		if (r < 0)
			return error_errno(err, r, "compute a checksum");
		done += (uint64_t)n;
	}
	return 0;
}

int digest_of_file(enum digest_kind kind, int fd, uint64_t offset, uint64_t size, uint8_t *out,
		   struct error *err)
{
	_cleanup_(digest_freep) struct digest *digest = digest_new(kind);
	int r;

	if (!digest)
		return error_errno(err, -errno, "compute a checksum");
	r = add_file(digest, fd, offset, size, err);
	if (r < 0)
		return r;
	r = digest_finish(digest, out);
	return r < 0 ? error_errno(err, r, "compute a checksum") : 0;
}

static int hmac(const EVP_MD *algorithm, const void *key, size_t key_size, const void *data,
		size_t size, uint8_t *out)
{
	if (key_size > INT_MAX)
		return -EINVAL;
	/* OpenSSL takes a NULL key for "the key of the last call". */
	return HMAC(algorithm, key ? key : "", (int)key_size, data, size, out, NULL) ? 0 :
										       refused();
}

int digest_hmac_sha256(const void *key, size_t key_size, const void *data, size_t size,
		       uint8_t out[DIGEST_SHA256_BYTES])
{
	return hmac(EVP_sha256(), key, key_size, data, size, out);
}

int digest_hmac_sha1(const void *key, size_t key_size, const void *data, size_t size,
		     uint8_t out[DIGEST_SHA1_BYTES])
{
	return hmac(EVP_sha1(), key, key_size, data, size, out);
}

const char *digest_hex(const uint8_t *data, size_t size, char *out)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < size; i++) {
		out[2 * i] = digits[data[i] >> 4];
		out[2 * i + 1] = digits[data[i] & 15];
	}
	out[2 * size] = '\0';
	return out;
}

int digest_base64_encode(const void *data, size_t size, struct buffer *out)
{
	size_t encoded = (size + 2) / 3 * 4;
	char *room;

	if (size > INT_MAX / 2)
		return -EMSGSIZE;
	if (out->size > out->max || encoded > out->max - out->size)
		return -EMSGSIZE;
	room = buffer_reserve(out, encoded);
	if (!room)
		return -ENOMEM;
	EVP_EncodeBlock((unsigned char *)room, data, (int)size);
	out->size += encoded;
	return 0;
}

static int value_of(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Up to four digits as up to three bytes. */
static int flush_group(uint32_t bits, int digits, struct buffer *out)
{
	const uint8_t bytes[3] = { (uint8_t)(bits >> 16), (uint8_t)(bits >> 8), (uint8_t)bits };

	return buffer_append(out, bytes, (size_t)digits - 1);
}

static int decode(const char *text, size_t size, struct buffer *out)
{
	uint32_t bits = 0;
	int digits = 0, padding = 0, r;

	for (size_t i = 0; i < size; i++) {
		int value = value_of(text[i]);

		if (text[i] == ' ' || text[i] == '\t' || text[i] == '\r' || text[i] == '\n')
			continue;
		if (text[i] == '=') {
			padding++;
			continue;
		}
		if (value < 0 || padding > 0)
			return -EINVAL;
		bits |= (uint32_t)value << (18 - 6 * digits++);
		if (digits < 4)
			continue;
		r = flush_group(bits, digits, out);
		if (r < 0)
			return r;
		bits = 0;
		digits = 0;
	}
	if (digits == 1 || padding != (digits ? 4 - digits : 0))
		return -EINVAL;
	return digits ? flush_group(bits, digits, out) : 0;
}

int digest_base64_decode(const char *text, size_t size, struct buffer *out)
{
	size_t before = out->size;
	int r = decode(text, size, out);

	if (r < 0 && out->data) {
		out->size = before;
		out->data[before] = '\0';
	}
	return r;
}
