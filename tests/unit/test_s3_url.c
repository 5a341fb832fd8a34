#include "executor/artifact/s3/url.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void check(const struct s3_config *config, const char *region, const char *key,
		  const struct object_query *query, const char *expected)
{
	struct object_url url;
	const struct s3_target target = {
		.config = config, .region = region, .key = key, .query = query
	};

	assert_int_equal(s3_url_build(&url, &target), 0);
	assert_string_equal(url.url.data, expected);
	object_url_done(&url);
}

static struct s3_config config_of(const char *host, const char *bucket)
{
	return (struct s3_config){ .host = (char *)host, .bucket = (char *)bucket };
}

static void test_style(void **state)
{
	struct s3_config config = config_of("minio:9000", "my-bucket");

	(void)state;
	check(&config, "us-east-1", "a/b", NULL, "https://minio:9000/my-bucket/a/b");
	check(&config, "us-east-1", NULL, NULL, "https://minio:9000/my-bucket/");
	config.is_insecure = true;
	check(&config, "us-east-1", "a", NULL, "http://minio:9000/my-bucket/a");
	config.addressing = S3_ADDRESSING_VIRTUAL;
	check(&config, "us-east-1", "a", NULL, "http://my-bucket.minio:9000/a");
	check(&config, "us-east-1", NULL, NULL, "http://my-bucket.minio:9000/");

	config = config_of("storage.googleapis.com", "my-bucket");
	check(&config, "us-east-1", "a", NULL, "https://my-bucket.storage.googleapis.com/a");
	config = config_of("oss-cn-hangzhou.aliyuncs.com", "my-bucket");
	check(&config, "", "a", NULL, "https://my-bucket.oss-cn-hangzhou.aliyuncs.com/a");
	config.addressing = S3_ADDRESSING_PATH;
	check(&config, "", "a", NULL, "https://oss-cn-hangzhou.aliyuncs.com/my-bucket/a");
}

static void test_amazon_host(void **state)
{
	struct s3_config config = config_of("s3.amazonaws.com", "my-bucket");

	(void)state;
	check(&config, "eu-west-1", "a", NULL,
	      "https://my-bucket.s3.dualstack.eu-west-1.amazonaws.com/a");
	check(&config, "", NULL, NULL, "https://my-bucket.s3.amazonaws.com/");
	check(&config, "us-iso-east-1", "a", NULL,
	      "https://my-bucket.s3.us-iso-east-1.amazonaws.com/a");
	/* One label is what the wildcard certificate covers. */
	config.bucket = (char *)"my.bucket";
	check(&config, "eu-west-1", "a", NULL,
	      "https://s3.dualstack.eu-west-1.amazonaws.com/my.bucket/a");
	config.is_insecure = true;
	check(&config, "eu-west-1", "a", NULL,
	      "http://my.bucket.s3.dualstack.eu-west-1.amazonaws.com/a");

	config = config_of("s3.cn-north-1.amazonaws.com.cn", "my-bucket");
	check(&config, "cn-north-1", "a", NULL,
	      "https://my-bucket.s3.dualstack.cn-north-1.amazonaws.com.cn/a");
	config = config_of("s3-fips.us-gov-west-1.amazonaws.com", "my-bucket");
	check(&config, "us-gov-west-1", "a", NULL,
	      "https://my-bucket.s3-fips.us-gov-west-1.amazonaws.com/a");
	config = config_of("bucket.vpce-1a-2b.s3.us-east-1.vpce.amazonaws.com", "my-bucket");
	check(&config, "us-east-1", "a", NULL,
	      "https://my-bucket.bucket.vpce-1a-2b.s3.us-east-1.vpce.amazonaws.com/a");
	config = config_of("my-lb-1.us-west-2.elb.amazonaws.com", "my-bucket");
	check(&config, "us-west-2", "a", NULL,
	      "https://my-lb-1.us-west-2.elb.amazonaws.com/my-bucket/a");
}

