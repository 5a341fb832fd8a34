#include "signal/control_peer.h"

#include <string.h>

struct control_peer *control_peer_find(struct control_peers *peers,
				       const struct control_peer_key *key, int64_t now_ms)
{
	struct control_peer *peer = &peers->entries[0];

	for (size_t i = 0; i < CONTROL_PEERS_MAX; i++) {
		struct control_peer *other = &peers->entries[i];

		if (other->seen_ms && memcmp(&other->key, key, sizeof(*key)) == 0) {
			other->seen_ms = now_ms;
			return other;
		}
		if (other->seen_ms < peer->seen_ms)
			peer = other;
	}
	*peer = (struct control_peer){ .seen_ms = now_ms };
	memcpy(&peer->key, key, sizeof(*key));
	return peer;
}

bool control_bucket_take(struct control_bucket *bucket, int64_t per_s, int64_t at_once,
			 int64_t now_ms)
{
	int64_t passed_ms = now_ms - bucket->filled_ms;

	/* Full again, and no product of a long time. */
	if (!bucket->filled_ms || passed_ms > at_once * 1000 / per_s)
		bucket->credit = at_once * 1000;
	else
		bucket->credit += passed_ms * per_s;
	if (bucket->credit > at_once * 1000)
		bucket->credit = at_once * 1000;
	bucket->filled_ms = now_ms;
	if (bucket->credit < 1000)
		return false;
	bucket->credit -= 1000;
	return true;
}

struct control_peer_key control_peer_key_of(const struct sockaddr_storage *address)
{
	struct control_peer_key key;

	memset(&key, 0, sizeof(key));
	if (address->ss_family == AF_INET) {
		key.address.s6_addr[10] = key.address.s6_addr[11] = 0xff;
		memcpy(&key.address.s6_addr[12], &((const struct sockaddr_in *)address)->sin_addr,
		       4);
	} else if (address->ss_family == AF_INET6) {
		key.address = ((const struct sockaddr_in6 *)address)->sin6_addr;
		if (!IN6_IS_ADDR_V4MAPPED(&key.address))
			memset(&key.address.s6_addr[8], 0, 8);
	}
	return key;
}
