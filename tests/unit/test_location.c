#include "executor/template/location.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static struct json_object *parse(const char *text)
{
	struct json_object *value = NULL;
	struct error err = ERROR_NONE;

	if (text && json_parse(text, strlen(text), "artifact", &value, &err) < 0)
		fail_msg("%s: %s", text, err.message);
	return value;
}

static void check_same(struct json_object *value, const char *expected)
{
	_cleanup_json_ struct json_object *wanted = parse(expected);
	_cleanup_buffer_ struct buffer text = BUFFER_INIT(4096);

	if (json_equal(value, wanted))
		return;
	json_print(value, &text, NULL);
	fail_msg("%s instead of %s", buffer_string(&text), expected);
}

/* Every type, without and with all that it takes to be found. */
static const struct {
	const char *text;
	const char *type;
	bool is_complete;
	const char *key;
} cases[] = {
	{ "{}", NULL, false, NULL },
	{ "{\"name\":\"a\",\"s3\":null}", NULL, false, NULL },
	{ "{\"s3\":{}}", "s3", false, NULL },
	{ "{\"s3\":{\"key\":\"k\"}}", "s3", false, "k" },
	{ "{\"s3\":{\"endpoint\":\"e\",\"bucket\":\"b\"}}", "s3", false, NULL },
	{ "{\"s3\":{\"endpoint\":\"e\",\"bucket\":\"\",\"key\":\"k\"}}", "s3", false, "k" },
	{ "{\"s3\":{\"endpoint\":\"e\",\"bucket\":\"b\",\"key\":\"k/l\"}}", "s3", true, "k/l" },
	{ "{\"gcs\":{\"key\":\"k\"}}", "gcs", false, "k" },
	{ "{\"gcs\":{\"bucket\":\"b\",\"key\":\"k\"}}", "gcs", true, "k" },
	{ "{\"oss\":{\"bucket\":\"b\",\"key\":\"k\"}}", "oss", false, "k" },
	{ "{\"oss\":{\"endpoint\":\"e\",\"bucket\":\"b\",\"key\":\"k\"}}", "oss", true, "k" },
	{ "{\"azure\":{\"endpoint\":\"\",\"container\":\"\",\"blob\":\"k\"}}", "azure", false,
	  "k" },
	{ "{\"azure\":{\"endpoint\":\"e\",\"container\":\"c\",\"blob\":\"k\"}}", "azure", true,
	  "k" },
	{ "{\"hdfs\":{\"path\":\"/k\"}}", "hdfs", false, "/k" },
	{ "{\"hdfs\":{\"addresses\":[],\"path\":\"/k\"}}", "hdfs", false, "/k" },
	{ "{\"hdfs\":{\"addresses\":[\"h:1\"],\"path\":\"/k\"}}", "hdfs", true, "/k" },
	{ "{\"http\":{\"url\":\"\"}}", "http", false, NULL },
	{ "{\"http\":{\"url\":\"https://h/a/b\"}}", "http", true, "a/b" },
	{ "{\"http\":{\"url\":\"https://h\"}}", "http", true, NULL },
	{ "{\"http\":{\"url\":\"/a/b\"}}", "http", false, "a/b" },
	/* A query, or what follows '#', is no key and has none. */
	{ "{\"http\":{\"url\":\"https://h/a?b\"}}", "http", true, "a?b" },
	{ "{\"http\":{\"url\":\"https://h/?a=b\"}}", "http", true, NULL },
	{ "{\"http\":{\"url\":\"https://h?a=/b\"}}", "http", true, NULL },
	{ "{\"http\":{\"url\":\"https://h/#a\"}}", "http", true, NULL },
	{ "{\"http\":{\"url\":\"/?a=b\"}}", "http", false, NULL },
	/* Only what stands in front is a scheme. */
	{ "{\"http\":{\"url\":\"/a?b=http://h/c\"}}", "http", false, "a?b=http://h/c" },
	{ "{\"http\":{\"url\":\"a/b://c\"}}", "http", false, "a/b://c" },
	{ "{\"http\":{\"url\":\"https://h/://\"}}", "http", true, "://" },
	{ "{\"artifactory\":{\"url\":\"https://h/a\"}}", "artifactory", false, "a" },
	{ "{\"artifactory\":{\"url\":\"https://h/a\",\"usernameSecret\":{\"name\":\"s\"}}}",
	  "artifactory", true, "a" },
	{ "{\"git\":{}}", "git", false, NULL },
	{ "{\"git\":{\"repo\":\"r\"}}", "git", true, NULL },
	{ "{\"raw\":{}}", "raw", true, NULL },
	{ "{\"raw\":{\"data\":\"d\"}}", "raw", true, NULL },
	{ "{\"plugin\":{\"name\":\"p\",\"key\":\"k\"}}", "plugin", false, "k" },
	{ "{\"plugin\":{\"name\":\"p\",\"configuration\":\"c\",\"key\":\"k\"}}", "plugin", true,
	  "k" },
	/* Several: the order of drivers. */
	{ "{\"raw\":{},\"http\":{\"url\":\"https://h/x\"}}", "http", true, "x" },
	{ "{\"plugin\":{\"key\":\"p\"},\"gcs\":{\"key\":\"g\"},\"s3\":{\"key\":\"s\"}}", "s3",
	  false, "s" },
	/* What is empty goes behind what is not, and anything that is set counts. */
	{ "{\"s3\":{},\"oss\":{\"key\":\"o\"}}", "oss", false, "o" },
	{ "{\"s3\":{\"bucket\":\"\",\"insecure\":false,\"addressingStyle\":null,"
	  "\"encryptionOptions\":{}},\"gcs\":{\"key\":\"g\"}}",
	  "gcs", false, "g" },
	{ "{\"s3\":{\"insecure\":true},\"gcs\":{\"key\":\"g\"}}", "s3", false, NULL },
	{ "{\"git\":{\"depth\":0},\"gcs\":{\"key\":\"g\"}}", "gcs", false, "g" },
	{ "{\"git\":{\"depth\":1},\"gcs\":{\"key\":\"g\"}}", "git", false, NULL },
	{ "{\"oss\":{},\"s3\":{}}", "s3", false, NULL },
};