static void test_encoding(void **state)
{
	const struct s3_config config = config_of("h", "bbb");
	const struct object_query query[] = { { "uploadId", "a+b/c==" },
					      { "partNumber", "7" },
					      { "prefix", "x y&z" },
					      { "uploads", "" },
					      { NULL, NULL } };

	(void)state;
	check(&config, "", "a b+c%d&e?f#g~h-i_j.k", NULL,
	      "https://h/bbb/a%20b%2Bc%25d%26e%3Ff%23g~h-i_j.k");
	check(&config, "", "/lead//twice/./../end/", NULL, "https://h/bbb//lead//twice/./../end/");
	check(&config, "", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", NULL,
	      "https://h/bbb/%C3%A4%E2%82%AC%F0%9F%98%80");
	check(&config, "", "\x01\x7f\xff!'()*", NULL, "https://h/bbb/%01%7F%FF%21%27%28%29%2A");
	check(&config, "", "k", query,
	      "https://h/bbb/k?partNumber=7&prefix=x%20y%26z&uploadId=a%2Bb%2Fc%3D%3D&uploads=");
}

static void test_decode(void **state)
{
	char text[] = "a%20b+c%2Fd%C3%A4";
	char broken[] = "a%2", wrong[] = "a%zz", zero[] = "a%00b";

	(void)state;
	assert_int_equal(object_url_decode(text), 9);
	assert_string_equal(text, "a b c/d\xc3\xa4");
	assert_int_equal(object_url_decode(broken), -EINVAL);
	assert_int_equal(object_url_decode(wrong), -EINVAL);
	assert_int_equal(object_url_decode(zero), -EINVAL);
}

static void test_host_region(void **state)
{
	static const struct {
		const char *host, *region; /* NULL = none */
	} rows[] = {
		{ "s3.eu-west-1.amazonaws.com", "eu-west-1" },
		{ "s3-eu-west-1.amazonaws.com", "eu-west-1" },
		{ "s3.dualstack.eu-west-1.amazonaws.com", "eu-west-1" },
		{ "s3-fips.us-east-2.amazonaws.com", "us-east-2" },
		{ "s3-fips-us-gov-west-1.amazonaws.com", "us-gov-west-1" },
		{ "s3-fips.dualstack.us-east-2.amazonaws.com", "us-east-2" },
		{ "s3.cn-north-1.amazonaws.com.cn", "cn-north-1" },
		{ "s3.dualstack.cn-north-1.amazonaws.com.cn", "cn-north-1" },
		{ "bucket.vpce-0a-1b.s3.us-west-2.vpce.amazonaws.com", "us-west-2" },
		{ "accesspoint.vpce-0a-1b.s3.us-west-2.vpce.amazonaws.com", "us-west-2" },
		{ "s3express-use1-az4.us-east-1.amazonaws.com", "us-east-1" },
		{ "s3express-control.us-east-1.amazonaws.com", "us-east-1" },
		{ "op-1.ap.s3-outposts.us-east-1.amazonaws.com", "us-east-1" },
		{ "s3.eu-west-1.amazonaws.com:443", "eu-west-1" },
		{ "s3.amazonaws.com", NULL },
		{ "s3-external-1.amazonaws.com", NULL },
		{ "s3-accelerate.amazonaws.com", NULL },
		{ "lb-1.us-west-2.elb.amazonaws.com", NULL },
		{ "minio:9000", NULL },
		{ "s3.eu-west-1.amazonaws.com.example.org", NULL },
		{ "", NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char region[OBJECT_REGION_MAX] = "";

		assert_int_equal(s3_url_host_region(rows[i].host, region), rows[i].region != NULL);
		assert_string_equal(region, rows[i].region ? rows[i].region : "");
	}
}

static void test_is_region(void **state)
{
	char long_name[OBJECT_REGION_MAX + 1];

	(void)state;
	memset(long_name, 'a', OBJECT_REGION_MAX);
	long_name[OBJECT_REGION_MAX] = '\0';
	assert_true(object_url_is_region("eu-west-1"));
	assert_true(object_url_is_region("garage_1"));
	assert_false(object_url_is_region(""));
	assert_false(object_url_is_region("a/b"));
	assert_false(object_url_is_region("evil.example.org"));
	assert_false(object_url_is_region("a\r\nb: c"));
	assert_false(object_url_is_region(long_name));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_style),       cmocka_unit_test(test_amazon_host),
		cmocka_unit_test(test_encoding),    cmocka_unit_test(test_decode),
		cmocka_unit_test(test_host_region), cmocka_unit_test(test_is_region),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
