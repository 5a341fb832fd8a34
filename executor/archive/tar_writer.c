#include "executor/archive/tar_writer.h"

#include "executor/base/buffer.h"
#include "executor/base/path.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/sysmacros.h>

#define BLOCK_BYTES 512
/* Two names of MEMBER_NAME_MAX and a handful of numbers, and the attributes with what a record adds to
 * the shortest of them. */
#define PAX_BYTES_MAX (4 * 4096 + 4 * ATTRIBUTES_BYTES_MAX)
#define ATTRIBUTE_KEY "SCHILY.xattr."

/* POSIX ustar header block. */
struct header {
	char name[100];
	char mode[8];
	char uid[8];
	char gid[8];
	char size[12];
	char mtime[12];
	char checksum[8];
	char type;
	char link[100];
	char magic[6];
	char version[2];
	char uname[32];
	char gname[32];
	char device_major[8];
	char device_minor[8];
	char prefix[155];
	char unused[12];
};
_Static_assert(sizeof(struct header) == BLOCK_BYTES, "a tar header is one block");

static bool is_ascii(const char *s)
{
	while (*s)
		if ((unsigned char)*s++ >= 0x80)
			return false;
	return true;
}

/* Copies what fits, as ASCII: readers that know pax take the record instead. */
static void put_text(char *field, size_t size, const char *text)
{
	for (size_t i = 0; i < size && text[i]; i++)
		field[i] = (char)((unsigned char)text[i] < 0x80 ? text[i] : '_');
}

/* size − 1 octal digits and a NUL; false (and zero) if the number needs more. */
static bool put_octal(char *field, size_t size, uint64_t value)
{
	bool fits = value >> (3 * (size - 1)) == 0;

	if (!fits)
		value = 0;
	for (size_t i = size - 1; i-- > 0; value >>= 3)
		field[i] = (char)('0' + (value & 7));
	return fits;
}

/* "LENGTH key=value\n", where the length counts its own digits. */
static int add_bytes(struct buffer *pax, const char *prefix, const char *key, const void *value,
		     size_t size)
{
	size_t rest = strlen(prefix) + strlen(key) + size + 3; /* ' ', '=', '\n' */
	size_t length = rest;
	int r;

	for (;;) {
		size_t whole = rest + (size_t)snprintf(NULL, 0, "%zu", length);

		if (whole == length)
			break;
		length = whole;
	}
	r = buffer_append_format(pax, "%zu %s%s=", length, prefix, key);
	if (r == 0)
		r = buffer_append(pax, value, size);
	return r < 0 ? r : buffer_append(pax, "\n", 1);
}

static int add_record(struct buffer *pax, const char *key, const char *value)
{
	return add_bytes(pax, "", key, value, strlen(value));
}

static int add_attributes(struct buffer *pax, const struct buffer *attributes)
{
	struct attribute attribute;
	int r = 0;

	for (size_t at = 0; r == 0 && attributes_next(attributes, &at, &attribute);)
		r = add_bytes(pax, ATTRIBUTE_KEY, attribute.name, attribute.value, attribute.size);
	return r;
}

static int add_number(struct buffer *pax, const char *key, int64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRId64, value);
	return add_record(pax, key, text);
}

/* Whoever knows these records (star, libarchive) can tell which members are one file; to everybody else
 * each is a file of its own. */
static int add_shared(struct buffer *pax, const struct member *member)
{
	int r = add_number(pax, "SCHILY.dev", (int64_t)member->shared_dev);

	if (r == 0)
		r = add_number(pax, "SCHILY.ino", (int64_t)member->shared_ino);
	/* How many there are is not known yet, and would count names outside, too. */
	return r < 0 ? r : add_record(pax, "SCHILY.nlink", "2");
}

/* Splits at a slash into prefix and name as ustar wants it; false if no slash suits. */
static bool put_name(struct header *header, const char *name)
{
	size_t size = strlen(name);
	const char *slash;

	if (!is_ascii(name) || size > sizeof(header->prefix) + 1 + sizeof(header->name))
		return false;
	if (size <= sizeof(header->name)) {
		memcpy(header->name, name, size);
		return true;
	}
	/* The leftmost slash that leaves a short enough rest makes the shortest prefix. */
	slash = strchr(name + size - sizeof(header->name) - 1, '/');
	if (!slash || !slash[1] || slash == name || (size_t)(slash - name) > sizeof(header->prefix))
		return false;
	memcpy(header->prefix, name, (size_t)(slash - name));
	memcpy(header->name, slash + 1, size - (size_t)(slash - name) - 1);
	return true;
}

