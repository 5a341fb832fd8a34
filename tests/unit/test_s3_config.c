#include "executor/artifact/s3/config.h"
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
	_cleanup_json_ struct json_object *location = NULL;

	if (json_parse(text, strlen(text), "location", &location, err) < 0)
		fail_msg("%s", err->message);
	return s3_config_parse(config, location, secrets, err);
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
	assert_string_equal(config.credentials.access_key, "AKEY");
	assert_string_equal(config.credentials.secret_key, "secret key");
	assert_string_equal(config.credentials.session_token, "AKEY");
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
	assert_null(config.credentials.session_token);
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

static void test_credentials(void **state)
{
	static const char none[] =
		"no static credentials: accessKeySecret and secretKeySecret are required";

	(void)state;
	refuse("{" PLACE "}", none);
	refuse("{" PLACE "," REFERENCE("accessKeySecret", "ak") "}", none);
	refuse("{" PLACE "," REFERENCE("secretKeySecret", "sk") "}", none);
	refuse("{" PLACE ",\"useSDKCreds\":true}", "roleARN and useSDKCreds are not supported");
	refuse("{" PLACE
	       "," REFERENCE("accessKeySecret", "ak") "," REFERENCE("secretKeySecret", "empty") "}",
	       none);
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
	refuse("{" GOOD ",\"encryptionOptions\":{\"enableEncryption\":true}}",
	       "encryptionOptions: enableEncryption");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole),     cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_endpoints), cmocka_unit_test(test_buckets),
		cmocka_unit_test(test_types),     cmocka_unit_test(test_credentials),
		cmocka_unit_test(test_options),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
