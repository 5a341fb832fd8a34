#include "signal/control_secret.h"

#include "executor/base/buffer.h"
#include "executor/base/fd.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <string.h>
#include <strings.h>

#define BLANKS " \t\r\n"

bool control_file_has_changed(struct control_file *file)
{
	struct stat now;
	bool is_same;

	if (stat(file->path, &now) < 0)
		memset(&now, 0, sizeof(now));
	is_same = now.st_dev == file->seen.st_dev && now.st_ino == file->seen.st_ino &&
		  now.st_size == file->seen.st_size &&
		  now.st_mtim.tv_sec == file->seen.st_mtim.tv_sec &&
		  now.st_mtim.tv_nsec == file->seen.st_mtim.tv_nsec;
	file->seen = now;
	return !is_same;
}

static int check_token(const char *text, size_t size, struct error *err)
{
	if (size < CONTROL_TOKEN_BYTES_MIN || size > CONTROL_TOKEN_BYTES_MAX)
		return error_set(err, -EINVAL, "a token has %d to %d bytes, this one %zu",
				 CONTROL_TOKEN_BYTES_MIN, CONTROL_TOKEN_BYTES_MAX, size);
	for (size_t i = 0; i < size; i++)
		if (text[i] <= ' ' || text[i] > '~')
			return error_set(err, -EINVAL,
					 "the token has a character that no header can carry");
	return 0;
}

static int read_token(struct control_token *token, struct error *err)
{
	_cleanup_buffer_ struct buffer text = BUFFER_SECRET(2 * CONTROL_TOKEN_BYTES_MAX);
	const char *start;
	size_t size;
	int r;

	token->is_usable = false;
	r = file_read(token->file.path, &text, err);
	if (r == 0) {
		start = buffer_string(&text) + strspn(buffer_string(&text), BLANKS);
		size = text.size - (size_t)(start - buffer_string(&text));
		while (size > 0 && strchr(BLANKS, start[size - 1]))
			size--;
		r = check_token(start, size, err);
		if (r < 0)
			error_prefix(err, r, "%s", token->file.path);
		else if (digest_of(DIGEST_SHA256, start, size, token->digest) < 0)
			r = error_set(err, -ENOMEM, "out of memory");
	}
	token->is_usable = r == 0;
	return r;
}

int control_token_open(struct control_token *token, const char *path, const char *variable,
		       struct error *err)
{
	int r;

	*token = (struct control_token){ .file.path = path };
	control_file_has_changed(&token->file);
	r = read_token(token, err);
	return r < 0 ? error_prefix(err, r, "%s", variable) : 0;
}

bool control_token_accepts(struct control_token *token, const char *authorization,
			   const struct log *log)
{
	static const char scheme[] = "Bearer ";
	uint8_t digest[DIGEST_SHA256_BYTES];
	struct error err = ERROR_NONE;
	size_t size;

	if (control_file_has_changed(&token->file)) {
		if (read_token(token, &err) < 0)
			log_error(log, "The control token is unusable: nobody can connect",
				  log_error_field(&err));
		else
			log_info(log, "The control token was replaced",
				 log_string("path", token->file.path));
	}
	if (!token->is_usable || strncasecmp(authorization, scheme, sizeof(scheme) - 1) != 0)
		return false;
	authorization += sizeof(scheme) - 1;
	authorization += strspn(authorization, " ");
	size = strlen(authorization);
	while (size > 0 && strchr(BLANKS, authorization[size - 1]))
		size--;
	/* Digests are of one length, and what they differ in says nothing of the token. */
	return digest_of(DIGEST_SHA256, authorization, size, digest) == 0 &&
	       CRYPTO_memcmp(digest, token->digest, sizeof(digest)) == 0;
}
