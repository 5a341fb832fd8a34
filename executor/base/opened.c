#include "executor/base/opened.h"

#include "executor/base/buffer.h"
#include "executor/base/cleanup.h"
#include "executor/base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define ROOM_AT_FIRST 64

struct part {
	uint64_t dev, ino; /* of the directory */
	char *name; /* NULL = an empty place */
	int fd, code;
};

struct opened {
	struct part *parts; /* by hash; as many as `room`, a power of two */
	size_t count, room, descriptors;
	/* Each directory once, open: its number belongs to nobody else that long. */
	int *directories;
	size_t directory_count;
	uint64_t last_dev, last_ino; /* of the last one */
};

struct opened *opened_new(void)
{
	return calloc(1, sizeof(struct opened));
}

void opened_free(struct opened *opened)
{
	if (!opened)
		return;
	for (size_t i = 0; i < opened->room; i++) {
		if (opened->parts[i].name && opened->parts[i].fd >= 0)
			close(opened->parts[i].fd);
		free(opened->parts[i].name);
	}
	for (size_t i = 0; i < opened->directory_count; i++)
		close(opened->directories[i]);
	free(opened->directories);
	free(opened->parts);
	free(opened);
}

/* FNV-1a. */
static uint64_t hash(uint64_t dev, uint64_t ino, const char *name)
{
	uint64_t h = (0xcbf29ce484222325 ^ dev) * 0x100000001b3;

	h = (h ^ ino) * 0x100000001b3;
	for (; *name; name++)
		h = (h ^ (unsigned char)*name) * 0x100000001b3;
	return h ^ h >> 32;
}

/* Its place, or the empty one where it belongs. */
static struct part *look_up(struct part *parts, size_t room, uint64_t dev, uint64_t ino,
			    const char *name)
{
	size_t i = hash(dev, ino, name) & (room - 1);

	while (parts[i].name &&
	       (parts[i].ino != ino || parts[i].dev != dev || strcmp(parts[i].name, name) != 0))
		i = (i + 1) & (room - 1);
	return &parts[i];
}

/* At most half of the places are taken. */
static int grow(struct opened *opened)
{
	size_t room = opened->room ? 2 * opened->room : ROOM_AT_FIRST;
	struct part *parts = calloc(room, sizeof(*parts));

	if (!parts)
		return -ENOMEM;
	for (size_t i = 0; i < opened->room; i++) {
		const struct part *part = &opened->parts[i];

		if (part->name)
			*look_up(parts, room, part->dev, part->ino, part->name) = *part;
	}
	free(opened->parts);
	opened->parts = parts;
	opened->room = room;
	return 0;
}

static int add_directory(struct opened *opened, int fd)
{
	size_t count = opened->directory_count;
	int *directories = reallocarray(opened->directories, count + 1, sizeof(*directories));

	if (!directories)
		return -ENOMEM;
	opened->directories = directories;
	directories[count] = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (directories[count] < 0)
		return -errno;
	opened->directory_count++;
	return 0;
}

/* One directory's entries come together. */
static int hold(struct opened *opened, int fd, const struct stat *st)
{
	int r;

	if (opened->directory_count > 0 && opened->last_dev == st->st_dev &&
	    opened->last_ino == st->st_ino)
		return 0;
	r = add_directory(opened, fd);
	if (r < 0)
		return r;
	opened->last_dev = st->st_dev;
	opened->last_ino = st->st_ino;
	return 0;
}

static int add_part(struct opened *opened, uint64_t dev, uint64_t ino, const char *name, int *fd,
		    int code)
{
	struct part *part;
	int r = 2 * opened->count >= opened->room ? grow(opened) : 0;

	if (r < 0)
		return r;
	part = look_up(opened->parts, opened->room, dev, ino, name);
	if (part->name)
		return -EEXIST;
	part->name = strdup(name);
	if (!part->name)
		return -ENOMEM;
	part->dev = dev;
	part->ino = ino;
	part->fd = TAKE_FD(*fd);
	part->code = code;
	opened->count++;
	opened->descriptors += part->fd >= 0;
	return 0;
}

int opened_add(struct opened *opened, int parent_fd, const char *name, int fd, int code)
{
	_cleanup_close_ int own_fd = fd;
	struct stat st;
	int r = fstat(parent_fd, &st) < 0 ? -errno : hold(opened, parent_fd, &st);

	return r < 0 ? r : add_part(opened, st.st_dev, st.st_ino, name, &own_fd, code);
}

