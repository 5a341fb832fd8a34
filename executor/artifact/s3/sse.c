#include "executor/artifact/s3/sse.h"

#include "executor/artifact/object/field.h"
#include "executor/artifact/secret.h"

#include <argon2.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ARGON2_PASSES 1
#define ARGON2_KIB (64 * 1024)
#define ARGON2_LANES 4
#define SALT_MIN 8 /* RFC 9106, 3.1 has it so, and the library insists */
#define SALT_MAX 2048
#define CONTEXT_MAX (16 * 1024)

void s3_sse_done(struct s3_sse *sse)
{
	free(sse->kms_key);
	free(sse->kms_context);
	secret_free(sse->password, sse->password_size);
	*sse = (struct s3_sse){ 0 };
}

/* Argo encodes the text twice, which no server understands; this is what the S3 API asks for. */
static int parse_context(struct s3_sse *sse, struct json_object *options, struct error *err)
{
	const char *text = json_get_string(options, "kmsEncryptionContext", "");
	_cleanup_json_ struct json_object *context = NULL;
	_cleanup_buffer_ struct buffer compact = BUFFER_INIT(CONTEXT_MAX);
	struct buffer encoded = BUFFER_INIT(2 * CONTEXT_MAX);
	int r;

	if (*text == '\0')
		return 0;
	r = json_parse(text, strlen(text), "kmsEncryptionContext", &context, err);
	if (r == 0 && !json_is_object(context))
		r = error_set(err, -EINVAL, "expected an object, found %s",
			      json_kind_name(context));
	if (r == 0)
		r = json_print(context, &compact, err);
	if (r < 0)
		return error_prefix(err, r,
				    "failed to parse KMS encryption context: failed to marshal KMS "
				    "encryption context");
	r = digest_base64_encode(compact.data, compact.size, &encoded);
	sse->kms_context = buffer_take(&encoded);
	return r < 0 ? error_errno(err, r, "kmsEncryptionContext") : 0;
}

static int parse(struct s3_sse *sse, struct json_object *options, bool is_insecure,
		 const struct store_context *context, struct error *err)
{
	int r = field_copy(options, "kmsKeyId", &sse->kms_key, err);

	if (r == 0)
		r = secret_read(context, options, "serverSideCustomerKeySecret", false,
				&sse->password, &sse->password_size, err);
	if (r == 0)
		r = parse_context(sse, options, err);
	if (r < 0)
		return r;
	if (sse->password && *sse->kms_key)
		return error_set(err, -EINVAL,
				 "serverSideCustomerKeySecret and kmsKeyId cannot be set together");
	if (field_has_control(sse->kms_key))
		return error_set(err, -EINVAL, "kmsKeyId contains control characters");
	if (sse->password && is_insecure)
		return error_set(err, -EINVAL,
				 "secure must be set if EncryptOpts.SSECPassword is set: a "
				 "serverSideCustomerKeySecret cannot be sent over http");
	if (sse->password && sse->password_size == 0)
		return error_set(err, -EINVAL, "serverSideCustomerKeySecret: the secret is empty");
	sse->kind = sse->password ? S3_SSE_CUSTOMER : *sse->kms_key ? S3_SSE_KMS : S3_SSE_S3;
	return 0;
}

int s3_sse_parse(struct s3_sse *sse, struct json_object *options, bool is_insecure,
		 const struct store_context *context, struct error *err)
{
	bool is_enabled = false;
	int r;

	*sse = (struct s3_sse){ 0 };
	if (options && !json_is_object(options))
		return error_set(err, -EINVAL, "encryptionOptions: expected an object, found %s",
				 json_kind_name(options));
	r = field_bool(options, "enableEncryption", &is_enabled, err);
	if (r == 0 && is_enabled)
		r = parse(sse, options, is_insecure, context, err);
	if (r < 0) {
		s3_sse_done(sse);
		return error_prefix(err, r, "encryptionOptions");
	}
	return 0;
}

static int encode(const uint8_t *data, size_t size, char *text, size_t text_size)
{
	_cleanup_buffer_ struct buffer out = BUFFER_INIT(64);
	int r = digest_base64_encode(data, size, &out);

	if (r == 0 && out.size >= text_size)
		r = -EMSGSIZE;
	if (r == 0)
		memcpy(text, out.data, out.size + 1);
	if (out.data)
		explicit_bzero(out.data, out.size);
	return r;
}

static int derive(const struct s3_sse *sse, const char *salt, size_t salt_size,
		  uint8_t key[S3_SSE_KEY_BYTES])
{
	/* One thread: the loop's, which waits for it. */
	argon2_context context = {
		.out = key,
		.outlen = S3_SSE_KEY_BYTES,
		.pwd = (uint8_t *)sse->password,
		.pwdlen = (uint32_t)sse->password_size,
		.salt = (uint8_t *)salt,
		.saltlen = (uint32_t)salt_size,
		.t_cost = ARGON2_PASSES,
		.m_cost = ARGON2_KIB,
		.lanes = ARGON2_LANES,
		.threads = 1,
		.version = ARGON2_VERSION_13,
	};
	int result = argon2id_ctx(&context);

	return result == ARGON2_OK                      ? 0 :
	       result == ARGON2_MEMORY_ALLOCATION_ERROR ? -ENOMEM :
							  -EINVAL;
}

int s3_sse_derive(const struct s3_sse *sse, const char *bucket, const char *key,
		  struct s3_sse_key *ret, struct error *err)
{
	_cleanup_buffer_ struct buffer salt = BUFFER_INIT(SALT_MAX);
	uint8_t bytes[S3_SSE_KEY_BYTES], md5[DIGEST_MD5_BYTES];
	int r = buffer_append_format(&salt, "%s%s", bucket, key);

	if (salt.size < SALT_MIN)
		return error_set(err, -EINVAL,
				 "server side encryption: '%s' and '%s' are less than %d bytes "
				 "together, no key can be made of them",
				 bucket, key, SALT_MIN);
	if (r == 0)
		r = derive(sse, salt.data, salt.size, bytes);
	if (r == 0)
		r = digest_of(DIGEST_MD5, bytes, sizeof(bytes), md5);
	if (r == 0)
		r = encode(bytes, sizeof(bytes), ret->key, sizeof(ret->key));
	if (r == 0)
		r = encode(md5, sizeof(md5), ret->md5, sizeof(ret->md5));
	explicit_bzero(bytes, sizeof(bytes));
	return r < 0 ? error_errno(err, r, "derive the key for server side encryption") : 0;
}
