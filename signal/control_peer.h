/* Who asks how often: what one process, or one address, may cost the others. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Remembered ones; who was silent longest makes room. */
#define CONTROL_PEERS_MAX 64

/* A process by what its socket tells, or an address. Of IPv6 the first half counts: the other one is
 * the peer's to choose. Every byte is significant: begin with zeroed memory. */
struct control_peer_key {
	uid_t uid;
	pid_t pid;
	struct in6_addr address; /* IPv4 as ::ffff:a.b.c.d; unspecified for a process */
};

struct control_bucket {
	int64_t credit; /* thousandths */
	int64_t filled_ms; /* 0 = never used, that is, full */
};

struct control_peer {
	struct control_peer_key key;
	int64_t seen_ms; /* 0 = free */
	struct control_bucket requests, connections;
	bool was_refused; /* for lack of a token, and that was logged */
};

struct control_peers {
	struct control_peer entries[CONTROL_PEERS_MAX];
};

/* The entry of that peer, a fresh one if it is new or was forgotten. */
struct control_peer *control_peer_find(struct control_peers *peers,
				       const struct control_peer_key *key, int64_t now_ms);

/* Takes one; false: `at_once` were taken faster than `per_s` come back. */
bool control_bucket_take(struct control_bucket *bucket, int64_t per_s, int64_t at_once,
			 int64_t now_ms);

/* The key of an address. */
struct control_peer_key control_peer_key_of(const struct sockaddr_storage *address);