int opened_find(const struct opened *opened, int parent_fd, const char *name)
{
	const struct part *part;
	struct stat st;

	if (!opened || opened->count == 0 || fstat(parent_fd, &st) < 0)
		return -ENODATA;
	part = look_up(opened->parts, opened->room, st.st_dev, st.st_ino, name);
	if (!part->name)
		return -ENODATA;
	return part->fd >= 0 ? part->fd : part->code;
}

size_t opened_count(const struct opened *opened)
{
	return opened->descriptors + opened->directory_count;
}

size_t opened_make_room(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return 0;
	if (limit.rlim_cur < 2 * OPENED_MAX && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max < 2 * OPENED_MAX ? limit.rlim_max : 2 * OPENED_MAX;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
	return limit.rlim_cur / 2 < OPENED_MAX ? limit.rlim_cur / 2 : OPENED_MAX;
}

/* --- as a bundle ------------------------------------------------------------------------ */

/* A socket with packets of one byte and up to 253 descriptors (as many as the kernel passes at once): the
 * one that came with the table, a memfd of records, the directories, and the parts' in their order. */
#define PACKET_FDS_MAX 253
#define RECORDS_BYTES_MAX (16u * 1024 * 1024)

struct record {
	uint64_t dev, ino;
	int32_t code;
	uint32_t name_size; /* NUL included; the name follows */
	bool has_descriptor;
};

struct bundle {
	int socket_fd;
	int fds[PACKET_FDS_MAX];
	unsigned count, next; /* next: when reading */
};

union control {
	char bytes[CMSG_SPACE(PACKET_FDS_MAX * sizeof(int))];
	struct cmsghdr header;
};

static int flush_bundle(struct bundle *bundle)
{
	size_t size = bundle->count * sizeof(int);
	union control control = { .header = { .cmsg_level = SOL_SOCKET,
					      .cmsg_type = SCM_RIGHTS,
					      .cmsg_len = CMSG_LEN(size) } };
	char byte = 0;
	struct iovec data = { &byte, 1 };
	struct msghdr header = { .msg_iov = &data,
				 .msg_iovlen = 1,
				 .msg_control = control.bytes,
				 .msg_controllen = CMSG_SPACE(size) };

	if (bundle->count == 0)
		return 0;
	memcpy(CMSG_DATA(&control.header), bundle->fds, size);
	bundle->count = 0;
	return sendmsg(bundle->socket_fd, &header, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

static int put_descriptor(struct bundle *bundle, int fd)
{
	bundle->fds[bundle->count++] = fd;
	return bundle->count == PACKET_FDS_MAX ? flush_bundle(bundle) : 0;
}

static int write_records(const struct opened *opened)
{
	_cleanup_buffer_ struct buffer text = BUFFER_INIT(RECORDS_BYTES_MAX);
	_cleanup_close_ int fd = memfd_create("parts", MFD_CLOEXEC);
	uint64_t directories = opened->directory_count;
	int r = fd < 0 ? -errno : buffer_append(&text, &directories, sizeof(directories));

	for (size_t i = 0; r == 0 && i < opened->room; i++) {
		const struct part *part = &opened->parts[i];
		struct record record = { .dev = part->dev,
					 .ino = part->ino,
					 .code = part->code,
					 .has_descriptor = part->fd >= 0 };

		if (!part->name)
			continue;
		record.name_size = (uint32_t)strlen(part->name) + 1;
		r = buffer_append(&text, &record, sizeof(record));
		if (r == 0)
			r = buffer_append(&text, part->name, record.name_size);
	}
	if (r == 0)
		r = fd_write_all(fd, text.data, text.size);
	return r < 0 ? r : TAKE_FD(fd);
}

static int fill_bundle(const struct opened *opened, struct bundle *bundle, int fd, int records_fd)
{
	int r = put_descriptor(bundle, fd);

	if (r == 0)
		r = put_descriptor(bundle, records_fd);
	for (size_t i = 0; r == 0 && i < opened->directory_count; i++)
		r = put_descriptor(bundle, opened->directories[i]);
	for (size_t i = 0; r == 0 && i < opened->room; i++)
		if (opened->parts[i].name && opened->parts[i].fd >= 0)
			r = put_descriptor(bundle, opened->parts[i].fd);
	return r < 0 ? r : flush_bundle(bundle);
}

int opened_bundle(const struct opened *opened, int fd)
{
	_cleanup_close_ int records_fd = write_records(opened), in_fd = -1, out_fd = -1;
	struct bundle bundle = { .count = 0 };
	int ends[2], r;

	if (records_fd < 0)
		return records_fd;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return -errno;
	out_fd = ends[0];
	in_fd = bundle.socket_fd = ends[1];
	r = fill_bundle(opened, &bundle, fd, records_fd);
	return r < 0 ? r : TAKE_FD(out_fd);
}

/* The next packet. */
static int refill(struct bundle *bundle)
{
	union control control;
	char byte;
	struct iovec data = { &byte, 1 };
	struct msghdr header = { .msg_iov = &data,
				 .msg_iovlen = 1,
				 .msg_control = control.bytes,
				 .msg_controllen = sizeof(control.bytes) };
	const struct cmsghdr *part;

	bundle->count = bundle->next = 0;
	if (recvmsg(bundle->socket_fd, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) < 0)
		return -errno;
	part = CMSG_FIRSTHDR(&header);
	if (!part || part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS)
		return -EPROTO;
	bundle->count = (unsigned)((part->cmsg_len - CMSG_LEN(0)) / sizeof(int));
	memcpy(bundle->fds, CMSG_DATA(part), bundle->count * sizeof(int));
	/* What there is no room for has been closed by the kernel. */
	return header.msg_flags & MSG_CTRUNC ? -EMFILE : 0;
}

static int take_descriptor(struct bundle *bundle)
{
	int r = bundle->next == bundle->count ? refill(bundle) : 0;

	if (r < 0)
		return r;
	return bundle->next < bundle->count ? TAKE_FD(bundle->fds[bundle->next++]) : -EPROTO;
}

static int read_records(struct bundle *bundle, struct opened *opened, const struct buffer *text)
{
	uint64_t directories;
	size_t at = sizeof(directories);
	int r = text->size < at ? -EPROTO : 0;

	if (r == 0)
		memcpy(&directories, text->data, sizeof(directories));
	for (uint64_t i = 0; r == 0 && i < directories; i++) {
		_cleanup_close_ int fd = take_descriptor(bundle);

		r = fd < 0 ? fd : add_directory(opened, fd);
	}
	while (r == 0 && text->size - at > sizeof(struct record)) {
		_cleanup_close_ int fd = -1;
		struct record record;

		memcpy(&record, text->data + at, sizeof(record));
		at += sizeof(record);
		if (record.name_size == 0 || record.name_size > text->size - at ||
		    text->data[at + record.name_size - 1])
			return -EPROTO;
		if (record.has_descriptor && (fd = take_descriptor(bundle)) < 0)
			return fd;
		r = add_part(opened, record.dev, record.ino, text->data + at, &fd, record.code);
		at += record.name_size;
	}
	return r;
}

static int empty_bundle(struct bundle *bundle, struct opened *opened, int *ret_fd)
{
	_cleanup_buffer_ struct buffer text = BUFFER_INIT(RECORDS_BYTES_MAX);
	_cleanup_close_ int fd = take_descriptor(bundle), records_fd = -1;
	int r;

	if (fd < 0)
		return fd;
	records_fd = take_descriptor(bundle);
	if (records_fd < 0)
		return records_fd;
	if (lseek(records_fd, 0, SEEK_SET) < 0)
		return -errno;
	r = fd_read_all(records_fd, &text);
	if (r == 0)
		r = read_records(bundle, opened, &text);
	if (r == 0)
		*ret_fd = TAKE_FD(fd);
	return r;
}

int opened_unbundle(int socket_fd, struct opened **ret, int *ret_fd)
{
	struct bundle bundle = { .socket_fd = socket_fd };
	struct opened *opened = opened_new();
	int r = opened ? 0 : -ENOMEM;

	opened_make_room();
	if (r == 0)
		r = empty_bundle(&bundle, opened, ret_fd);
	while (bundle.next < bundle.count)
		close(bundle.fds[bundle.next++]);
	close(socket_fd);
	if (r < 0)
		opened_free(opened);
	else
		*ret = opened;
	return r;
}
