#include "executor/artifact/oss/classify.h"

#include "executor/http/classify.h"

/* Sources: OSS API reference, "Error codes" and "HTTP status code 503"; the codes that Argo 4.1 and
 * Alibaba Cloud's SDKs try again after. */
static const struct classify_row rows[] = {
	/* Of version 4, under a code that means many things. */
	{ .text = "Invalid signing date in Authorization header.", .class = ERROR_CLOCK_SKEW },
	{ .status = 401, .code = "", .class = ERROR_EXPIRED_CREDENTIALS },

	{ .code = "NoSuchKey", .class = ERROR_NOT_FOUND },

	{ .code = "BadRequest", .class = ERROR_TRANSIENT },
	{ .code = "CachedTimeTooLarge", .class = ERROR_TRANSIENT },
	{ .code = "ConcurrentUpdateBucketFailed", .class = ERROR_TRANSIENT },
	{ .code = "ConnectionTimeout", .class = ERROR_TRANSIENT },
	{ .code = "Default", .class = ERROR_TRANSIENT },
	{ .code = "DomainNetWorkVisitedException", .class = ERROR_TRANSIENT },
	{ .code = "InternalError", .class = ERROR_TRANSIENT },
	{ .code = "RequestTimeout", .class = ERROR_TRANSIENT },
	{ .code = "ServiceBusy", .class = ERROR_TRANSIENT },
	{ .code = "ServiceUnavailable", .class = ERROR_TRANSIENT },
	{ .code = "SocketException", .class = ERROR_TRANSIENT },
	{ .code = "SocketTimeout", .class = ERROR_TRANSIENT },

	{ .code = "ActiveRequestLimitExceeded", .class = ERROR_THROTTLED },
	{ .code = "CpuLimitExceeded", .class = ERROR_THROTTLED },
	{ .code = "DownloadTrafficRateLimitExceeded", .class = ERROR_THROTTLED },
	{ .code = "MetaOperationQpsLimitExceeded", .class = ERROR_THROTTLED },
	{ .code = "QpsLimitExceeded", .class = ERROR_THROTTLED },
	{ .code = "QuotaExceeded.Refresh", .class = ERROR_THROTTLED },
	{ .code = "SlowDown", .class = ERROR_THROTTLED },
	{ .code = "Throttling", .class = ERROR_THROTTLED },
	{ .code = "TotalQpsLimitExceeded", .class = ERROR_THROTTLED },
	{ .code = "UploadTrafficRateLimitExceeded", .class = ERROR_THROTTLED },

	{ .code = "SecurityTokenExpired", .class = ERROR_EXPIRED_CREDENTIALS },

	{ .code = "RequestTimeTooSkewed", .class = ERROR_CLOCK_SKEW },

	{ .code = "AccessDenied", .class = ERROR_PERMANENT },
	{ .code = "BucketAlreadyExists", .class = ERROR_PERMANENT },
	{ .code = "EntityTooLarge", .class = ERROR_PERMANENT },
	{ .code = "FileImmutable", .class = ERROR_PERMANENT },
	{ .code = "InvalidAccessKeyId", .class = ERROR_PERMANENT },
	{ .code = "InvalidBucketName", .class = ERROR_PERMANENT },
	{ .code = "InvalidObjectName", .class = ERROR_PERMANENT },
	{ .code = "InvalidObjectState", .class = ERROR_PERMANENT },
	{ .code = "InvalidPart", .class = ERROR_PERMANENT },
	{ .code = "InvalidSecurityToken", .class = ERROR_PERMANENT },
	{ .code = "NoSuchBucket", .class = ERROR_PERMANENT },
	{ .code = "NoSuchLifecycle", .class = ERROR_PERMANENT },
	{ .code = "NoSuchUpload", .class = ERROR_PERMANENT },
	{ .code = "NotImplemented", .class = ERROR_PERMANENT },
	{ .code = "PreconditionFailed", .class = ERROR_PERMANENT },
	{ .code = "SignatureDoesNotMatch", .class = ERROR_PERMANENT },
	{ .code = "UserDisable", .class = ERROR_PERMANENT },
};

enum error_class oss_classify(int status, const char *code, const char *message, bool is_object)
{
	static const struct classify_table table = CLASSIFY_TABLE(rows);
	const struct classify_answer answer = { status, code, message, is_object };

	return classify(&table, &answer);
}
