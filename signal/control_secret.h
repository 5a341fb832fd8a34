/*
 * What the TCP listener is given in files: a bearer token, a certificate chain and its key. Mounted
 * secrets are replaced while the pod runs, so a file is read again when it is another one than
 * before (a stat(2) for each look, no watch).
 *
 * A token that is gone or unusable lets nobody in; a key pair that is unusable leaves the one before
 * in force. Either is logged once for each change.
 */
#pragma once

#include "executor/base/error.h"
#include "executor/base/log.h"
#include "executor/http/digest.h"

#include <stdbool.h>
#include <sys/stat.h>

/* White space around the token does not count; within it only the visible characters of ASCII are
 * possible. The other limit is what the headers of a request have room for. */
#define CONTROL_TOKEN_BYTES_MIN 16
#define CONTROL_TOKEN_BYTES_MAX 2048
/* Each of the PEM files. */
#define CONTROL_PEM_BYTES_MAX (256 * 1024)

struct control_file {
	const char *path;
	struct stat seen; /* all zero: there was none */
};

struct control_token {
	struct control_file file;
	bool is_usable;
	uint8_t digest[DIGEST_SHA256_BYTES]; /* of the token, which itself is not kept */
};

/* Reads it for the first time; the message names `variable` and the file. */
int control_token_open(struct control_token *token, const char *path, const char *variable,
		       struct error *err);

/* True if `authorization`, the value of the header, is "Bearer <token>". Takes as long whatever the
 * difference is. Looks for a new file first. */
bool control_token_accepts(struct control_token *token, const char *authorization,
			   const struct log *log);

struct ssl_ctx_st; /* OpenSSL's SSL_CTX */
struct control_key_pair;

/* Reads and checks them. NULL with err filled, naming the variable and the file. `log` hears of later
 * trouble. */
struct control_key_pair *control_key_pair_new(const char *certificate, const char *key,
					      const struct log *log, struct error *err);
void control_key_pair_free(struct control_key_pair *pair);

/* Makes a server context use it, whichever it is at each handshake; TLS 1.2 at least. 0 or -EINVAL. */
int control_key_pair_use(struct control_key_pair *pair, struct ssl_ctx_st *context);

#define CONTROL_LISTEN_VARIABLE "ARGOEXEC_CONTROL_LISTEN"
#define CONTROL_TOKEN_VARIABLE "ARGOEXEC_CONTROL_TOKEN_FILE"
#define CONTROL_CERTIFICATE_VARIABLE "ARGOEXEC_CONTROL_TLS_CERT_FILE"
#define CONTROL_KEY_VARIABLE "ARGOEXEC_CONTROL_TLS_KEY_FILE"

/* True when the file is not the one of the last call, or of the first. */
bool control_file_has_changed(struct control_file *file);
