#include "executor/artifact/object/xml.h"
#include "executor/artifact/object/xml_bucket.h"
#include "executor/base/buffer.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define XMLNS " xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\""

static void test_error(void **state)
{
	static const char text[] =
		"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>NoSuchKey</Code>"
		"<Message>The specified key does not exist.</Message><Key>a</Key>"
		"<Region>eu-west-1</Region><RequestId>1</RequestId></Error>";
	struct object_xml_error error;

	(void)state;
	assert_true(object_xml_parse_error(text, sizeof(text) - 1, &error));
	assert_string_equal(error.code, "NoSuchKey");
	assert_string_equal(error.message, "The specified key does not exist.");
	assert_string_equal(error.region, "eu-west-1");
	/* Cut off behind the code: it counts. */
	assert_true(object_xml_parse_error(text, 90, &error));
	assert_string_equal(error.code, "NoSuchKey");
	assert_false(object_xml_parse_error("", 0, &error));
	assert_false(object_xml_parse_error("<html><body>x</body></html>", 27, &error));
	assert_false(object_xml_parse_error("\0\1\2\3", 4, &error));
}

static void test_error_is_cleaned(void **state)
{
	static const char text[] = "<Error><Code>A&#10;B</Code><Region>e/v.il</Region>"
				   "<Message>one&#10;two &lt;three&gt;</Message></Error>";
	_cleanup_buffer_ struct buffer long_text = BUFFER_INIT(100000);
	struct object_xml_error error;

	(void)state;
	assert_true(object_xml_parse_error(text, sizeof(text) - 1, &error));
	assert_string_equal(error.code, "A B");
	assert_string_equal(error.message, "one two <three>");
	assert_string_equal(error.region, "");

	buffer_append_string(&long_text, "<Error><Code>x</Code><Message>");
	for (int i = 0; i < 1000; i++)
		buffer_append_string(&long_text, "\xe2\x82\xac");
	buffer_append_string(&long_text, "</Message></Error>");
	assert_true(object_xml_parse_error(long_text.data, long_text.size, &error));
	assert_int_equal(strlen(error.message), (OBJECT_TEXT_MAX - 1) / 3 * 3);
}

static void test_list(void **state)
{
	static const char text[] =
		"<ListBucketResult" XMLNS "><Name>b</Name><Prefix>p/</Prefix><KeyCount>2</KeyCount>"
		"<Contents><Key>p/a+b%2Fc</Key><LastModified>x</LastModified><Size>12</Size>"
		"<Owner><ID>1</ID></Owner></Contents>"
		"<Contents><Size>0</Size><Key>p/%C3%A4</Key></Contents>"
		"<EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>"
		"<NextContinuationToken>t==</NextContinuationToken></ListBucketResult>";
	struct object_xml_list list;

	(void)state;
	assert_int_equal(object_xml_parse_list(text, sizeof(text) - 1, &list, NULL), 0);
	assert_int_equal(list.count, 2);
	assert_string_equal(list.entries[0].key, "p/a b/c");
	assert_int_equal(list.entries[0].size, 12);
	assert_string_equal(list.entries[1].key, "p/\xc3\xa4");
	assert_int_equal(list.entries[1].size, 0);
	assert_true(list.is_truncated);
	assert_string_equal(list.next_token, "t==");
	object_xml_list_done(&list);
}

static void test_list_without_encoding(void **state)
{
	static const char text[] = "<ListBucketResult><Contents><Key>a+b%20&amp;</Key><Size>1"
				   "</Size></Contents></ListBucketResult>";
	struct object_xml_list list;

	(void)state;
	assert_int_equal(object_xml_parse_list(text, sizeof(text) - 1, &list, NULL), 0);
	assert_string_equal(list.entries[0].key, "a+b%20&");
	assert_false(list.is_truncated);
	assert_null(list.next_token);
	object_xml_list_done(&list);
}

static void refuse_list(const char *text, size_t size, const char *expected)
{
	struct error err = ERROR_NONE;
	struct object_xml_list list;

	assert_true(object_xml_parse_list(text, size, &list, &err) < 0);
	assert_int_equal(err.class, ERROR_PERMANENT);
	if (!strstr(err.message, expected))
		fail_msg("'%s' is not in '%s'", expected, err.message);
	assert_null(list.entries);
}

