#include "executor/artifact/s3/classify.h"

#include "executor/http/classify.h"

/* Sources: Amazon S3 API reference, "List of error codes"; AWS SDKs and Tools reference guide,
 * "Retry behavior" (the standard set of transient and throttling codes). */
static const struct classify_row rows[] = {
	{ .code = "NoSuchKey", .class = ERROR_NOT_FOUND },

	{ .code = "IDPCommunicationError", .class = ERROR_TRANSIENT },
	{ .code = "InternalError", .class = ERROR_TRANSIENT },
	{ .code = "KMS.DependencyTimeoutException", .class = ERROR_TRANSIENT },
	{ .code = "KMS.InternalException", .class = ERROR_TRANSIENT },
	{ .code = "KMS.KMSInternalException", .class = ERROR_TRANSIENT },
	{ .code = "OperationAborted", .class = ERROR_TRANSIENT },
	{ .code = "PriorRequestNotComplete", .class = ERROR_TRANSIENT },
	{ .code = "RequestError", .class = ERROR_TRANSIENT },
	{ .code = "RequestTimeout", .class = ERROR_TRANSIENT },
	{ .code = "RequestTimeoutException", .class = ERROR_TRANSIENT },
	{ .code = "ServiceUnavailable", .class = ERROR_TRANSIENT },
	{ .code = "TransactionInProgressException", .class = ERROR_TRANSIENT },

	{ .code = "BandwidthLimitExceeded", .class = ERROR_THROTTLED },
	{ .code = "EC2ThrottledException", .class = ERROR_THROTTLED },
	{ .code = "KMS.ThrottlingException", .class = ERROR_THROTTLED },
	{ .code = "LimitExceededException", .class = ERROR_THROTTLED },
	{ .code = "ProvisionedThroughputExceededException", .class = ERROR_THROTTLED },
	{ .code = "RequestLimitExceeded", .class = ERROR_THROTTLED },
	{ .code = "RequestThrottled", .class = ERROR_THROTTLED },
	{ .code = "RequestThrottledException", .class = ERROR_THROTTLED },
	{ .code = "SlowDown", .class = ERROR_THROTTLED },
	{ .code = "SlowDownRead", .class = ERROR_THROTTLED },
	{ .code = "SlowDownWrite", .class = ERROR_THROTTLED },
	{ .code = "Throttling", .class = ERROR_THROTTLED },
	{ .code = "ThrottlingException", .class = ERROR_THROTTLED },
	{ .code = "TooManyRequestsException", .class = ERROR_THROTTLED },

	{ .code = "ExpiredToken", .class = ERROR_EXPIRED_CREDENTIALS },
	{ .code = "ExpiredTokenException", .class = ERROR_EXPIRED_CREDENTIALS },

	{ .code = "AuthorizationHeaderMalformed", .class = ERROR_WRONG_REGION },
	{ .code = "InvalidRegion", .class = ERROR_WRONG_REGION },
	{ .code = "PermanentRedirect", .class = ERROR_WRONG_REGION },

	{ .code = "RequestTimeTooSkewed", .class = ERROR_CLOCK_SKEW },

	{ .code = "AccessDenied", .class = ERROR_PERMANENT },
	{ .code = "AllAccessDisabled", .class = ERROR_PERMANENT },
	{ .code = "InvalidAccessKeyId", .class = ERROR_PERMANENT },
	{ .code = "InvalidObjectState", .class = ERROR_PERMANENT },
	{ .code = "InvalidPart", .class = ERROR_PERMANENT },
	{ .code = "NoSuchBucket", .class = ERROR_PERMANENT },
	{ .code = "NoSuchUpload", .class = ERROR_PERMANENT },
	{ .code = "NotImplemented", .class = ERROR_PERMANENT },
	{ .code = "PreconditionFailed", .class = ERROR_PERMANENT },
	{ .code = "SignatureDoesNotMatch", .class = ERROR_PERMANENT },
};

enum error_class s3_classify(int status, const char *code, const char *message, bool is_object)
{
	static const struct classify_table table = CLASSIFY_TABLE(rows);
	const struct classify_answer answer = { status, code, message, is_object };

	return classify(&table, &answer);
}
