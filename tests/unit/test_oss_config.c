#include "executor/artifact/oss/config.h"
#include "executor/artifact/oss/lifecycle.h"
#include "executor/artifact/oss/url.h"
#include "executor/artifact/store.h"
#include "tests/unit/scratch.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#define REFERENCE(field, key) "\"" field "\":{\"name\":\"cred\",\"key\":\"" key "\"}"
#define KEYS REFERENCE("accessKeySecret", "ak") "," REFERENCE("secretKeySecret", "sk")
#define BUCKET "\"bucket\":\"my-bucket\",\"key\":\"a/b\""
#define PLACE "\"endpoint\":\"oss-cn-hangzhou.aliyuncs.com\"," BUCKET
#define GOOD PLACE "," KEYS

static int set_up(void **state)
{
	int r = scratch_set_up(state);

	unsetenv("OSS_REGION");
	if (r == 0)
		r = mkdir(scratch_path("cred"), 0700);
	scratch_write("cred/ak", "AKEY\n");
	scratch_write("cred/sk", "secret key \r\n");
	scratch_write("cred/odd", "a\nb");
	return r;
}

static int parse(struct oss_config *config, const char *text, struct error *err)
{
	const struct store_context context = { .secret_directory = scratch_path("") };
	_cleanup_json_ struct json_object *location = NULL;

	if (json_parse(text, strlen(text), "location", &location, err) < 0)
		fail_msg("%s", err->message);
	return oss_config_parse(config, location, &context, err);
}

static void accept(struct oss_config *config, const char *text)
{
	struct error err = ERROR_NONE;

	if (parse(config, text, &err) < 0)
		fail_msg("%s", err.message);
}

static void refuse(const char *text, const char *expected)
{
	struct oss_config config;
	struct error err = ERROR_NONE;

	assert_true(parse(&config, text, &err) < 0);
	assert_string_equal(err.message, expected);
	assert_int_equal(err.class, ERROR_PERMANENT);
	assert_null(config.host);
}

static void test_fields(void **state)
{
	struct oss_config config;

	(void)state;
	accept(&config, "{" GOOD ",\"securityToken\":\"tok\",\"createBucketIfNotPresent\":true,"
			"\"lifecycleRule\":{\"markInfrequentAccessAfterDays\":30,"
			"\"markDeletionAfterDays\":60}}");
	assert_string_equal(config.host, "oss-cn-hangzhou.aliyuncs.com");
	assert_string_equal(config.region, "cn-hangzhou");
	assert_true(config.is_http);
	assert_string_equal(config.keys.access_key, "AKEY");
	assert_string_equal(config.keys.secret_key, "secret key");
	assert_string_equal(config.keys.token, "tok");
	assert_true(config.want_bucket);
	assert_int_equal(config.access_days, 30);
	assert_int_equal(config.deletion_days, 60);
	oss_config_done(&config);
	accept(&config, "{" PLACE ",\"useSDKCreds\":true}");
	assert_true(config.want_chain);
	assert_null(config.keys.access_key);
	oss_config_done(&config);
}

static void test_refusals(void **state)
{
	(void)state;
	refuse("{" BUCKET "," KEYS "}",
	       "oss: endpoint: is required (host or host:port, or a URL of them)");
	refuse("{\"endpoint\":\"a b\"," BUCKET "," KEYS "}",
	       "oss: endpoint 'a b': is no host name or address");
	refuse("{\"endpoint\":\"h\",\"bucket\":\"My\"," KEYS "}",
	       "oss: bucket 'My': must have 3 to 63 characters");
	refuse("{\"endpoint\":\"h\",\"bucket\":\"a.bc\"," KEYS "}",
	       "oss: bucket 'a.bc': has only lower-case letters, digits and, inside, hyphens");
	refuse("{\"endpoint\":\"h\",\"bucket\":\"abc-\"," KEYS "}",
	       "oss: bucket 'abc-': has only lower-case letters, digits and, inside, hyphens");
	refuse("{" PLACE "}", "oss: no credentials: accessKeySecret and secretKeySecret, or "
			      "useSDKCreds, are required");
	refuse("{" PLACE "," REFERENCE("accessKeySecret", "ak") "}",
	       "oss: no credentials: accessKeySecret and secretKeySecret, or useSDKCreds, are "
	       "required");
	refuse("{" PLACE
	       "," REFERENCE("accessKeySecret", "odd") "," REFERENCE("secretKeySecret", "sk") "}",
	       "oss: the access key or the security token contains control characters");
	refuse("{" GOOD ",\"lifecycleRule\":{\"markInfrequentAccessAfterDays\":61,"
	       "\"markDeletionAfterDays\":60}}",
	       "oss: lifecycleRule: markInfrequentAccessAfterDays cannot be large than "
	       "markDeletionAfterDays");
	refuse("{" GOOD ",\"lifecycleRule\":{\"markDeletionAfterDays\":-1}}",
	       "oss: lifecycleRule: markDeletionAfterDays: -1 is no number of days");
	refuse("{" GOOD ",\"createBucketIfNotPresent\":{}}",
	       "oss: createBucketIfNotPresent: expected true or false, found object");
	refuse("[]", "oss: expected an object, found array");
}