static void test_broken_lists(void **state)
{
	static const struct {
		const char *text, *expected;
	} rows[] = {
		{ "", "ListBucketResult" },
		{ "nothing", "ListBucketResult" },
		{ "<Other/>", "no ListBucketResult" },
		{ "<ListBucketResult><Contents><Key>a</Key>", "unreadable" },
		{ "<ListBucketResult></Other>", "unreadable" },
		{ "<ListBucketResult><Contents><Key>a</Key></Contents></ListBucketResult>",
		  "unexpected content" },
		{ "<ListBucketResult><Contents><Size>1</Size></Contents></ListBucketResult>",
		  "unexpected content" },
		{ "<ListBucketResult><Contents><Key>a</Key><Key>b</Key></Contents>"
		  "</ListBucketResult>",
		  "unexpected content" },
		{ "<ListBucketResult><Contents><Key>a</Key><Size>-1</Size></Contents>"
		  "</ListBucketResult>",
		  "unexpected content" },
		{ "<ListBucketResult><Contents><Key>a</Key><Size>9999999999999999999</Size>"
		  "</Contents></ListBucketResult>",
		  "unexpected content" },
		{ "<ListBucketResult><EncodingType>url</EncodingType><Contents><Key>a%0</Key>"
		  "<Size>1</Size></Contents></ListBucketResult>",
		  "illegal object key" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		refuse_list(rows[i].text, strlen(rows[i].text), rows[i].expected);
}

static void test_bombs(void **state)
{
	static const char laughs[] =
		"<!DOCTYPE l [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;&a;&a;&a;&a;\">"
		"<!ENTITY c \"&b;&b;&b;&b;&b;&b;&b;&b;\">]><ListBucketResult>&c;"
		"</ListBucketResult>";
	static const char outside[] = "<!DOCTYPE l SYSTEM \"file:///etc/passwd\"><l/>";
	static const char undefined[] = "<ListBucketResult>&x;</ListBucketResult>";
	_cleanup_buffer_ struct buffer deep = BUFFER_INIT(1 << 20);

	(void)state;
	refuse_list(laughs, sizeof(laughs) - 1, "document type");
	refuse_list(outside, sizeof(outside) - 1, "document type");
	refuse_list(undefined, sizeof(undefined) - 1, "unreadable");
	for (int i = 0; i < 100000; i++)
		buffer_append_string(&deep, "<a>");
	refuse_list(deep.data, deep.size, "nested too deeply");
	buffer_reset(&deep);
	buffer_append_string(&deep, "<");
	for (int i = 0; i < 100000; i++)
		buffer_append_string(&deep, "name");
	buffer_append_string(&deep, "/>");
	refuse_list(deep.data, deep.size, "nested too deeply");
}

static void test_huge_document(void **state)
{
	enum { SIZE = 100 * 1024 * 1024 };
	static const char head[] = "<ListBucketResult><Contents><Key>";
	char *text = malloc(SIZE);

	(void)state;
	assert_non_null(text);
	memset(text, 'a', SIZE);
	memcpy(text, head, sizeof(head) - 1);
	refuse_list(text, SIZE, "too long");
	free(text);
}

static void test_upload(void **state)
{
	static const char text[] =
		"<InitiateMultipartUploadResult" XMLNS "><Bucket>b</Bucket><Key>k</Key>"
		"<UploadId>VX.a-b_c==</UploadId></InitiateMultipartUploadResult>";
	static const char none[] = "<InitiateMultipartUploadResult><UploadId></UploadId>"
				   "</InitiateMultipartUploadResult>";
	char *id = NULL;

	(void)state;
	assert_int_equal(object_xml_parse_upload(text, sizeof(text) - 1, &id, NULL), 0);
	assert_string_equal(id, "VX.a-b_c==");
	free(id);
	id = NULL;
	assert_int_equal(object_xml_parse_upload(none, sizeof(none) - 1, &id, NULL), -EBADMSG);
	assert_int_equal(object_xml_parse_upload(text, 60, &id, NULL), -EBADMSG);
	assert_null(id);
}

static struct object_xml_upload found_upload(const struct object_xml_wanted *wanted)
{
	static const char text[] = "<ListMultipartUploadsResult" XMLNS "><Bucket>b</Bucket>"
				   "<Upload><Key>k/2</Key><UploadId>A</UploadId>"
				   "<Initiated>1970-01-01T00:01:40.000Z</Initiated></Upload>"
				   "<Upload><Key>k</Key><UploadId>B</UploadId>"
				   "<Initiated>1970-01-01T00:01:40Z</Initiated></Upload>"
				   "<Upload><Key>k</Key><UploadId>C</UploadId>"
				   "<Initiated>1970-01-01T00:01:41Z</Initiated></Upload>"
				   "<Upload><Key>k</Key><UploadId>D</UploadId></Upload>"
				   "</ListMultipartUploadsResult>";
	struct object_xml_upload found;

	assert_int_equal(object_xml_find_upload(text, sizeof(text) - 1, wanted, &found, NULL), 0);
	return found;
}

static void test_find_upload(void **state)
{
	static const struct {
		struct object_xml_wanted wanted;
		const char *key, *id;
	} rows[] = {
		{ { "k", NULL, false, 100, 101 }, "k", "B" },
		{ { "k", "B", false, 100, 101 }, "k", "C" },
		{ { "k", NULL, false, 101, 200 }, "k", "C" },
		{ { "k", "C", false, 101, 200 }, NULL, NULL },
		{ { "k/2", NULL, false, 100, 100 }, "k/2", "A" },
		{ { "k", NULL, false, 1, 99 }, NULL, NULL },
		{ { "K", NULL, false, 100, 101 }, NULL, NULL },
		{ { "k", NULL, true, 100, 101 }, "k/2", "A" },
		{ { "k/", NULL, true, 100, 101 }, NULL, NULL },
		{ { "k", "A", true, 101, 101 }, "k", "C" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		_cleanup_upload_ struct object_xml_upload found = found_upload(&rows[i].wanted);

		if (!rows[i].id) {
			assert_null(found.id);
			continue;
		}
		assert_string_equal(found.id, rows[i].id);
		assert_string_equal(found.key, rows[i].key);
	}
}

static void test_complete(void **state)
{
	static const char text[] = "<CompleteMultipartUploadResult" XMLNS
				   "><Location>x</Location><Key>k</Key>"
				   "<ETag>\"abc-2\"</ETag></CompleteMultipartUploadResult>";
	static const char none[] = "<CompleteMultipartUploadResult><Key>k</Key>"
				   "</CompleteMultipartUploadResult>";
	static const char error[] = "  <Error><Code>InternalError</Code></Error>";
	char etag[STORE_ETAG_MAX] = "";

	(void)state;
	assert_int_equal(object_xml_parse_complete(text, sizeof(text) - 1, etag, NULL), 0);
	assert_string_equal(etag, "\"abc-2\"");
	assert_int_equal(object_xml_parse_complete(none, sizeof(none) - 1, etag, NULL), -EBADMSG);
	assert_int_equal(object_xml_parse_complete(error, sizeof(error) - 1, etag, NULL), -EBADMSG);
	assert_int_equal(object_xml_parse_complete("", 0, etag, NULL), -EBADMSG);
}

static void test_location(void **state)
{
	static const struct {
		const char *text, *region; /* NULL = refused */
	} rows[] = {
		{ "<LocationConstraint" XMLNS ">eu-central-1</LocationConstraint>",
		  "eu-central-1" },
		{ "<LocationConstraint" XMLNS "/>", "us-east-1" },
		{ "<LocationConstraint></LocationConstraint>", "us-east-1" },
		{ "<LocationConstraint>EU</LocationConstraint>", "eu-west-1" },
		{ "<LocationConstraint>x/../y</LocationConstraint>", NULL },
		{ "<Other/>", NULL },
		{ "", NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char region[OBJECT_REGION_MAX] = "";
		int r = object_xml_parse_location(rows[i].text, strlen(rows[i].text), region, NULL);

		assert_int_equal(r, rows[i].region ? 0 : -EBADMSG);
		assert_string_equal(region, rows[i].region ? rows[i].region : "");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_error),         cmocka_unit_test(test_error_is_cleaned),
		cmocka_unit_test(test_list),          cmocka_unit_test(test_list_without_encoding),
		cmocka_unit_test(test_broken_lists),  cmocka_unit_test(test_bombs),
		cmocka_unit_test(test_huge_document), cmocka_unit_test(test_upload),
		cmocka_unit_test(test_complete),      cmocka_unit_test(test_find_upload),
		cmocka_unit_test(test_location),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