static void test_every_type(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		_cleanup_json_ struct json_object *artifact = parse(cases[i].text);
		const char *type = location_type(artifact), *key = location_key(artifact);

		if ((type == NULL) != (cases[i].type == NULL) ||
		    (type && strcmp(type, cases[i].type) != 0))
			fail_msg("%s: %s", cases[i].text, type ? type : "no type");
		if (location_is_complete(artifact) != cases[i].is_complete)
			fail_msg("%s", cases[i].text);
		if ((key == NULL) != (cases[i].key == NULL) ||
		    (key && strcmp(key, cases[i].key) != 0))
			fail_msg("%s: %s", cases[i].text, key ? key : "no key");
		assert_ptr_equal(location_get(artifact), type ? json_get(artifact, type) : NULL);
	}
	assert_null(location_type(NULL));
	assert_null(location_key(NULL));
}

/* The other one in which anything is set, and what is left when the empty ones are gone. */
static void test_several(void **state)
{
	static const struct {
		const char *text, *other, *tidy;
	} several[] = {
		{ "{\"name\":\"a\",\"s3\":{}}", NULL, "{\"name\":\"a\",\"s3\":{}}" },
		{ "{\"name\":\"a\",\"s3\":{},\"oss\":{\"key\":\"o\"},\"gcs\":null}", NULL,
		  "{\"name\":\"a\",\"oss\":{\"key\":\"o\"}}" },
		{ "{\"s3\":{},\"oss\":{}}", NULL, "{\"s3\":{}}" },
		{ "{\"raw\":{\"data\":\"\"},\"s3\":{\"key\":\"k\"}}", NULL,
		  "{\"s3\":{\"key\":\"k\"}}" },
		{ "{\"oss\":{\"key\":\"o\"},\"s3\":{\"key\":\"k\"},\"gcs\":{}}", "oss",
		  "{\"oss\":{\"key\":\"o\"},\"s3\":{\"key\":\"k\"}}" },
		{ "{\"raw\":{\"data\":\"x\"},\"s3\":{\"key\":\"k\"}}", "raw",
		  "{\"raw\":{\"data\":\"x\"},\"s3\":{\"key\":\"k\"}}" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(several) / sizeof(several[0]); i++) {
		_cleanup_json_ struct json_object *artifact = parse(several[i].text);
		const char *other = location_other_type(artifact);

		if (!other != !several[i].other || (other && strcmp(other, several[i].other) != 0))
			fail_msg("%s: %s", several[i].text, other ? other : "no other");
		location_tidy(artifact);
		check_same(artifact, several[i].tidy);
	}
	assert_null(location_other_type(NULL));
	location_tidy(NULL);
}

static const char s3_repository[] =
	"{\"archiveLogs\":true,\"s3\":{\"endpoint\":\"e\",\"bucket\":\"b\",\"insecure\":true,"
	"\"key\":\"wf/pod\",\"future\":{\"field\":1}}}";

static const struct {
	const char *artifact, *repository;
	const char *expected; /* the relocated artifact, or NULL */
	const char *message;
} relocations[] = {
	/* What is complete stays, whatever the repository says. */
	{ "{\"name\":\"a\",\"s3\":{\"endpoint\":\"x\",\"bucket\":\"y\",\"key\":\"z\"}}",
	  s3_repository,
	  "{\"name\":\"a\",\"s3\":{\"endpoint\":\"x\",\"bucket\":\"y\",\"key\":\"z\"}}", NULL },
	{ "{\"name\":\"a\",\"raw\":{}}", NULL, "{\"name\":\"a\",\"raw\":{}}", NULL },
	{ "{\"git\":{\"repo\":\"r\"}}", NULL, "{\"git\":{\"repo\":\"r\"}}", NULL },
	/* A key goes into a copy of the repository's location; unknown fields live on. */
	{ "{\"name\":\"a\",\"globalName\":\"g\",\"s3\":{\"key\":\"k\"}}", s3_repository,
	  "{\"name\":\"a\",\"globalName\":\"g\",\"s3\":{\"endpoint\":\"e\",\"bucket\":\"b\","
	  "\"insecure\":true,\"key\":\"k\",\"future\":{\"field\":1}}}",
	  NULL },
	{ "{\"gcs\":{\"key\":\"k\"}}", s3_repository,
	  "{\"s3\":{\"endpoint\":\"e\",\"bucket\":\"b\",\"insecure\":true,\"key\":\"k\","
	  "\"future\":{\"field\":1}}}",
	  NULL },
	{ "{\"s3\":{\"key\":\"k\"}}", "{\"azure\":{\"endpoint\":\"e\",\"container\":\"c\"}}",
	  "{\"azure\":{\"endpoint\":\"e\",\"container\":\"c\",\"blob\":\"k\"}}", NULL },
	{ "{\"s3\":{\"key\":\"k/l\"}}", "{\"http\":{\"url\":\"https://h:1/old/path\"}}",
	  "{\"http\":{\"url\":\"https://h:1/k/l\"}}", NULL },
	{ "{\"s3\":{\"key\":\"k?#l\"}}", "{\"http\":{\"url\":\"https://h/old?sig=1\"}}",
	  "{\"http\":{\"url\":\"https://h/k%3F%23l?sig=1\"}}", NULL },
	{ "{\"http\":{\"url\":\"/k?l\"}}", "{\"http\":{\"url\":\"https://h?sig=1\"}}",
	  "{\"http\":{\"url\":\"https://h/k?sig=1\"}}", NULL },
	{ "{\"http\":{\"url\":\"/k\"}}",
	  "{\"artifactory\":{\"url\":\"https://h\",\"usernameSecret\":{\"name\":\"s\"}}}",
	  "{\"artifactory\":{\"url\":\"https://h/k\",\"usernameSecret\":{\"name\":\"s\"}}}", NULL },
	{ "{\"artifactory\":{\"url\":\"https://h/://\"}}", "{\"http\":{\"url\":\"x#y\"}}",
	  "{\"http\":{\"url\":\"/://#y\"}}", NULL },
	/* Failures. */
	{ "{\"s3\":{\"key\":\"k\"}}", NULL, NULL, "template artifact location not set" },
	{ "{\"artifactory\":{\"url\":\"https://h/?q\"}}", s3_repository, NULL,
	  "key unsupported: cannot get key for artifact location, because it is invalid" },
	{ "{}", s3_repository, NULL,
	  "key unsupported: cannot get key for artifact location, because it is invalid" },
	{ "{\"s3\":{\"key\":\"k\"}}", "{\"archiveLogs\":true}", NULL,
	  "artifact storage is not configured; see the docs for setup instructions: "
	  "https://argo-workflows.readthedocs.io/en/latest/configure-artifact-repository/" },
	{ "{\"s3\":{\"key\":\"k\"}}", "{\"git\":{\"repo\":\"r\"}}", NULL,
	  "key unsupported: a git artifact does not have a key" },
};

static void test_relocation(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(relocations) / sizeof(relocations[0]); i++) {
		_cleanup_json_ struct json_object *artifact = parse(relocations[i].artifact);
		_cleanup_json_ struct json_object *repository = parse(relocations[i].repository);
		_cleanup_json_ struct json_object *relocated = NULL;
		struct error err = ERROR_NONE;
		int r = location_relocate(artifact, repository, &relocated, &err);

		if (relocations[i].expected) {
			if (r < 0)
				fail_msg("%s", err.message);
			check_same(relocated, relocations[i].expected);
			assert_ptr_not_equal(relocated, artifact);
		} else {
			assert_int_equal(r, -EINVAL);
			assert_string_equal(err.message, relocations[i].message);
			assert_null(relocated);
		}
		/* Neither of the two is changed. */
		check_same(artifact, relocations[i].artifact);
		if (repository)
			check_same(repository, relocations[i].repository);
	}
}

