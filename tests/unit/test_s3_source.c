/* Which source of access keys is used, and what STS is asked. */
#include "executor/artifact/s3/source.h"
#include "executor/artifact/s3/sts.h"
#include "tests/unit/scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *const variables[] = {
	"AWS_PROFILE",
	"AWS_DEFAULT_PROFILE",
	"AWS_ACCESS_KEY_ID",
	"AWS_ACCESS_KEY",
	"AWS_SECRET_ACCESS_KEY",
	"AWS_SECRET_KEY",
	"AWS_SESSION_TOKEN",
	"AWS_WEB_IDENTITY_TOKEN_FILE",
	"AWS_ROLE_ARN",
	"AWS_ROLE_SESSION_NAME",
	"AWS_CONFIG_FILE",
	"AWS_SHARED_CREDENTIALS_FILE",
	"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
	"AWS_CONTAINER_CREDENTIALS_FULL_URI",
	"AWS_CONTAINER_AUTHORIZATION_TOKEN",
	"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
	"AWS_EC2_METADATA_DISABLED",
	"AWS_REGION",
	"AWS_DEFAULT_REGION",
	"AWS_ENDPOINT_URL",
	"AWS_ENDPOINT_URL_STS",
};

static int clean(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++)
		unsetenv(variables[i]);
	setenv("HOME", scratch_path("nobody"), 1);
	return 0;
}

static void find_for(struct s3_source *source, const struct s3_wish *wish, enum s3_source_kind kind)
{
	struct error err = ERROR_NONE;

	if (s3_source_find(source, &(struct store_context){ 0 }, wish, &err) < 0)
		fail_msg("%s", err.message);
	assert_int_equal(source->kind, kind);
}

static void find(struct s3_source *source, enum s3_chain_kind chain, enum s3_source_kind kind)
{
	find_for(source, &(struct s3_wish){ chain, "", "" }, kind);
}

static void refuse(enum s3_chain_kind chain, const char *expected)
{
	struct s3_source source;
	struct error err = ERROR_NONE;

	assert_true(s3_source_find(&source, &(struct store_context){ 0 },
				   &(struct s3_wish){ chain, "", "" }, &err) < 0);
	if (!strstr(err.message, expected))
		fail_msg("'%s' is not in '%s'", expected, err.message);
}

/* Each source is put before those that were there already. The other chain sees none of the first three. */
static void test_order(void **state)
{
	struct s3_source source;

	(void)state;
	find(&source, S3_CHAIN_SDK, S3_SOURCE_METADATA);
	s3_source_done(&source);
	setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:1/x", 1);
	find(&source, S3_CHAIN_SDK, S3_SOURCE_CONTAINER);
	assert_string_equal(source.url, "http://127.0.0.1:1/x");
	s3_source_done(&source);
	setenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/keys", 1);
	find(&source, S3_CHAIN_SDK, S3_SOURCE_CONTAINER);
	assert_string_equal(source.url, "http://169.254.170.2/v2/keys");
	s3_source_done(&source);

	setenv("AWS_SHARED_CREDENTIALS_FILE", scratch_path("credentials"), 1);
	scratch_write("credentials", "[default]\naws_access_key_id=D\naws_secret_access_key=s\n"
				     "[p]\naws_access_key_id=P\naws_secret_access_key=s\n");
	find(&source, S3_CHAIN_SDK, S3_SOURCE_KEYS);
	assert_string_equal(source.keys.access_key, "D");
	s3_source_done(&source);
	find(&source, S3_CHAIN_IAM, S3_SOURCE_CONTAINER);
	s3_source_done(&source);

	setenv("AWS_WEB_IDENTITY_TOKEN_FILE", "/token", 1);
	refuse(S3_CHAIN_SDK, "AWS_ROLE_ARN is not");
	setenv("AWS_ROLE_ARN", "arn", 1);
	find(&source, S3_CHAIN_SDK, S3_SOURCE_WEB_IDENTITY);
	s3_source_done(&source);
	find(&source, S3_CHAIN_IAM, S3_SOURCE_WEB_IDENTITY);
	assert_string_equal(source.token_file, "/token");
	s3_source_done(&source);

	setenv("AWS_ACCESS_KEY", "E", 1);
	setenv("AWS_SECRET_KEY", "s", 1);
	setenv("AWS_SESSION_TOKEN", "t", 1);
	find(&source, S3_CHAIN_SDK, S3_SOURCE_KEYS);
	assert_string_equal(source.keys.access_key, "E");
	assert_string_equal(source.keys.token, "t");
	s3_source_done(&source);
	find(&source, S3_CHAIN_IAM, S3_SOURCE_WEB_IDENTITY);
	s3_source_done(&source);

	setenv("AWS_PROFILE", "p", 1);
	find(&source, S3_CHAIN_SDK, S3_SOURCE_KEYS);
	assert_string_equal(source.keys.access_key, "P");
	s3_source_done(&source);
}

