#include "executor/artifact/s3/config.h"
#include "executor/artifact/store.h"
#include "executor/base/fd.h"
#include "executor/base/path.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static char secrets[] = "/tmp/test_s3_config.XXXXXX";

static void put_secret(const char *key, const char *value)
{
	char path[256];
	struct error err = ERROR_NONE;

	snprintf(path, sizeof(path), "%s/cred/%s", secrets, key);
	if (path_make_parents(path, 0700, &err) < 0 ||
	    file_replace(path, value, strlen(value), 0600, &err) < 0)
		fail_msg("%s", err.message);
}

static int set_up(void **state)
{
	(void)state;
	assert_non_null(mkdtemp(secrets));
	put_secret("ak", "AKEY\n");
	put_secret("sk", "secret key \r\n");
	put_secret("empty", "\n");
	put_secret("odd", "a\nb");
	put_secret("ca", "# comment\n-----BEGIN CERTIFICATE-----\nMII\n");
	put_secret("junk", "no certificate here");
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	return path_remove_tree(secrets, NULL);
}

#define REFERENCE(field, key) "\"" field "\":{\"name\":\"cred\",\"key\":\"" key "\"}"
#define KEYS REFERENCE("accessKeySecret", "ak") "," REFERENCE("secretKeySecret", "sk")
#define PLACE "\"endpoint\":\"minio:9000\",\"bucket\":\"my-bucket\",\"key\":\"a/b\""
#define GOOD PLACE "," KEYS

static int parse(struct s3_config *config, const char *text, struct error *err)
{
	const struct store_context context = { .secret_directory = secrets };
	_cleanup_json_ struct json_object *location = NULL;

	if (json_parse(text, strlen(text), "location", &location, err) < 0)
		fail_msg("%s", err->message);
	return s3_config_parse(config, location, &context, err);
}

static void accept(struct s3_config *config, const char *text)
{
	struct error err = ERROR_NONE;

	if (parse(config, text, &err) < 0)
		fail_msg("%s", err.message);
}

static void refuse(const char *text, const char *expected)
{
	struct error err = ERROR_NONE;
	struct s3_config config;

	if (parse(&config, text, &err) == 0)
		fail_msg("accepted: %s", text);
	assert_int_equal(err.class, ERROR_PERMANENT);
	if (!strstr(err.message, expected))
		fail_msg("'%s' is not in '%s'", expected, err.message);
	assert_null(strstr(err.message, "secret key "));
	assert_null(config.host);
}

static void test_whole(void **state)
{
	struct s3_config config;

	(void)state;
	accept(&config,
	       "{" GOOD ",\"region\":\"eu-west-1\",\"addressingStyle\":\"path\","
	       "\"createBucketIfNotPresent\":{\"objectLocking\":true},"
	       "\"encryptionOptions\":{\"enableEncryption\":false},\"unknown\":[1]," REFERENCE(
		       "sessionTokenSecret", "ak") "," REFERENCE("caSecret", "ca") "}");
	assert_string_equal(config.host, "minio:9000");
	assert_string_equal(config.bucket, "my-bucket");
	assert_string_equal(config.key, "a/b");
	assert_string_equal(config.region, "eu-west-1");
	assert_string_equal(config.keys.access_key, "AKEY");
	assert_string_equal(config.keys.secret_key, "secret key");
	assert_string_equal(config.keys.token, "AKEY");
	assert_int_equal(config.addressing, S3_ADDRESSING_PATH);
	assert_int_equal(config.ca_pem_size, 42);
	assert_false(config.is_insecure);
	assert_true(config.want_bucket);
	assert_true(config.want_object_locking);
	s3_config_done(&config);
}

static void test_defaults(void **state)
{
	struct s3_config config;

	(void)state;
	accept(&config, "{" GOOD ",\"addressingStyle\":\"auto\",\"sessionTokenSecret\":{\"name\":"
			"\"\"},\"insecure\":true," REFERENCE("caSecret", "junk") "}");
	assert_string_equal(config.region, "");
	assert_int_equal(config.addressing, S3_ADDRESSING_AUTO);
	assert_null(config.keys.token);
	assert_null(config.ca_pem);
	assert_true(config.is_insecure);
	assert_false(config.want_bucket);
	s3_config_done(&config);
	accept(&config, "{" GOOD ",\"createBucketIfNotPresent\":{},\"addressingStyle\":"
			"\"virtual-hosted\"}");
	assert_true(config.want_bucket);
	assert_false(config.want_object_locking);
	assert_int_equal(config.addressing, S3_ADDRESSING_VIRTUAL);
	s3_config_done(&config);
}