static const struct {
	const char *repository;
	const char *expected; /* NULL = refused */
} assignments[] = {
	{ s3_repository, "{\"name\":\"a\",\"s3\":{\"key\":\"wf/pod/a.tgz\"}}" },
	{ "{\"s3\":{\"bucket\":\"b\"}}", "{\"name\":\"a\",\"s3\":{\"key\":\"a.tgz\"}}" },
	{ "{\"s3\":{\"key\":\"x//y/../\"}}", "{\"name\":\"a\",\"s3\":{\"key\":\"x/a.tgz\"}}" },
	{ "{\"gcs\":{\"key\":\"p\"}}", "{\"name\":\"a\",\"gcs\":{\"key\":\"p/a.tgz\"}}" },
	{ "{\"oss\":{\"key\":\"p\"}}", "{\"name\":\"a\",\"oss\":{\"key\":\"p/a.tgz\"}}" },
	{ "{\"azure\":{\"blob\":\"p\"}}", "{\"name\":\"a\",\"azure\":{\"blob\":\"p/a.tgz\"}}" },
	{ "{\"hdfs\":{\"path\":\"/p\"}}", "{\"name\":\"a\",\"hdfs\":{\"path\":\"/p/a.tgz\"}}" },
	{ "{\"http\":{\"url\":\"https://h/p?sig=1\"}}",
	  "{\"name\":\"a\",\"http\":{\"url\":\"/p/a.tgz\"}}" },
	{ "{\"http\":{\"url\":\"https://h/p\"}}",
	  "{\"name\":\"a\",\"http\":{\"url\":\"/p/a.tgz\"}}" },
	{ "{\"plugin\":{\"name\":\"x\",\"key\":\"p\"}}",
	  "{\"name\":\"a\",\"plugin\":{\"key\":\"p/a.tgz\"}}" },
	{ "{\"raw\":{}}", NULL },
	{ "{}", NULL },
	{ NULL, NULL },
};

