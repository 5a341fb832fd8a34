#include "executor/artifact/oss/source.h"
#include "executor/artifact/oss/sts.h"
#include "tests/unit/scratch.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *const variables[] = {
	"ALIBABA_CLOUD_ACCESS_KEY_ID",
	"ALIBABA_CLOUD_ACCESS_KEY_SECRET",
	"ALIBABA_CLOUD_SECURITY_TOKEN",
	"ALIBABA_CLOUD_OIDC_TOKEN_FILE",
	"ALIBABA_CLOUD_ROLE_ARN",
	"ALIBABA_CLOUD_OIDC_PROVIDER_ARN",
	"ALIBABA_CLOUD_ROLE_SESSION_NAME",
	"ALIBABA_CLOUD_PROFILE",
	"ALIBABA_CLOUD_CONFIG_FILE",
	"ALIBABA_CLOUD_CLI_PROFILE_DISABLED",
	"ALIBABA_CLOUD_CREDENTIALS_FILE",
	"ALIBABA_CLOUD_ECS_METADATA",
	"ALIBABA_CLOUD_ECS_METADATA_DISABLED",
	"ALIBABA_CLOUD_CREDENTIALS_URI",
	"ALIBABA_CLOUD_STS_REGION",
	"ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED",
};

static int clean(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++)
		unsetenv(variables[i]);
	setenv("HOME", scratch_path(""), 1);
	return 0;
}

static void find(struct oss_source *source, enum oss_source_kind kind)
{
	struct error err = ERROR_NONE;

	if (oss_source_find(source, &(struct store_context){ 0 }, &err) < 0)
		fail_msg("%s", err.message);
	assert_int_equal(source->kind, kind);
}

static void refuse(const char *expected)
{
	struct oss_source source;
	struct error err = ERROR_NONE;

	assert_true(oss_source_find(&source, &(struct store_context){ 0 }, &err) < 0);
	if (!strstr(err.message, expected))
		fail_msg("'%s' is not in '%s'", expected, err.message);
	oss_source_done(&source);
}

static void test_environment(void **state)
{
	struct oss_source source;

	(void)state;
	setenv("ALIBABA_CLOUD_ACCESS_KEY_ID", "ak", 1);
	refuse("the access key or its secret is missing");
	setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "sk", 1);
	find(&source, OSS_SOURCE_KEYS);
	assert_string_equal(source.keys.access_key, "ak");
	assert_string_equal(source.keys.secret_key, "sk");
	assert_null(source.keys.token);
	oss_source_done(&source);
	setenv("ALIBABA_CLOUD_SECURITY_TOKEN", "tok", 1);
	/* Keys come before everything else. */
	setenv("ALIBABA_CLOUD_OIDC_TOKEN_FILE", "/t", 1);
	find(&source, OSS_SOURCE_KEYS);
	assert_string_equal(source.keys.token, "tok");
	oss_source_done(&source);
}