static char type_of(const struct member *member)
{
	if (member->is_hard_link)
		return '1';
	switch (member->mode & S_IFMT) {
	case S_IFREG:
		return '0';
	case S_IFLNK:
		return '2';
	case S_IFCHR:
		return '3';
	case S_IFBLK:
		return '4';
	case S_IFDIR:
		return '5';
	case S_IFIFO:
		return '6';
	default:
		return 0;
	}
}

static void seal(struct header *header)
{
	const unsigned char *p = (const unsigned char *)header;
	unsigned sum = 0;

	memcpy(header->magic, "ustar", 6);
	memcpy(header->version, "00", 2);
	memset(header->checksum, ' ', sizeof(header->checksum));
	for (size_t i = 0; i < sizeof(*header); i++)
		sum += p[i];
	put_octal(header->checksum, 7, sum);
}

/* Fills the header, and `pax` with what does not fit into it. */
static int fill(struct header *header, const struct member *member, struct buffer *pax)
{
	int64_t mtime = member->mtime.tv_sec;
	int r = 0;

	header->type = type_of(member);
	put_octal(header->mode, sizeof(header->mode), member->mode & 07777);
	if (!put_name(header, member->name)) {
		put_text(header->name, sizeof(header->name), member->name);
		r = add_record(pax, "path", member->name);
	}
	if (member->link) {
		put_text(header->link, sizeof(header->link), member->link);
		if (r == 0 &&
		    (!is_ascii(member->link) || strlen(member->link) > sizeof(header->link)))
			r = add_record(pax, "linkpath", member->link);
	}
	if (!put_octal(header->size, sizeof(header->size), member->size) && r == 0)
		r = add_number(pax, "size", (int64_t)member->size);
	if (!put_octal(header->uid, sizeof(header->uid), member->uid) && r == 0)
		r = add_number(pax, "uid", member->uid);
	if (!put_octal(header->gid, sizeof(header->gid), member->gid) && r == 0)
		r = add_number(pax, "gid", member->gid);
	/* Before 1970 and after 2242 (a negative number has high bits set). */
	if (!put_octal(header->mtime, sizeof(header->mtime), (uint64_t)mtime) && r == 0)
		r = add_number(pax, "mtime", mtime);
	put_octal(header->device_major, sizeof(header->device_major), major(member->device));
	put_octal(header->device_minor, sizeof(header->device_minor), minor(member->device));
	return r;
}

static int write_pax(struct writer *out, const struct member *member, const struct buffer *pax,
		     struct error *err)
{
	struct header header = { .type = 'x' };
	char name[sizeof(header.name) + 1];
	int r;

	snprintf(name, sizeof(name), "PaxHeaders.0/%s", path_basename(member->name));
	put_text(header.name, sizeof(header.name), name);
	put_octal(header.mode, sizeof(header.mode), 0);
	put_octal(header.uid, sizeof(header.uid), 0);
	put_octal(header.gid, sizeof(header.gid), 0);
	put_octal(header.size, sizeof(header.size), pax->size);
	put_octal(header.mtime, sizeof(header.mtime), 0);
	seal(&header);
	r = out->write(out, &header, sizeof(header), err);
	if (r == 0)
		r = out->write(out, pax->data, pax->size, err);
	return r < 0 ? r : tar_write_padding(out, pax->size, err);
}

int tar_write_header(struct writer *out, const struct member *member, struct error *err)
{
	_cleanup_buffer_ struct buffer pax = BUFFER_INIT(PAX_BYTES_MAX);
	struct header header = { .type = 0 };
	int r;

	if (!type_of(member))
		return error_set(err, -EINVAL, "tar: a type that cannot be written");
	r = fill(&header, member, &pax);
	if (r == 0 && member->is_shared)
		r = add_shared(&pax, member);
	if (r == 0 && member->attributes)
		r = add_attributes(&pax, member->attributes);
	if (r < 0)
		return error_errno(err, r, "tar: header");
	if (pax.size > 0) {
		r = write_pax(out, member, &pax, err);
		if (r < 0)
			return r;
	}
	seal(&header);
	return out->write(out, &header, sizeof(header), err);
}

int tar_write_padding(struct writer *out, uint64_t size, struct error *err)
{
	static const char zeros[BLOCK_BYTES];
	size_t rest = (size_t)(size % BLOCK_BYTES);

	return rest > 0 ? out->write(out, zeros, BLOCK_BYTES - rest, err) : 0;
}

int tar_write_end(struct writer *out, struct error *err)
{
	static const char zeros[2 * BLOCK_BYTES];

	return out->write(out, zeros, sizeof(zeros), err);
}