static void test_assignment(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(assignments) / sizeof(assignments[0]); i++) {
		_cleanup_json_ struct json_object *artifact =
			parse("{\"name\":\"a\",\"gcs\":{\"bucket\":\"old\"}}");
		_cleanup_json_ struct json_object *repository = parse(assignments[i].repository);
		struct error err = ERROR_NONE;
		int r = location_assign(artifact, repository, "a.tgz", &err);

		assert_int_equal(r, assignments[i].expected ? 0 : -EINVAL);
		if (assignments[i].expected)
			check_same(artifact, assignments[i].expected);
		else
			assert_true(strlen(err.message) > 10);
	}
}

/* What was assigned can be found again through the repository. */
static void test_assigned_is_relocatable(void **state)
{
	static const char *const repositories[][2] = {
		{ s3_repository, "wf/pod/a.tgz" },
		{ "{\"http\":{\"url\":\"https://h/p\"}}", "p/a.tgz" },
		{ "{\"gcs\":{\"bucket\":\"b\",\"key\":\"p\"}}", "p/a.tgz" },
	};

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		_cleanup_json_ struct json_object *artifact = parse("{\"name\":\"a\"}");
		_cleanup_json_ struct json_object *repository = parse(repositories[i][0]);
		_cleanup_json_ struct json_object *relocated = NULL;

		assert_int_equal(location_assign(artifact, repository, "a.tgz", NULL), 0);
		assert_int_equal(location_relocate(artifact, repository, &relocated, NULL), 0);
		assert_true(location_is_complete(relocated));
		assert_string_equal(location_key(relocated), repositories[i][1]);
	}
}