static void test_oidc(void **state)
{
	struct oss_source source;

	(void)state;
	setenv("ALIBABA_CLOUD_OIDC_TOKEN_FILE", "/t", 1);
	refuse("role, identity provider or token file is missing");
	setenv("ALIBABA_CLOUD_ROLE_ARN", "acs:ram::1:role/r", 1);
	setenv("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "acs:ram::1:oidc-provider/p", 1);
	find(&source, OSS_SOURCE_OIDC);
	assert_string_equal(source.session, "argoexec");
	assert_string_equal(source.role, "acs:ram::1:role/r");
	oss_source_done(&source);
}

static void check_sts(const struct oss_source *source, const char *url)
{
	struct chain_request request = {
		.url = BUFFER_INIT(CHAIN_REQUEST_BYTES_MAX),
		.body = BUFFER_INIT(CHAIN_REQUEST_BYTES_MAX),
	};
	struct error err = ERROR_NONE;

	if (sts_request(source, &(struct store_context){ 0 }, 0, &request, &err) < 0)
		fail_msg("%s", err.message);
	assert_string_equal(request.method, "POST");
	assert_memory_equal(buffer_string(&request.url), url, strlen(url));
	assert_non_null(
		strstr(buffer_string(&request.url),
		       "/?Action=AssumeRoleWithOIDC&Format=JSON&Version=2015-04-01&Timestamp=20"));
	assert_string_equal(buffer_string(&request.body),
			    "RoleArn=acs%3Aram%3A%3A1%3Arole%2Fr"
			    "&OIDCProviderArn=acs%3Aram%3A%3A1%3Aoidc-provider%2Fp"
			    "&OIDCToken=a%2Bb&RoleSessionName=me&DurationSeconds=3600");
	object_request_done(&request.lines);
	buffer_done(&request.url);
	buffer_done(&request.body);
}

static void test_sts(void **state)
{
	struct error err = ERROR_NONE;
	struct chain_request request = { 0 };
	struct oss_source source;

	(void)state;
	setenv("ALIBABA_CLOUD_OIDC_TOKEN_FILE", scratch_path("token"), 1);
	setenv("ALIBABA_CLOUD_ROLE_ARN", "acs:ram::1:role/r", 1);
	setenv("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "acs:ram::1:oidc-provider/p", 1);
	setenv("ALIBABA_CLOUD_ROLE_SESSION_NAME", "me", 1);
	find(&source, OSS_SOURCE_OIDC);
	/* A lost token is no lost object. */
	assert_int_equal(sts_request(&source, &(struct store_context){ 0 }, 0, &request, &err),
			 -ENOENT);
	assert_int_equal(err.class, ERROR_PERMANENT);
	scratch_write("token", "a+b");
	check_sts(&source, "https://sts.aliyuncs.com/");
	setenv("ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED", "true", 1);
	check_sts(&source, "https://sts.aliyuncs.com/");
	setenv("ALIBABA_CLOUD_STS_REGION", "cn-hangzhou", 1);
	check_sts(&source, "https://sts-vpc.cn-hangzhou.aliyuncs.com/");
	unsetenv("ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED");
	check_sts(&source, "https://sts.cn-hangzhou.aliyuncs.com/");
	oss_source_done(&source);
}

static void test_profiles(void **state)
{
	struct oss_source source;

	(void)state;
	scratch_write("config.json",
		      "{\"current\":\"second\",\"profiles\":["
		      "{\"name\":\"first\",\"mode\":\"AK\",\"access_key_id\":\"a\","
		      "\"access_key_secret\":\"b\"},"
		      "{\"name\":\"second\",\"mode\":\"StsToken\",\"access_key_id\":\"c\","
		      "\"access_key_secret\":\"d\",\"sts_token\":\"e\"},"
		      "{\"name\":\"third\",\"mode\":\"EcsRamRole\",\"ram_role_name\":\"f\"},"
		      "{\"name\":\"fourth\",\"mode\":\"CloudSSO\"}]}");
	setenv("ALIBABA_CLOUD_CONFIG_FILE", scratch_path("config.json"), 1);
	find(&source, OSS_SOURCE_KEYS);
	assert_string_equal(source.keys.access_key, "c");
	assert_string_equal(source.keys.token, "e");
	oss_source_done(&source);
	setenv("ALIBABA_CLOUD_PROFILE", "first", 1);
	find(&source, OSS_SOURCE_KEYS);
	assert_string_equal(source.keys.access_key, "a");
	assert_null(source.keys.token);
	oss_source_done(&source);
	setenv("ALIBABA_CLOUD_PROFILE", "third", 1);
	find(&source, OSS_SOURCE_METADATA);
	assert_string_equal(source.role, "f");
	oss_source_done(&source);
	setenv("ALIBABA_CLOUD_PROFILE", "fourth", 1);
	refuse("mode 'CloudSSO' cannot be used here");
	setenv("ALIBABA_CLOUD_PROFILE", "nobody", 1);
	refuse("there is no profile 'nobody'");
	setenv("ALIBABA_CLOUD_CLI_PROFILE_DISABLED", "true", 1);
	find(&source, OSS_SOURCE_METADATA);
	oss_source_done(&source);
}

static void test_credentials_file(void **state)
{
	struct oss_source source;

	(void)state;
	scratch_write("credentials", "# comment\n[default]\ntype = access_key\n"
				     "access_key_id=x\r\naccess_key_secret = y z\n"
				     "; more\n[role]\ntype=ecs_ram_role\nrole_name = r\n"
				     "[far]\ntype=ram_role_arn\n");
	setenv("ALIBABA_CLOUD_CREDENTIALS_FILE", scratch_path("credentials"), 1);
	find(&source, OSS_SOURCE_KEYS);
	assert_string_equal(source.keys.access_key, "x");
	assert_string_equal(source.keys.secret_key, "y z");
	oss_source_done(&source);
	setenv("ALIBABA_CLOUD_PROFILE", "role", 1);
	find(&source, OSS_SOURCE_METADATA);
	assert_string_equal(source.role, "r");
	oss_source_done(&source);
	setenv("ALIBABA_CLOUD_PROFILE", "far", 1);
	refuse("type 'ram_role_arn' cannot be used here");
	setenv("ALIBABA_CLOUD_PROFILE", "none", 1);
	refuse("there is no section [none]");
}

static void test_the_rest(void **state)
{
	struct oss_source source;

	(void)state;
	setenv("ALIBABA_CLOUD_ECS_METADATA", "role", 1);
	find(&source, OSS_SOURCE_METADATA);
	assert_string_equal(source.role, "role");
	oss_source_done(&source);
	setenv("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "TRUE", 1);
	refuse("the metadata service is switched off");
	setenv("ALIBABA_CLOUD_CREDENTIALS_URI", "http://h/", 1);
	find(&source, OSS_SOURCE_URI);
	assert_string_equal(source.uri, "http://h/");
	oss_source_done(&source);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_environment, clean),
		cmocka_unit_test_setup(test_oidc, clean),
		cmocka_unit_test_setup(test_sts, clean),
		cmocka_unit_test_setup(test_profiles, clean),
		cmocka_unit_test_setup(test_credentials_file, clean),
		cmocka_unit_test_setup(test_the_rest, clean),
	};

	return cmocka_run_group_tests(tests, scratch_set_up, scratch_tear_down);
}