static void test_regions(void **state)
{
	static const struct {
		const char *host, *region;
	} rows[] = {
		{ "oss-cn-hangzhou.aliyuncs.com", "cn-hangzhou" },
		{ "oss-cn-hangzhou.aliyuncs.com:80", "cn-hangzhou" },
		{ "oss-us-west-1-internal.aliyuncs.com", "us-west-1" },
		{ "cn-beijing.oss.aliyuncs.com", "cn-beijing" },
		{ "oss-accelerate.aliyuncs.com", NULL },
		{ "oss-accelerate-overseas.aliyuncs.com", NULL },
		{ "oss.example.org", NULL },
		{ "oss-cn-hangzhou.aliyuncs.com.example.org", NULL },
		{ "127.0.0.1:9000", NULL },
	};
	char region[OBJECT_REGION_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(oss_url_host_region(rows[i].host, region), rows[i].region != NULL);
		if (rows[i].region)
			assert_string_equal(region, rows[i].region);
	}
}

static void test_region_of_the_environment(void **state)
{
	static const char text[] = "{\"endpoint\":\"oss.example.org\"," BUCKET "," KEYS "}";
	struct oss_config config;

	(void)state;
	accept(&config, text);
	assert_string_equal(config.region, "");
	oss_config_done(&config);
	setenv("OSS_REGION", "oss-cn-shenzhen", 1);
	accept(&config, text);
	assert_string_equal(config.region, "cn-shenzhen");
	assert_false(config.is_region_named);
	oss_config_done(&config);
	accept(&config, "{" GOOD "}");
	assert_string_equal(config.region, "cn-hangzhou");
	oss_config_done(&config);
	setenv("OSS_REGION", "a/b", 1);
	refuse(text, "oss: OSS_REGION: 'a/b' is not a region name");
	unsetenv("OSS_REGION");
}

static void check_url(const char *endpoint, bool is_service, const char *key,
		      const struct object_query *query, const char *expected)
{
	char text[512];
	struct oss_config config;
	struct object_url url;

	snprintf(text, sizeof(text), "{\"endpoint\":\"%s\"," BUCKET "," KEYS "}", endpoint);
	accept(&config, text);
	assert_int_equal(
		oss_url_build(&url,
			      &(struct oss_target){ .config = &config,
						    .bucket = is_service ? NULL : config.bucket,
						    .key = key,
						    .query = query }),
		0);
	assert_string_equal(url.url.data, expected);
	object_url_done(&url);
	oss_config_done(&config);
}

static void test_urls(void **state)
{
	static const struct object_query query[] = { { "uploads", "" },
						     { "prefix", "a/b c" },
						     { NULL, NULL } };

	(void)state;
	check_url("oss.example.org", false, "k", NULL, "http://my-bucket.oss.example.org/k");
	check_url("http://oss.example.org:81", false, "k", NULL,
		  "http://my-bucket.oss.example.org:81/k");
	check_url("HTTPS://oss.example.org/", false, "k", NULL,
		  "https://my-bucket.oss.example.org/k");
	check_url("https://oss.example.org", false, NULL, query,
		  "https://my-bucket.oss.example.org/?prefix=a%2Fb%20c&uploads");
	check_url("oss.example.org", true, NULL, NULL, "http://oss.example.org/");
	check_url("127.0.0.1:9000", false, "k", NULL, "http://127.0.0.1:9000/my-bucket/k");
	check_url("[::1]:9000", false, NULL, NULL, "http://[::1]:9000/my-bucket/");
	check_url("127.0.0.1", true, NULL, NULL, "http://127.0.0.1/");
	check_url("1.2.3.example.org", false, "k", NULL, "http://my-bucket.1.2.3.example.org/k");
	check_url("oss.example.org", false, "a b/+/\xc3\xbc//..~", NULL,
		  "http://my-bucket.oss.example.org/a%20b/%2B/%C3%BC//..~");
}

/* --- Lifecycle ------------------------------------------------------------------------------------ */