static void check_endpoint(const char *endpoint, bool is_insecure, const char *host)
{
	struct s3_config config;
	char text[512];

	snprintf(text, sizeof(text), "{\"endpoint\":\"%s\",\"insecure\":%s,\"bucket\":\"bbb\",%s}",
		 endpoint, is_insecure ? "true" : "false", KEYS);
	if (!host) {
		refuse(text, "endpoint");
		return;
	}
	accept(&config, text);
	assert_string_equal(config.host, host);
	assert_int_equal(config.is_insecure, is_insecure);
	s3_config_done(&config);
}

static void test_endpoints(void **state)
{
	(void)state;
	check_endpoint("s3.amazonaws.com", false, "s3.amazonaws.com");
	check_endpoint("https://s3.amazonaws.com", false, "s3.amazonaws.com");
	check_endpoint("HTTP://minio:9000/", false, "minio:9000");
	check_endpoint("minio:443", false, "minio");
	check_endpoint("minio:80", false, "minio:80");
	check_endpoint("minio:80", true, "minio");
	check_endpoint("10.0.0.1:9000", true, "10.0.0.1:9000");
	check_endpoint("[fd00::1]:9000", true, "[fd00::1]:9000");
	check_endpoint("[::1]", true, "[::1]");
	check_endpoint("a_b.svc", true, "a_b.svc");

	check_endpoint("", false, NULL);
	check_endpoint("https://", false, NULL);
	check_endpoint("minio/path", false, NULL);
	check_endpoint("user@minio", false, NULL);
	check_endpoint("minio:port", false, NULL);
	check_endpoint("minio:0", false, NULL);
	check_endpoint("minio:99999", false, NULL);
	check_endpoint("minio:+90", false, NULL);
	check_endpoint("mi nio", false, NULL);
	check_endpoint("mi\\nnio", false, NULL);
	check_endpoint("[fd00::1", false, NULL);
	check_endpoint("[zz]", false, NULL);
	check_endpoint("-a", false, NULL);
}

static void test_buckets(void **state)
{
	static const char *const names[] = { "ab",
					     "a/b",
					     "-abc",
					     "abc-",
					     "a..b",
					     "a.-b",
					     "192.168.0.1",
					     "b\\u00e4r",
					     "a b c",
					     "01234567890123456789012345678901234567890123456789"
					     "01234567890123456789" };
	char text[512];

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(text, sizeof(text), "{\"endpoint\":\"h\",\"bucket\":\"%s\",%s}", names[i],
			 KEYS);
		refuse(text, "bucket '");
	}
	refuse("{\"endpoint\":\"h\"," KEYS "}", "bucket: is required");
}

static void test_types(void **state)
{
	(void)state;
	refuse("{\"endpoint\":7," KEYS "}", "endpoint: expected a string, found number");
	refuse("{" GOOD ",\"insecure\":\"yes\"}", "insecure: expected true or false, found string");
	refuse("{" GOOD ",\"region\":[]}", "region: expected a string, found array");
	refuse("{" PLACE ",\"accessKeySecret\":\"ak\"}",
	       "accessKeySecret: expected an object with name and key, found string");
	refuse("{\"endpoint\":\"h\",\"bucket\":\"b\\u0000bb\"," KEYS "}",
	       "bucket: contains a zero");
	refuse("[]", "s3: expected an object, found array");
	refuse("{" GOOD ",\"createBucketIfNotPresent\":{\"objectLocking\":3}}",
	       "createBucketIfNotPresent: objectLocking: expected true or false");
}

static void check_keys_from(const char *fields, enum s3_keys from, const char *role)
{
	struct s3_config config;
	char text[512];

	snprintf(text, sizeof(text), "{%s%s}", PLACE, fields);
	accept(&config, text);
	assert_int_equal(config.keys_from, from);
	assert_string_equal(config.role_arn, role);
	s3_config_done(&config);
}

static void test_credentials(void **state)
{
	static const char half[] = "accessKeySecret and secretKeySecret belong together";

	(void)state;
	check_keys_from("", S3_KEYS_IAM, "");
	check_keys_from(",\"useSDKCreds\":false,\"roleARN\":\"\"", S3_KEYS_IAM, "");
	check_keys_from(",\"useSDKCreds\":true", S3_KEYS_SDK, "");
	check_keys_from(",\"roleARN\":\"arn:aws:iam::1:role/r\"", S3_KEYS_SDK,
			"arn:aws:iam::1:role/r");
	check_keys_from("," KEYS ",\"roleARN\":\"r\",\"useSDKCreds\":true", S3_KEYS_STATIC, "r");
	refuse("{" PLACE ",\"useSDKCreds\":1}", "useSDKCreds: expected true or false");
	refuse("{" PLACE "," REFERENCE("accessKeySecret", "ak") "}", half);
	refuse("{" PLACE "," REFERENCE("secretKeySecret", "sk") "}", half);
	refuse("{" PLACE
	       "," REFERENCE("accessKeySecret", "ak") "," REFERENCE("secretKeySecret", "empty") "}",
	       half);
	refuse("{" PLACE
	       "," REFERENCE("accessKeySecret", "odd") "," REFERENCE("secretKeySecret", "sk") "}",
	       "control characters");
	refuse("{" PLACE "," REFERENCE("accessKeySecret", "nope") "}",
	       "s3: accessKeySecret: secret 'cred' has no key 'nope'");
	refuse("{" PLACE "," REFERENCE("accessKeySecret", "../cred/ak") "}", "plain names");
	refuse("{" PLACE "," REFERENCE("accessKeySecret", "..") "}", "plain names");
	refuse("{" PLACE ",\"accessKeySecret\":{\"name\":\"..\",\"key\":\"x\"}}", "plain names");
	refuse("{" PLACE ",\"accessKeySecret\":{\"name\":\"cred\"}}", "plain names");
}

