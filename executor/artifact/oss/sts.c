#include "executor/artifact/oss/sts.h"

#include "executor/artifact/secret.h"
#include "executor/base/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define TOKEN_BYTES_MAX (64 * 1024)

static int append_url(struct buffer *url)
{
	const char *region = getenv("ALIBABA_CLOUD_STS_REGION");
	const char *is_vpc = getenv("ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED");
	char stamp[CLOCK_RFC3339_MAX];
	struct timespec now;
	int r = buffer_append_string(url, "https://sts");

	if (r == 0 && region && object_url_is_region(region))
		r = buffer_append_format(url, "%s.%s",
					 is_vpc && strcasecmp(is_vpc, "true") == 0 ? "-vpc" : "",
					 region);
	if (r == 0)
		r = buffer_append_string(url, ".aliyuncs.com/?Action=AssumeRoleWithOIDC&Format=JSON"
					      "&Version=2015-04-01&Timestamp=");
	clock_gettime(CLOCK_REALTIME, &now);
	return r < 0 ? r : object_url_encode(url, clock_format_rfc3339(&now, 0, stamp), false);
}

static int append_form(struct buffer *form, const struct oss_source *source, const char *token)
{
	const struct {
		const char *name, *value;
	} fields[] = {
		{ "RoleArn", source->role },   { "OIDCProviderArn", source->provider },
		{ "OIDCToken", token },        { "RoleSessionName", source->session },
		{ "DurationSeconds", "3600" },
	};
	int r = 0;

	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]) && r == 0; i++) {
		r = buffer_append_format(form, "%s%s=", i > 0 ? "&" : "", fields[i].name);
		if (r == 0)
			r = object_url_encode(form, fields[i].value, false);
	}
	return r;
}

int sts_request(const struct oss_source *source, const struct store_context *context,
		struct buffer *url, struct buffer *form, struct error *err)
{
	_cleanup_buffer_ struct buffer token = BUFFER_INIT(TOKEN_BYTES_MAX);
	int r = secret_read_file(context, source->token_file, &token, err);

	if (r < 0)
		return r;
	r = append_url(url);
	if (r == 0)
		r = append_form(form, source, buffer_string(&token));
	if (token.data)
		explicit_bzero(token.data, token.size);
	return r < 0 ? error_errno(err, r, "ask STS") : 0;
}
