/*
 * Makes what an archive describes below one directory, and never anything elsewhere: not through
 * names, not through links that the archive made before, not through links that another process
 * puts in the way meanwhile. Each step is relative to a descriptor that was reached beneath the
 * root, creates exclusively and follows no link at the last component.
 *
 * Permission bits are set regardless of the umask; setuid, setgid and sticky are dropped, owners
 * are ours. Directories get at least 0755 (what Argo's executor gives all of them): owners are not
 * restored, so a private directory would be shut to the very user it was made for.
 */
#pragma once

#include "executor/archive/beneath.h"
#include "executor/archive/fill.h"
#include "executor/archive/hooks.h"
#include "executor/archive/member.h"
#include "executor/base/buffer.h"

/* Directory times can only be set at the end. What they take to remember is bounded; directories
 * beyond it keep the time of unpacking. Some 100,000 directories. */
#define TREE_TIMES_BYTES_MAX (8u * 1024 * 1024)
/* Links that can only be judged at the end are rare; this many names are a sign of bad intent. */
#define TREE_LINKS_BYTES_MAX (1024u * 1024)

struct tree {
	struct beneath beneath; /* root_fd is not owned */
	const struct hooks *hooks;
	uint64_t max_bytes; /* of all content together; 0 = what the file system has free */
	uint64_t bytes; /* announced so far */
	uint64_t room_bytes; /* free space when last asked, plus `bytes` at that time */
	/* The parent directory of the last entry. */
	char *parent;
	int parent_fd;
	bool parent_has_links;
	struct buffer times;
	bool is_times_full;
	struct buffer links;
	bool has_warned_of_attributes;
};

void tree_init(struct tree *tree, int root_fd, uint64_t max_bytes, const struct hooks *hooks);
void tree_done(struct tree *tree);
#define _cleanup_tree_ _cleanup_(tree_done)

/*
 * All of these take a location as from member_locate(), not "". Missing parents are made (0755).
 * An existing file or link gives way to a regular file or hard link, a directory never gives way.
 * -EXDEV "illegal file path after symlink resolution: …" when the parent leads outside.
 */

/* An existing directory, or a link to one inside, will do; a link's target is left as it is. */
int tree_directory(struct tree *tree, const char *location, const struct member *member,
		   struct error *err);

/* -EXDEV "illegal symlink target: <name> -> <target>" unless it points strictly below the root;
 * -EEXIST if anything is there. */
int tree_symlink(struct tree *tree, const char *location, const struct member *member,
		 const char *target, struct error *err);

/* Another name for the regular file at `link_location`, or a copy where the file system has no
 * links. To a symbolic link: a symbolic link with the same text, judged where it stands. Nothing
 * there: a warning. */
int tree_hard_link(struct tree *tree, const char *location, const struct member *member,
		   const char *link_location, struct error *err);

/* A file that was made. */
struct tree_file {
	const char *location;
	uint64_t dev, ino;
};

/* `location` becomes another name for `file`, if that is still there, has the size, permissions and time
 * of `member`, and can have another name: 1 and *ret_fd, its content. Otherwise 0: nothing is made (what
 * was there may be gone). */
int tree_name_again(struct tree *tree, const char *location, const struct member *member,
		    const struct tree_file *file, int *ret_fd, struct error *err);

/* The directory that `location` is in (owned by the tree, valid until the next call), and its last
 * component. */
int tree_open_parent(struct tree *tree, const char *location, const char **ret_base,
		     struct error *err);

/* A regular file in the making. Fails at once if member->size is more than there is room. */
int tree_file_open(struct tree *tree, const char *location, const struct member *member,
		   struct filling *ret, struct error *err);
/* The steps of it: announces `size` bytes more, if there is room for them; */
int tree_file_reserve(struct tree *tree, const char *location, uint64_t size, struct error *err);
/* makes a new, empty file where nothing, a file or a link was; */
int tree_file_create(struct tree *tree, const char *location, struct filling *ret,
		     struct error *err);
/* or, on any thread, only where nothing was, in the directory of `location`: a descriptor, or -1 and
 * errno. */
int tree_file_create_new(int directory_fd, const char *location);
/* Gives it the mode of `member`; on any thread. false and errno. */
bool tree_file_set_mode(int fd, const struct member *member);
/* Sets size, attributes, mode and times, and closes the file in any case. */
int tree_file_close(struct tree *tree, const struct filling *file, const struct member *member,
		    struct error *err);

/* Judges the links that had to wait, and sets the directories' times. */
int tree_finish(struct tree *tree, struct error *err);
