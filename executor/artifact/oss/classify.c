#include "executor/artifact/oss/classify.h"

#include "executor/artifact/object/classify.h"

#include <string.h>

/* Sources: OSS API reference, "Error codes" and "HTTP status code 503"; the codes that Argo 4.1 and
 * Alibaba Cloud's SDKs try again after. */
static const struct object_code codes[] = {
	{ "NoSuchKey", ERROR_NOT_FOUND },

	{ "BadRequest", ERROR_TRANSIENT },
	{ "CachedTimeTooLarge", ERROR_TRANSIENT },
	{ "ConcurrentUpdateBucketFailed", ERROR_TRANSIENT },
	{ "ConnectionTimeout", ERROR_TRANSIENT },
	{ "Default", ERROR_TRANSIENT },
	{ "DomainNetWorkVisitedException", ERROR_TRANSIENT },
	{ "InternalError", ERROR_TRANSIENT },
	{ "RequestTimeout", ERROR_TRANSIENT },
	{ "ServiceBusy", ERROR_TRANSIENT },
	{ "ServiceUnavailable", ERROR_TRANSIENT },
	{ "SocketException", ERROR_TRANSIENT },
	{ "SocketTimeout", ERROR_TRANSIENT },

	{ "ActiveRequestLimitExceeded", ERROR_THROTTLED },
	{ "CpuLimitExceeded", ERROR_THROTTLED },
	{ "DownloadTrafficRateLimitExceeded", ERROR_THROTTLED },
	{ "MetaOperationQpsLimitExceeded", ERROR_THROTTLED },
	{ "QpsLimitExceeded", ERROR_THROTTLED },
	{ "QuotaExceeded.Refresh", ERROR_THROTTLED },
	{ "SlowDown", ERROR_THROTTLED },
	{ "Throttling", ERROR_THROTTLED },
	{ "TotalQpsLimitExceeded", ERROR_THROTTLED },
	{ "UploadTrafficRateLimitExceeded", ERROR_THROTTLED },

	{ "SecurityTokenExpired", ERROR_EXPIRED_CREDENTIALS },

	{ "RequestTimeTooSkewed", ERROR_CLOCK_SKEW },

	{ "AccessDenied", ERROR_PERMANENT },
	{ "BucketAlreadyExists", ERROR_PERMANENT },
	{ "EntityTooLarge", ERROR_PERMANENT },
	{ "FileImmutable", ERROR_PERMANENT },
	{ "InvalidAccessKeyId", ERROR_PERMANENT },
	{ "InvalidBucketName", ERROR_PERMANENT },
	{ "InvalidObjectName", ERROR_PERMANENT },
	{ "InvalidObjectState", ERROR_PERMANENT },
	{ "InvalidPart", ERROR_PERMANENT },
	{ "InvalidSecurityToken", ERROR_PERMANENT },
	{ "NoSuchBucket", ERROR_PERMANENT },
	{ "NoSuchLifecycle", ERROR_PERMANENT },
	{ "NoSuchUpload", ERROR_PERMANENT },
	{ "NotImplemented", ERROR_PERMANENT },
	{ "PreconditionFailed", ERROR_PERMANENT },
	{ "SignatureDoesNotMatch", ERROR_PERMANENT },
	{ "UserDisable", ERROR_PERMANENT },
};

enum error_class oss_classify(int status, const char *code, const char *message, bool is_object)
{
	/* Of version 4, under a code that means many things. */
	if (strstr(message, "Invalid signing date in Authorization header."))
		return ERROR_CLOCK_SKEW;
	if (status == 401 && *code == '\0')
		return ERROR_EXPIRED_CREDENTIALS;
	return object_classify(codes, sizeof(codes) / sizeof(codes[0]), status, code, message,
			       is_object);
}
