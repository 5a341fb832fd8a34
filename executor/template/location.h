/*
 * Where an artifact lies: exactly one of the type fields (s3, gcs, …) of an artifact object or of
 * archiveLocation. Works on the JSON itself, so that fields this program does not know survive on
 * their way back to the controller. Rules and precedence as Argo 4.1 has them.
 */
#pragma once

#include "executor/base/buffer.h"
#include "executor/base/error.h"
#include "executor/json/json.h"

#include <stdbool.h>

/* The type under which stores are found: "s3", "http", …; NULL if none is set. Several set: one in
 * which anything is set goes before one that is empty, then the order of driver construction decides.
 * Static storage. */
const char *location_type(struct json_object *artifact);

/* The first of the other types in which anything is set, too; NULL as it should be. Static storage. */
const char *location_other_type(struct json_object *artifact);

/* Removes the empty locations of other types than location_type. */
void location_tidy(struct json_object *artifact);

/* The location object itself (artifact's member of that type); lent, NULL if none. */
struct json_object *location_get(struct json_object *artifact);

/* -EINVAL for what looks like a location and is none that can be read: members of a type's name or its
 * key that are of another kind. */
int location_check(struct json_object *artifact, struct error *err);

/* Enough to find the object without the repository's defaults. */
bool location_is_complete(struct json_object *artifact);

/* The key (s3 key, azure blob, hdfs path, path of an http URL with its query); NULL when there is none
 * (a query alone is none) or the type has no keys. Lent; valid until the artifact changes. */
const char *location_key(struct json_object *artifact);
/* A copy of it (caller frees) that may be told: without the query of a URL, which may grant access. ""
 * if there is none, NULL if there is no memory. */
char *location_copy_key(struct json_object *artifact);

/*
 * The artifact as a store needs it: a new object (caller frees). A complete location stays as it
 * is; otherwise the location becomes a copy of archive_location's with this artifact's key.
 * Errors: no archive location (the message says how to configure one), no key, a type that has
 * no keys.
 */
int location_relocate(struct json_object *artifact, struct json_object *archive_location,
		      struct json_object **ret, struct error *err);

/*
 * For an output without a key: replaces its location by an object of archive_location's type that
 * holds only the key "<archive key>/<file name>" (cleaned). That is what is reported.
 */
int location_assign(struct json_object *artifact, struct json_object *archive_location,
		    const char *file_name, struct error *err);

/*
 * Appends to the error of a transfer what a store's own error says anyway: type, object and class, as
 * " (s3 object b/k, permanent)". What the message has of it is not said again; an error that is not
 * found or cancelled stays as it is. `artifact` is one that location_relocate() has made.
 */
void location_tell(struct json_object *artifact, struct error *err);

/*
 * Appends what tells the object from others: the type, and each field that is part of where it is,
 * without the credentials. Nothing for a type that has no objects (git, raw). Text, to be compared
 * with another one only.
 */
int location_print_place(struct json_object *artifact, struct buffer *out, struct error *err);
