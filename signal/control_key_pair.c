/* Certificate and key of the TCP listener (control_secret.h). */
#include "executor/base/buffer.h"
#include "executor/base/fd.h"
#include "signal/control_secret.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>

/* What is sent to clients. */
struct identity {
	X509 *certificate;
	STACK_OF(X509) * chain;
	EVP_PKEY *key;
};

struct control_key_pair {
	struct control_file certificate_file, key_file;
	const struct log *log;
	struct identity identity;
};

static void identity_done(struct identity *identity)
{
	X509_free(identity->certificate);
	sk_X509_pop_free(identity->chain, X509_free);
	EVP_PKEY_free(identity->key);
	*identity = (struct identity){ NULL, NULL, NULL };
}

/* Nobody is there to be asked for a passphrase. */
static int no_passphrase(char *buffer, int size, int is_writing, void *context)
{
	(void)buffer;
	(void)size;
	(void)is_writing;
	(void)context;
	return -1;
}

static BIO *open_pem(const char *path, struct buffer *text, struct error *err)
{
	BIO *bio;

	if (file_read(path, text, err) < 0)
		return NULL;
	bio = BIO_new_mem_buf(buffer_string(text), (int)text->size);
	if (!bio)
		error_set(err, -ENOMEM, "out of memory");
	return bio;
}

static int read_chain(const char *path, struct identity *identity, struct error *err)
{
	_cleanup_buffer_ struct buffer text = BUFFER_INIT(CONTROL_PEM_BYTES_MAX);
	BIO *bio = open_pem(path, &text, err);
	X509 *next = NULL;

	if (!bio)
		return err->code;
	identity->certificate = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL);
	identity->chain = sk_X509_new_null();
	while (identity->chain && (next = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL))) {
		if (!sk_X509_push(identity->chain, next)) {
			X509_free(next);
			break;
		}
	}
	BIO_free(bio);
	/* The end of the file is an error of OpenSSL's, too. */
	ERR_clear_error();
	return identity->certificate && identity->chain ?
		       0 :
		       error_set(err, -EINVAL, "%s: no certificate in PEM", path);
}

static int read_key(const char *path, struct identity *identity, struct error *err)
{
	_cleanup_buffer_ struct buffer text = BUFFER_SECRET(CONTROL_PEM_BYTES_MAX);
	BIO *bio = open_pem(path, &text, err);

	if (!bio)
		return err->code;
	identity->key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
	BIO_free(bio);
	ERR_clear_error();
	return identity->key ?
		       0 :
		       error_set(err, -EINVAL, "%s: no private key in PEM that needs no passphrase",
				 path);
}

/* As a handshake will: do they belong together, are they strong enough? */
static int try_identity(const struct identity *identity, const char *path, struct error *err)
{
	SSL_CTX *context = SSL_CTX_new(TLS_server_method());
	int is_good = context && SSL_CTX_use_cert_and_key(context, identity->certificate,
							  identity->key, identity->chain, 1) == 1;
	const char *reason = is_good ? NULL : ERR_reason_error_string(ERR_peek_last_error());

	if (!is_good)
		error_set(err, -EINVAL, "%s: not a usable pair with its certificate: %s", path,
			  reason ? reason : "unknown reason");
	ERR_clear_error();
	SSL_CTX_free(context);
	return is_good ? 0 : -EINVAL;
}

/* pair->identity changes only if everything is right. */
static int load(struct control_key_pair *pair, struct error *err)
{
	struct identity identity = { NULL, NULL, NULL };
	int r = read_chain(pair->certificate_file.path, &identity, err);

	if (r < 0) {
		error_prefix(err, r, CONTROL_CERTIFICATE_VARIABLE);
	} else {
		r = read_key(pair->key_file.path, &identity, err);
		if (r == 0)
			r = try_identity(&identity, pair->key_file.path, err);
		if (r < 0)
			error_prefix(err, r, CONTROL_KEY_VARIABLE);
	}
	if (r < 0) {
		identity_done(&identity);
		return r;
	}
	identity_done(&pair->identity);
	pair->identity = identity;
	return 0;
}

static bool has_changed(struct control_key_pair *pair)
{
	bool has_new_certificate = control_file_has_changed(&pair->certificate_file);
	bool has_new_key = control_file_has_changed(&pair->key_file);

	return has_new_certificate || has_new_key;
}

/* At the start of each handshake. */
static int on_handshake(SSL *ssl, void *context)
{
	struct control_key_pair *pair = context;
	struct error err = ERROR_NONE;

	if (has_changed(pair)) {
		if (load(pair, &err) < 0)
			log_error(pair->log,
				  "The new control certificate is unusable: the old one stays",
				  log_error_field(&err));
		else
			log_info(pair->log, "The control certificate was replaced",
				 log_string("path", pair->certificate_file.path));
	}
	return SSL_use_cert_and_key(ssl, pair->identity.certificate, pair->identity.key,
				    pair->identity.chain, 1);
}

struct control_key_pair *control_key_pair_new(const char *certificate, const char *key,
					      const struct log *log, struct error *err)
{
	struct control_key_pair *pair = calloc(1, sizeof(*pair));

	if (!pair) {
		error_set(err, -ENOMEM, "out of memory");
		return NULL;
	}
	pair->certificate_file.path = certificate;
	pair->key_file.path = key;
	pair->log = log;
	has_changed(pair);
	if (load(pair, err) == 0)
		return pair;
	control_key_pair_free(pair);
	return NULL;
}

void control_key_pair_free(struct control_key_pair *pair)
{
	if (!pair)
		return;
	identity_done(&pair->identity);
	free(pair);
}

int control_key_pair_use(struct control_key_pair *pair, struct ssl_ctx_st *context)
{
	if (SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) != 1)
		return -EINVAL;
	/* A handshake is what costs us most: one for each connection, no more. */
	SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION);
	SSL_CTX_set_cert_cb(context, on_handshake, pair);
	return 0;
}
