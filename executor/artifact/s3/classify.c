#include "executor/artifact/s3/classify.h"

#include "executor/artifact/object/classify.h"

/* Sources: Amazon S3 API reference, "List of error codes"; AWS SDKs and Tools reference guide,
 * "Retry behavior" (the standard set of transient and throttling codes). */
static const struct object_code codes[] = {
	{ "NoSuchKey", ERROR_NOT_FOUND },

	{ "IDPCommunicationError", ERROR_TRANSIENT },
	{ "InternalError", ERROR_TRANSIENT },
	{ "KMS.DependencyTimeoutException", ERROR_TRANSIENT },
	{ "KMS.InternalException", ERROR_TRANSIENT },
	{ "KMS.KMSInternalException", ERROR_TRANSIENT },
	{ "OperationAborted", ERROR_TRANSIENT },
	{ "PriorRequestNotComplete", ERROR_TRANSIENT },
	{ "RequestError", ERROR_TRANSIENT },
	{ "RequestTimeout", ERROR_TRANSIENT },
	{ "RequestTimeoutException", ERROR_TRANSIENT },
	{ "ServiceUnavailable", ERROR_TRANSIENT },
	{ "TransactionInProgressException", ERROR_TRANSIENT },

	{ "BandwidthLimitExceeded", ERROR_THROTTLED },
	{ "EC2ThrottledException", ERROR_THROTTLED },
	{ "KMS.ThrottlingException", ERROR_THROTTLED },
	{ "LimitExceededException", ERROR_THROTTLED },
	{ "ProvisionedThroughputExceededException", ERROR_THROTTLED },
	{ "RequestLimitExceeded", ERROR_THROTTLED },
	{ "RequestThrottled", ERROR_THROTTLED },
	{ "RequestThrottledException", ERROR_THROTTLED },
	{ "SlowDown", ERROR_THROTTLED },
	{ "SlowDownRead", ERROR_THROTTLED },
	{ "SlowDownWrite", ERROR_THROTTLED },
	{ "Throttling", ERROR_THROTTLED },
	{ "ThrottlingException", ERROR_THROTTLED },
	{ "TooManyRequestsException", ERROR_THROTTLED },

	{ "ExpiredToken", ERROR_EXPIRED_CREDENTIALS },
	{ "ExpiredTokenException", ERROR_EXPIRED_CREDENTIALS },

	{ "AuthorizationHeaderMalformed", ERROR_WRONG_REGION },
	{ "InvalidRegion", ERROR_WRONG_REGION },
	{ "PermanentRedirect", ERROR_WRONG_REGION },

	{ "RequestTimeTooSkewed", ERROR_CLOCK_SKEW },

	{ "AccessDenied", ERROR_PERMANENT },
	{ "AllAccessDisabled", ERROR_PERMANENT },
	{ "InvalidAccessKeyId", ERROR_PERMANENT },
	{ "InvalidObjectState", ERROR_PERMANENT },
	{ "InvalidPart", ERROR_PERMANENT },
	{ "NoSuchBucket", ERROR_PERMANENT },
	{ "NoSuchUpload", ERROR_PERMANENT },
	{ "NotImplemented", ERROR_PERMANENT },
	{ "PreconditionFailed", ERROR_PERMANENT },
	{ "SignatureDoesNotMatch", ERROR_PERMANENT },
};

enum error_class s3_classify(int status, const char *code, const char *message, bool is_object)
{
	return object_classify(codes, sizeof(codes) / sizeof(codes[0]), status, code, message,
			       is_object);
}