static void test_hosts_of_the_machine(void **state)
{
	static const char *const good[] = {
		"http://localhost/x",     "http://127.1.2.3:80/x",  "http://[::1]:1/x",
		"http://169.254.170.2/x", "http://169.254.170.23/", "http://[fd00:ec2::23]/v1/x",
		"https://example.com/x",
	};
	static const char *const bad[] = {
		"http://example.com/x",        "http://169.254.170.22/x", "http://127.0.0.1@evil/x",
		"http://127.0.0.1.evil.com/x", "http://[fd00:ec2::24]/x", "ftp://localhost/x",
	};
	struct s3_source source;

	(void)state;
	for (int chain = S3_CHAIN_SDK; chain <= S3_CHAIN_IAM; chain++) {
		for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
			setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", good[i], 1);
			find(&source, chain, S3_SOURCE_CONTAINER);
			s3_source_done(&source);
		}
		for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
			setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", bad[i], 1);
			refuse(chain, "neither https nor of this machine");
		}
	}
}

static void test_no_source(void **state)
{
	(void)state;
	setenv("AWS_EC2_METADATA_DISABLED", "true", 1);
	refuse(S3_CHAIN_SDK, "switched off");
	refuse(S3_CHAIN_IAM, "switched off");
}

static void check_sts(const char *region, const char *wished, const char *url)
{
	struct chain_request request = {
		.url = BUFFER_INIT(CHAIN_REQUEST_BYTES_MAX),
		.body = BUFFER_INIT(CHAIN_REQUEST_BYTES_MAX),
	};
	struct error err = ERROR_NONE;
	struct s3_source source;

	setenv("AWS_WEB_IDENTITY_TOKEN_FILE", scratch_path("token"), 1);
	setenv("AWS_ROLE_ARN", "arn:aws:iam::1:role/r", 1);
	setenv("AWS_ROLE_SESSION_NAME", "me", 1);
	setenv("AWS_REGION", region, 1);
	scratch_write("token", "a+b\n");
	find_for(&source, &(struct s3_wish){ S3_CHAIN_IAM, "", wished }, S3_SOURCE_WEB_IDENTITY);
	if (sts_assume_role_with_token(&source, &(struct store_context){ 0 }, &request, &err) < 0)
		fail_msg("%s", err.message);
	assert_string_equal(request.method, "POST");
	assert_string_equal(buffer_string(&request.url), url);
	assert_string_equal(buffer_string(&request.body),
			    "Action=AssumeRoleWithWebIdentity&Version=2011-06-15"
			    "&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fr&RoleSessionName=me"
			    "&WebIdentityToken=a%2Bb");
	object_request_done(&request.lines);
	buffer_done(&request.url);
	buffer_done(&request.body);
	s3_source_done(&source);
}

static void test_sts(void **state)
{
	(void)state;
	check_sts("", "", "https://sts.amazonaws.com/");
	check_sts("eu-west-1", "", "https://sts.eu-west-1.amazonaws.com/");
	check_sts("cn-north-1", "", "https://sts.cn-north-1.amazonaws.com.cn/");
	check_sts("eu-west-1", "eu-west-2", "https://sts.eu-west-2.amazonaws.com/");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_order, clean),
		cmocka_unit_test_setup(test_hosts_of_the_machine, clean),
		cmocka_unit_test_setup(test_no_source, clean),
		cmocka_unit_test_setup(test_sts, clean),
	};

	return cmocka_run_group_tests(tests, scratch_set_up, scratch_tear_down);
}
