/* Tar archives made by hand, because tools refuse to write what must be refused; and a place to
 * unpack them: in/ has the target in/art, outside/ must never change. */
#pragma once

#include "executor/archive/pack.h"
#include "executor/archive/unpack.h"
#include "executor/base/buffer.h"
#include "tests/unit/archive_support.h"

#define UNLIMITED ((size_t)-1)
#define BLOCK 512
#define EPOCH 1700000000 /* the time of every entry */

struct entry {
	char type;
	const char *name; /* "%O" at the start stands for the directory outside */
	const char *link;
	const char *content;
	unsigned mode; /* 0 = 0644 */
	unsigned long long size; /* what the header says, if not the content's size */
};

#define FILE_(name, content) \
	{ \
		'0', name, NULL, content \
	}
#define DIR_(name) \
	{ \
		'5', name, NULL, NULL, 0755 \
	}
#define LINK_(name, target) \
	{ \
		'2', name, target \
	}
#define HARD_(name, target) \
	{ \
		'1', name, target \
	}
#define PAX_(text) \
	{ \
		'x', "PaxHeaders/x", NULL, text \
	}

void add_entry(struct buffer *tar, const struct entry *entry);
/* The parts of add_entry: the header, which says `size` unless the entry does, and the padding. */
void add_block(struct buffer *tar, const struct entry *entry, size_t size);
void add_padding(struct buffer *tar);
void add_end(struct buffer *tar);
void compress_data(const struct buffer *from, struct collector *out);

/* For cmocka: a fresh sandbox with in/ and outside/. */
int unpack_setup(void **state);
int unpack_teardown(void **state);

/* What was warned of since unpack_setup, a line each; and options that collect it. */
extern struct buffer warnings;
extern const struct unpack_options usual;

/* Unpack to in/art. */
int unpack(const void *data, size_t size, struct error *err);
int unpack_buffer(const struct buffer *data, struct error *err);
int unpack_zip_at(const char *path, struct error *err);

void clear_in(void);
void assert_nothing_left(void);

/* "path=content", "path->target", "path/" (a directory), "!path" (nothing), below in/art. */
void verify_entry(const char *expected);

/* A tree at src/t with something of everything, its archive, and the comparison with in/art. */
void make_source(void);
struct collector pack_source(enum pack_format format, const char *path);
void assert_same_as_source(void);