/* SHA-256 of "a/b". */
#define ID "c14cddc033f64b9dea80ea675cf280a015e672516090a5626781153dc68fea11"
#define RULE \
	"<Rule><ID>" ID "</ID><Prefix>a/b</Prefix><Status>Enabled</Status>" \
	"<Expiration><Days>7</Days></Expiration>" \
	"<AbortMultipartUpload><Days>7</Days></AbortMultipartUpload></Rule>"
#define OTHER "<Rule><ID>mine &amp; yours</ID>\n <Prefix>x</Prefix></Rule>"

static void build(const char *old_text, int64_t access_days, int64_t deletion_days,
		  struct buffer *out, bool *is_same)
{
	struct oss_config config = { .key = (char[]){ "a/b" },
				     .access_days = access_days,
				     .deletion_days = deletion_days };
	_cleanup_buffer_ struct buffer old = BUFFER_INIT(1 << 20);
	struct error err = ERROR_NONE;

	assert_int_equal(buffer_append_string(&old, old_text), 0);
	*out = BUFFER_INIT(1 << 20);
	if (oss_lifecycle_build(&config, &old, out, is_same, &err) < 0)
		fail_msg("%s", err.message);
}

static void check_rules(const char *old, int64_t access_days, int64_t deletion_days,
			const char *expected, bool expect_same)
{
	struct buffer out;
	bool is_same;

	build(old, access_days, deletion_days, &out, &is_same);
	assert_string_equal(out.data, expected);
	assert_int_equal(is_same, expect_same);
	buffer_done(&out);
}

static void test_rules(void **state)
{
	static const char fresh[] = "<LifecycleConfiguration>" RULE "</LifecycleConfiguration>";
	static const char both[] = "<LifecycleConfiguration>" OTHER RULE
				   "</LifecycleConfiguration>";

	(void)state;
	check_rules("", 0, 7, fresh, false);
	check_rules(fresh, 0, 7, fresh, true);
	check_rules("<?xml version=\"1.0\"?>\n<LifecycleConfiguration>\n" OTHER
		    "\n</LifecycleConfiguration>",
		    0, 7, both, false);
	check_rules("<LifecycleConfiguration><Rule><ID>" ID "</ID><Prefix>old</Prefix></Rule>" OTHER
		    "</LifecycleConfiguration>",
		    0, 7, both, false);
	check_rules("", 30, 0,
		    "<LifecycleConfiguration><Rule><ID>" ID "</ID><Prefix>a/b</Prefix>"
		    "<Status>Enabled</Status><Transition><Days>30</Days>"
		    "<StorageClass>IA</StorageClass></Transition></Rule></LifecycleConfiguration>",
		    false);
}

/* A bucket holds 1000: the first of ours makes room, those of others stay. */
static void test_too_many_rules(void **state)
{
	_cleanup_buffer_ struct buffer old = BUFFER_INIT(1 << 20);
	struct buffer out;
	bool is_same;

	(void)state;
	assert_int_equal(buffer_append_string(&old, "<LifecycleConfiguration>" OTHER), 0);
	for (int i = 0; i < OSS_RULES_MAX - 1; i++)
		assert_int_equal(
			buffer_append_format(&old, "<Rule><ID>%064x</ID><Prefix>p</Prefix></Rule>",
					     (unsigned)i),
			0);
	assert_int_equal(buffer_append_string(&old, "</LifecycleConfiguration>"), 0);
	build(old.data, 0, 7, &out, &is_same);
	assert_non_null(strstr(out.data, OTHER));
	assert_non_null(strstr(out.data, RULE));
	assert_null(strstr(
		out.data, "<ID>0000000000000000000000000000000000000000000000000000000000000000<"));
	assert_non_null(strstr(
		out.data, "<ID>0000000000000000000000000000000000000000000000000000000000000001<"));
	buffer_done(&out);
}

static void test_unreadable_rules(void **state)
{
	struct oss_config config = { .key = (char[]){ "a/b" }, .deletion_days = 1 };
	_cleanup_buffer_ struct buffer old = BUFFER_INIT(1024), out = BUFFER_INIT(1024);
	struct error err = ERROR_NONE;
	bool is_same;

	(void)state;
	assert_int_equal(buffer_append_string(&old, "<LifecycleConfiguration><Rule>"), 0);
	assert_int_equal(oss_lifecycle_build(&config, &old, &out, &is_same, &err), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fields),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_regions),
		cmocka_unit_test(test_region_of_the_environment),
		cmocka_unit_test(test_urls),
		cmocka_unit_test(test_rules),
		cmocka_unit_test(test_too_many_rules),
		cmocka_unit_test(test_unreadable_rules),
	};

	return cmocka_run_group_tests(tests, set_up, scratch_tear_down);
}