static void test_options(void **state)
{
	(void)state;
	refuse("{" GOOD "," REFERENCE("caSecret", "junk") "}", "caSecret contains no certificate");
	refuse("{" GOOD "," REFERENCE("caSecret", "nope") "}", "caSecret: secret 'cred'");
}

#define ENCRYPTED(fields) "\"encryptionOptions\":{\"enableEncryption\":true" fields "}"

static void test_encryption(void **state)
{
	struct s3_config config;

	(void)state;
	accept(&config, "{" GOOD "," ENCRYPTED("") "}");
	assert_int_equal(config.sse.kind, S3_SSE_S3);
	s3_config_done(&config);
	accept(&config, "{" GOOD "," ENCRYPTED(",\"kmsKeyId\":\"k\",\"kmsEncryptionContext\":\"{ "
					       "\\\"a\\\": \\\"b\\\" }\"") "}");
	assert_int_equal(config.sse.kind, S3_SSE_KMS);
	assert_string_equal(config.sse.kms_key, "k");
	assert_string_equal(config.sse.kms_context, "eyJhIjoiYiJ9"); /* {"a":"b"} */
	s3_config_done(&config);
	accept(&config,
	       "{" GOOD "," ENCRYPTED("," REFERENCE("serverSideCustomerKeySecret", "sk")) "}");
	assert_int_equal(config.sse.kind, S3_SSE_CUSTOMER);
	s3_config_done(&config);
	refuse("{" GOOD "," ENCRYPTED(
		       ",\"kmsKeyId\":\"k\"," REFERENCE("serverSideCustomerKeySecret", "sk")) "}",
	       "serverSideCustomerKeySecret and kmsKeyId cannot be set together");
	refuse("{" GOOD ",\"insecure\":true," ENCRYPTED(
		       "," REFERENCE("serverSideCustomerKeySecret", "sk")) "}",
	       "secure must be set if EncryptOpts.SSECPassword is set");
	refuse("{" GOOD "," ENCRYPTED(",\"kmsKeyId\":\"k\",\"kmsEncryptionContext\":\"{\"") "}",
	       "failed to parse KMS encryption context: failed to marshal KMS encryption context");
	refuse("{" GOOD "," ENCRYPTED(",\"kmsKeyId\":\"k\",\"kmsEncryptionContext\":\"[]\"") "}",
	       "expected an object, found array");
	refuse("{" GOOD ",\"encryptionOptions\":1}", "encryptionOptions: expected an object");
}

/* Against an implementation of its own: golang.org/x/crypto's argon2.IDKey, which MinIO's client uses. */
static void test_customer_key(void **state)
{
	char password[] = "32byteslongsecretkeymustprovided";
	const struct s3_sse sse = { .kind = S3_SSE_CUSTOMER,
				    .password = password,
				    .password_size = sizeof(password) - 1 };
	struct s3_sse_key key;
	struct error err = ERROR_NONE;

	(void)state;
	assert_int_equal(s3_sse_derive(&sse, "my-bucket", "a/b", &key, &err), 0);
	assert_string_equal(key.key, "c9EX+/NV2z55rlGvp3QVuxo8qEQRwvL5o+BPuVw2hXY=");
	assert_string_equal(key.md5, "PLxI+N7dWMCjhLbaTEgwDg==");
	assert_int_equal(s3_sse_derive(&sse, "bbb", "a", &key, &err), -EINVAL);
	assert_non_null(strstr(err.message, "less than 8 bytes"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole),      cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_endpoints),  cmocka_unit_test(test_buckets),
		cmocka_unit_test(test_types),      cmocka_unit_test(test_credentials),
		cmocka_unit_test(test_encryption), cmocka_unit_test(test_customer_key),
		cmocka_unit_test(test_options),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
