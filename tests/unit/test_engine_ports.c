#include "executor/stage/engine_ports.h"

#include "executor/template/location.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define KEYS \
	"'accessKeySecret': {'name': 's', 'key': 'a'}, " \
	"'secretKeySecret': {'name': 's', 'key': 'b'}"
#define TEMPLATE(archive, input) \
	"{'name': 't', 'archiveLocation': {" archive "}, 'container': {'image': 'i'}, " \
	"'inputs': {'artifacts': [{'name': 'a', 'path': '/a', " input "}]}}"
#define ARCHIVE "'s3': {'endpoint': 'minio:9000', 'bucket': 'b', " KEYS "}"
#define KEY "'s3': {'key': 'k'}"

/* As " 53 80 443 9000"; "" for any. */
static const char *find(const char *text)
{
	static char found[512];
	char quoted[2048];
	struct template *template = NULL;
	struct engine_ports ports;
	struct error err = ERROR_NONE;

	snprintf(quoted, sizeof(quoted), "%s", text);
	for (char *c = quoted; *c; c++)
		*c = *c == '\'' ? '"' : *c;
	if (template_parse(quoted, strlen(quoted), "t", &template, &err) < 0)
		fail_msg("%s", err.message);
	engine_ports_find(template, &ports);
	template_free(template);
	found[0] = '\0';
	for (size_t i = 0; i < ports.count; i++)
		snprintf(found + strlen(found), sizeof(found) - strlen(found), " %d",
			 ports.items[i]);
	return found;
}

static void ports_of_endpoints(void **state)
{
	(void)state;
	assert_string_equal(find(TEMPLATE(ARCHIVE, KEY)), " 53 80 443 9000");
	assert_string_equal(find("{'name': 't', 'container': {'image': 'i'}}"), " 53 80 443");
	assert_string_equal(find(TEMPLATE(ARCHIVE, "'raw': {'data': 'x'}")), " 53 80 443 9000");
	assert_string_equal(find(TEMPLATE("'s3': {'endpoint': 's3.amazonaws.com', " KEYS "}", KEY)),
			    " 53 80 443");
	assert_string_equal(find(TEMPLATE("'s3': {'endpoint': '[::1]', " KEYS "}", KEY)),
			    " 53 80 443");
	assert_string_equal(
		find(TEMPLATE(ARCHIVE, "'oss': {'endpoint': '[::1]:81', 'key': 'k', 'bucket': 'b', "
				       "'useSDKCreds': false, " KEYS "}")),
		" 53 80 443 9000 81");
}

static void any_port_where_they_are_not_known(void **state)
{
	static const char *const others[] = {
		TEMPLATE(ARCHIVE, "'http': {'url': 'http://h:8080/f'}"),
		TEMPLATE(ARCHIVE, "'artifactory': {'url': 'http://h/f'}"),
		TEMPLATE(ARCHIVE, "'plugin': {'name': 'p', 'key': 'k'}"),
		TEMPLATE("'s3': {'endpoint': 'h:9000', 'bucket': 'b'}", KEY),
		TEMPLATE("'s3': {'endpoint': 'h:9000', 'accessKeySecret': {'key': ''}, "
			 "'secretKeySecret': {'key': ''}}",
			 KEY),
		TEMPLATE("'s3': {'endpoint': 'h:9000', 'useSDKCreds': true, " KEYS "}", KEY),
		TEMPLATE("'s3': {'endpoint': 'h:9000', 'roleARN': 'arn:x', " KEYS "}", KEY),
		TEMPLATE("'s3': {'endpoint': 'h:https', " KEYS "}", KEY),
		TEMPLATE("'s3': {'endpoint': 'h:65536', " KEYS "}", KEY),
	};

	(void)state;
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		if (*find(others[i]))
			fail_msg("%s: %s", others[i], find(others[i]));
	setenv("HTTPS_PROXY", "http://proxy:3128", 1);
	assert_string_equal(find(TEMPLATE(ARCHIVE, KEY)), "");
	setenv("HTTPS_PROXY", "", 1);
	assert_string_equal(find(TEMPLATE(ARCHIVE, KEY)), " 53 80 443 9000");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ports_of_endpoints),
		cmocka_unit_test(any_port_where_they_are_not_known),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