static void test_other_kinds(void **state)
{
	static const char *const texts[][2] = {
		{ "{\"s3\":\"k\"}", "s3: expected an object, found string" },
		{ "{\"s3\":{\"key\":\"k\"},\"oss\":[]}", "oss: expected an object, found array" },
		{ "{\"s3\":{\"key\":5}}", "s3: key: expected a string, found number" },
		{ "{\"azure\":{\"blob\":{}}}", "azure: blob: expected a string, found object" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		_cleanup_json_ struct json_object *artifact = parse(cases[i].text);

		assert_int_equal(location_check(artifact, NULL), 0);
	}
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		_cleanup_json_ struct json_object *artifact = parse(texts[i][0]);
		struct error err = ERROR_NONE;

		assert_int_equal(location_check(artifact, &err), -EINVAL);
		assert_string_equal(err.message, texts[i][1]);
	}
}

/* What a store says itself is not said twice; what only looks like it is. */
static void test_telling(void **state)
{
	static const struct {
		const char *artifact, *message, *expected;
		enum error_class class;
	} told[] = {
		{ "{\"s3\":{\"bucket\":\"b\",\"key\":\"k/l\"}}", "open /x: is full",
		  "open /x: is full (s3 object b/k/l, permanent)", ERROR_PERMANENT },
		{ "{\"s3\":{\"bucket\":\"b\",\"key\":\"k\"}}", "open /b/l/k: is full",
		  "open /b/l/k: is full (s3 object b/k, permanent)", ERROR_PERMANENT },
		{ "{\"oss\":{\"bucket\":\"b\",\"key\":\"k\"}}", "put object b/k: gone",
		  "put object b/k: gone (transient)", ERROR_TRANSIENT },
		{ "{\"oss\":{\"bucket\":\"b\",\"key\":\"k\"}}",
		  "put object b/k: gone (x, transient)", "put object b/k: gone (x, transient)",
		  ERROR_TRANSIENT },
		{ "{\"s3\":{\"bucket\":\"b\",\"key\":\"k\"}}", "no keys (transient)",
		  "no keys (transient) (s3 object b/k)", ERROR_TRANSIENT },
		{ "{\"http\":{\"url\":\"https://u:p@h/a?secret\"}}", "is full",
		  "is full (http object a, permanent)", ERROR_PERMANENT },
		{ "{\"http\":{\"url\":\"https://u:p@h/a?secret\"}}", "PUT http://h/a: gone",
		  "PUT http://h/a: gone (transient)", ERROR_TRANSIENT },
		{ "{\"plugin\":{\"name\":\"p\",\"key\":\"no\"}}", "no answer",
		  "no answer (plugin object no, permanent)", ERROR_PERMANENT },
		{ "{\"plugin\":{\"name\":\"p\",\"key\":\"data\"}}", "write /mnt/data/f: is full",
		  "write /mnt/data/f: is full (plugin object data, permanent)", ERROR_PERMANENT },
		{ "{\"http\":{\"url\":\"https://h/x\"}}", "open /tmp/x: is full",
		  "open /tmp/x: is full (http object x, permanent)", ERROR_PERMANENT },
		{ "{\"s3\":{\"bucket\":\"data\",\"key\":\"out\"}}", "open '/mnt/data/out': is full",
		  "open '/mnt/data/out': is full (s3 object data/out, permanent)",
		  ERROR_PERMANENT },
		{ "{\"raw\":{\"data\":\"d\"}}", "is full", "is full (raw, permanent)",
		  ERROR_PERMANENT },
		{ "{\"s3\":{\"bucket\":\"b\",\"key\":\"k\"}}", "absent", "absent",
		  ERROR_NOT_FOUND },
		{ "{\"s3\":{\"bucket\":\"b\",\"key\":\"k\"}}", "cancelled", "cancelled",
		  ERROR_CANCELLED },
		{ "{}", "is full", "is full", ERROR_PERMANENT },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(told) / sizeof(told[0]); i++) {
		_cleanup_json_ struct json_object *artifact = parse(told[i].artifact);
		struct error err = ERROR_NONE;

		error_set_class(&err, -EIO, told[i].class, "%s", told[i].message);
		location_tell(artifact, &err);
		assert_string_equal(err.message, told[i].expected);
		location_tell(artifact, NULL);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_type),  cmocka_unit_test(test_several),
		cmocka_unit_test(test_other_kinds), cmocka_unit_test(test_relocation),
		cmocka_unit_test(test_assignment),  cmocka_unit_test(test_assigned_is_relocatable),
		cmocka_unit_test(test_telling),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
