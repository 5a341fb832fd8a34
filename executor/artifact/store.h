/*
 * A store is where artifacts lie: one file or folder of this room each, behind this table. The
 * caller has an artifact's *location* (the JSON object of its type, credentials referenced by
 * secret name, already relocated) and wants its bytes; everything else, naming, signing, regions,
 * retries, is the store's. How each store maps its answers to error classes is in docs/stores/.
 */
#pragma once

#include "executor/base/log.h"
#include "executor/base/spot.h"
#include "executor/base/stream.h"
#include "executor/event/loop.h"
#include "executor/event/pool.h"
#include "executor/http/http.h"
#include "executor/json/json.h"

#include <stdbool.h>
#include <stdint.h>

struct store_cache;
struct transfer_budget;

/* What is in the store of an upload that has succeeded, by what was sent and what the store said. */
#define STORE_ETAG_MAX 128
struct store_part {
	uint64_t size;
	uint8_t sha256[32];
};
struct store_stored {
	uint64_t objects, size; /* a directory's files count as one object each */
	/* Of a single object; none for a directory, and where the store does not tell. */
	char etag[STORE_ETAG_MAX];
	struct store_part *parts; /* as it was sent: one, or those of a multipart upload */
	size_t part_count;
};
void store_stored_done(struct store_stored *stored);
#define _cleanup_stored_ _cleanup_(store_stored_done)

/* "sha256:HEX" of one part, "sha256:HEX-COUNT" of several: the hash of their hashes, one behind the
 * other. "" if there is none; returns buffer. */
#define STORE_CHECKSUM_MAX 96
const char *store_stored_checksum(const struct store_stored *stored,
				  char buffer[STORE_CHECKSUM_MAX]);

/* Who wants to know how it goes; called on the loop while an operation runs. NULL = nobody. */
struct store_observer {
	/* An upload has these bytes more in the store: confirmed, never only sent. */
	void (*stored)(void *context, uint64_t bytes);
	/* Another attempt will be made at whatever failed. */
	void (*retried)(void *context);
	void *context;
};

/* What every store needs from its process. A store copies it; what it points to is borrowed for the
 * life of the store. */
struct store_context {
	struct event_loop *loop;
	struct http_client *http;
	/* What all transfers of the process share; NULL = no limit but each store's own. */
	struct transfer_budget *budget;
	/* Threads for what can be done beside the loop; NULL = none. */
	struct pool *pool;
	/* What stores find out once for the process (cache.h); NULL = each for itself. */
	struct store_cache *cache;
	const struct log *log;
	const char *secret_directory; /* "/argo/secret": <directory>/<secret name>/<key> */
	/* How secret_read_file() reads; NULL = the file itself. */
	int (*read_file)(void *context, const char *path, struct buffer *out, struct error *err);
	void *read_file_context;
	struct store_observer observer;
	/* Receives what uploads have stored; NULL = nobody wants it. Begins zeroed, is the owner's. */
	struct store_stored *stored;
	/* "/var/run/argo/ctr": <directory>/artifact-plugin-<name> is that of a plugin's sidecar; NULL
	 * where plugins run in our own container. */
	const char *container_directory;
	/* A process before this one began to upload this at that time (seconds since 1970), and has died:
	 * what it left unfinished in the store may be aborted. 0 = there was none. */
	int64_t lost_from_s;
	/* What the location belongs to, relocated; plugins are told all of it. */
	struct json_object *artifact;
};

/* For stores: context->observer.stored(), if there is one. */
void store_tell_stored(const struct store_context *context, uint64_t bytes);

/* For stores: another object is there. For context->stored, if there is one; without memory its parts
 * are left out. */
void store_tell_object(const struct store_context *context, const char *etag, uint64_t size,
		       const struct store_part *parts, size_t part_count);

/* What is to be removed from a store, by its keys, and who is told what has become of each, in any order.
 * `was_there` is false if nothing lay at the key; `err` is NULL if nothing lies there now. */
struct store_removal {
	const char *const *keys;
	size_t count;
	void (*done)(void *context, size_t i, bool was_there, const struct error *err);
	void *context;
};

struct store;

struct store_operations {
	const char *type; /* the field of the artifact that selects it: "s3", "raw" */
	/* Checks the location and reads its secrets; nothing is sent yet. `location` is borrowed. */
	int (*open)(const struct store_context *context, struct json_object *location,
		    struct store **ret, struct error *err);
	void (*close)(struct store *store);
	/* Opens the object for reading from its start. The reader resumes by itself after a
	 * transient failure. NOT_FOUND when there is no such object. *ret_size is -1 if unknown. */
	int (*get)(struct store *store, struct reader **ret, int64_t *ret_size, struct error *err);
	void (*get_done)(struct store *store, struct reader *reader);
	/* Everything below "<key>/", in the store's order: `visit` gets each key relative to that
	 * prefix and returns 0 to go on; one that ends in a slash is a directory by itself. NULL =
	 * the store has no directories. NOT_FOUND when there is nothing below. */
	int (*list)(struct store *store,
		    int (*visit)(void *context, const char *relative, int64_t size,
				 struct error *err),
		    void *context, struct error *err);
	/* As get, for one relative key that list named. */
	int (*get_below)(struct store *store, const char *relative, struct reader **ret,
			 int64_t *ret_size, struct error *err);
	/* Uploads a regular file. `name` gives the content type by its extension. `relative` ("" =
	 * the key itself) is appended to the key with a slash. NULL = read-only store. The object
	 * exists when, and only when, this returns 0. */
	int (*put_file)(struct store *store, const char *relative, int fd, uint64_t size,
			const char *name, struct error *err);
	/* Marks a directory ("" = the key itself) as being there, also if nothing is in it. NULL =
	 * the store has no such marks. */
	int (*put_directory)(struct store *store, const char *relative, struct error *err);
	/* Uploads a stream of unknown length: write, then finish. An unfinished one is aborted by
	 * put_stream_done and leaves no object. */
	int (*put_stream)(struct store *store, const char *name, struct writer **ret,
			  struct error *err);
	void (*put_stream_done)(struct store *store, struct writer *writer);
	/* Removes what lies at the key, `relative` ("" = the key itself) below it: the object, or if there is
	 * none the directory. Nothing there is success, or NOT_FOUND where the store tells. NULL = the store
	 * cannot remove. */
	int (*remove)(struct store *store, const char *relative, struct error *err);
	/* The same for many keys of the same place, whatever the location's own, in as few requests as the
	 * store has for it. Returns 0 when all have been told, and fails for what concerns no single one:
	 * -ECANCELED, -ENOMEM. NULL = one by one. */
	int (*remove_all)(struct store *store, const struct store_removal *removal,
			  struct error *err);
	/* Aborts uploads to the key, and if wanted to what lies below it, that were begun since
	 * context->lost_from_s, by processes that have died. NULL = none can be left. */
	int (*sweep)(struct store *store, bool is_below_too, struct error *err);
	/*
	 * For stores that work in another container of the pod (artifact plugins), and instead of all
	 * of the above: files and directories by their path, which is the same in both containers.
	 * load_path makes what has the spot's path, which does not exist; NOT_FOUND as for get.
	 */
	int (*load_path)(struct store *store, struct spot spot, struct error *err);
	int (*save_path)(struct store *store, const char *path, struct error *err);
};

/* Every store embeds this first. */
struct store {
	const struct store_operations *operations;
};

/* The store for an artifact's location type, or NULL if there is none for it. */
const struct store_operations *store_find(const char *type);
