#include "executor/artifact/object/checksum.h"

#include "executor/artifact/object/crc64.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

bool object_checksum_of(const struct object_client *client, const struct http_response *response,
			uint64_t *ret)
{
	char header[32], *end;

	if (!client->crc || !http_response_header(response, client->protocol->checksum_header,
						  header, sizeof(header)))
		return false;
	errno = 0;
	*ret = strtoull(header, &end, 10);
	return isdigit((unsigned char)header[0]) && *end == '\0' && errno == 0;
}

int object_checksum_compare(struct object_client *client, uint64_t theirs, uint64_t ours,
			    struct error *err)
{
	bool is_final;

	if (theirs == ours)
		return 0;
	is_final = ++client->checksum_failures > OBJECT_CHECKSUM_REPEATS;
	return error_set_class(err, -EBADMSG, is_final ? ERROR_PERMANENT : ERROR_TRANSIENT,
			       "checksums differ: the server has CRC-64 %" PRIu64
			       ", this side %" PRIu64,
			       theirs, ours);
}

int object_checksum_check(struct object_client *client, const struct http_response *response,
			  uint64_t ours, struct error *err)
{
	uint64_t theirs;

	return object_checksum_of(client, response, &theirs) ?
		       object_checksum_compare(client, theirs, ours, err) :
		       0;
}
