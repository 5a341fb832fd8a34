#include "executor/archive/small_files.h"

#include "executor/archive/fill.h"
#include "executor/base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* Fewer are opened here sooner than a thread is told. */
#define FEW 8

void small_files_init(struct small_files *small, struct tree *tree, struct pool *pool,
		      const struct hooks *hooks)
{
	*small = (struct small_files){ .tree = tree, .pool = pool, .hooks = hooks };
	for (size_t i = 0; i < 2; i++)
		small->batches[i].text = BUFFER_INIT(SMALL_FILES_BATCH_BYTES);
}

static void empty(struct small_batch *batch)
{
	for (size_t i = 0; i < batch->count; i++)
		cleanup_close(&batch->files[i].fd);
	for (size_t i = 0; i < batch->directory_count; i++)
		cleanup_close(&batch->directory_fds[i]);
	batch->count = batch->directory_count = 0;
	buffer_reset(&batch->text);
}

void small_files_done(struct small_files *small)
{
	for (size_t i = 0; i < 2; i++) {
		struct small_batch *batch = &small->batches[i];

		if (batch->is_started)
			pool_take_back(small->pool, &batch->job);
		empty(batch);
		buffer_done(&batch->text);
	}
}

bool small_files_takes(const struct member *member)
{
	return S_ISREG(member->mode) && !member->is_hard_link && !member->is_shared &&
	       !member->attributes && member->size <= SMALL_FILES_BYTES_MAX;
}

static const char *location_of(const struct small_batch *batch, const struct small_file *file)
{
	return batch->text.data + file->location_at;
}

/* --- on a thread -------------------------------------------------------------------------- */

static void open_files(struct pool_job *job)
{
	struct small_batch *batch = (struct small_batch *)job;

	for (size_t i = 0; i < batch->count; i++) {
		struct small_file *file = &batch->files[i];

		file->fd = tree_file_create_new(file->directory_fd, location_of(batch, file));
		/* What follows may have its name: not before it. */
		if (file->fd < 0)
			return;
		file->has_mode = tree_file_set_mode(file->fd, &file->member);
	}
}

/* --- making ------------------------------------------------------------------------------- */

static void start(struct small_files *small, struct small_batch *batch)
{
	batch->job = (struct pool_job){ .work = open_files };
	batch->is_started = true;
	pool_start(batch->count < FEW ? NULL : small->pool, &batch->job);
}

/* Until nothing of it is being opened. */
static void wait_for(struct small_files *small, struct small_batch *batch)
{
	if (batch->is_started && !batch->job.is_done && pool_wait(small->pool, &batch->job) < 0)
		pool_take_back(small->pool, &batch->job);
	batch->is_started = false;
}

static int make(struct small_files *small, struct small_batch *batch, struct small_file *file,
		struct error *err)
{
	struct filling filling = { .fd = TAKE_FD(file->fd), .has_mode = file->has_mode };
	struct member member = file->member;
	struct tar_part content = { .data = batch->text.data + file->content_at,
				    .size = (size_t)member.size };
	int r = 0;

	member.name = batch->text.data + file->name_at;
	if (filling.fd < 0)
		r = tree_file_create(small->tree, location_of(batch, file), &filling, err);
	if (r < 0)
		return r;
	r = fill_part(&filling, &content, &member, err);
	if (r < 0) {
		close(filling.fd);
		return r;
	}
	return tree_file_close(small->tree, &filling, &member, err);
}

static int settle(struct small_files *small, struct small_batch *batch, struct error *err)
{
	int r = 0;

	wait_for(small, batch);
	for (size_t i = 0; r == 0 && i < batch->count; i++)
		r = make(small, batch, &batch->files[i], err);
	empty(batch);
	return r;
}

static bool is_open(const struct small_batch *batch)
{
	return batch->count == 0 || batch->files[batch->count - 1].fd >= 0;
}

/* The current batch is opened while the one before gets its content. */
static int turn(struct small_files *small, struct error *err)
{
	struct small_batch *batch = &small->batches[small->current],
			   *before = &small->batches[!small->current];
	int r = 0;

	wait_for(small, before);
	if (!is_open(before))
		r = settle(small, before, err);
	if (r < 0)
		return r;
	start(small, batch);
	small->current = !small->current;
	return settle(small, before, err);
}

int small_files_flush(struct small_files *small, struct error *err)
{
	int r = turn(small, err);

	return r < 0 ? r : settle(small, &small->batches[!small->current], err);
}

/* --- collecting --------------------------------------------------------------------------- */

/* Is this file at `location`, or where a directory above it would be? */
static bool is_in_the_way(const char *file, const char *location)
{
	size_t size = strlen(file);

	return strncmp(file, location, size) == 0 &&
	       (location[size] == '/' || location[size] == '\0');
}

int small_files_give_way(struct small_files *small, const char *location, struct error *err)
{
	for (size_t i = 0; i < 2; i++) {
		const struct small_batch *batch = &small->batches[i];

		for (size_t at = 0; at < batch->count; at++)
			if (is_in_the_way(location_of(batch, &batch->files[at]), location))
				return small_files_flush(small, err);
	}
	return 0;
}

static bool is_beside(const char *location, const char *other)
{
	const char *slash = strrchr(location, '/'), *other_slash = strrchr(other, '/');
	size_t size = slash ? (size_t)(slash - location) : 0;

	return !slash == !other_slash &&
	       size == (other_slash ? (size_t)(other_slash - other) : 0) &&
	       memcmp(location, other, size) == 0;
}

static bool has_room(const struct small_batch *batch, const char *location,
		     const struct member *member)
{
	return batch->count < SMALL_FILES_BATCH &&
	       batch->directory_count < SMALL_FILES_DIRECTORIES &&
	       batch->text.size + strlen(member->name) + 1 + strlen(location) + 1 + member->size <=
		       SMALL_FILES_BATCH_BYTES;
}

/* The directory for one more file of the batch: that of the last one, or another. */
static int prepare(struct small_files *small, const char *location, int *ret_fd, struct error *err)
{
	struct small_batch *batch = &small->batches[small->current];
	const char *base;
	int r;

	if (batch->count > 0 &&
	    is_beside(location, location_of(batch, &batch->files[batch->count - 1]))) {
		*ret_fd = batch->files[batch->count - 1].directory_fd;
		return 0;
	}
	r = small_files_give_way(small, location, err);
	if (r == 0)
		r = tree_open_parent(small->tree, location, &base, err);
	if (r < 0)
		return r;
	batch = &small->batches[small->current];
	/* Without a descriptor its files are made one by one. */
	*ret_fd = fcntl(r, F_DUPFD_CLOEXEC, 0);
	batch->directory_fds[batch->directory_count++] = *ret_fd;
	return 0;
}

static int read_content(struct buffer *text, struct tar_reader *tar, const struct member *member,
			const struct hooks *hooks, struct error *err)
{
	size_t size = (size_t)member->size;
	char *content = buffer_reserve(text, size);
	struct tar_part part;
	int r;

	if (!content)
		return error_set(err, -ENOMEM, "out of memory");
	memset(content, 0, size);
	text->size += size;
	while ((r = tar_reader_data(tar, &part, err)) > 0) {
		r = fill_check_part(&part, member, err);
		if (r == 0)
			r = hooks_check(hooks, err);
		if (r < 0)
			return r;
		if (part.size > 0)
			memcpy(content + part.offset, part.data, part.size);
	}
	return r;
}

int small_files_add(struct small_files *small, struct tar_reader *tar, const char *location,
		    const struct member *member, struct error *err)
{
	int fd = -1, r = tree_file_reserve(small->tree, location, member->size, err);
	struct small_batch *batch;
	struct small_file *file;

	if (r == 0 && !has_room(&small->batches[small->current], location, member))
		r = turn(small, err);
	if (r == 0)
		r = prepare(small, location, &fd, err);
	if (r < 0)
		return r;
	batch = &small->batches[small->current];
	file = &batch->files[batch->count];
	*file = (struct small_file){ .member = *member, .directory_fd = fd, .fd = -1 };
	file->member.name = file->member.link = NULL; /* they are the reader's */
	file->name_at = batch->text.size;
	r = buffer_append(&batch->text, member->name, strlen(member->name) + 1);
	file->location_at = batch->text.size;
	if (r == 0)
		r = buffer_append(&batch->text, location, strlen(location) + 1);
	if (r < 0)
		return error_set(err, r, "out of memory");
	file->content_at = batch->text.size;
	r = read_content(&batch->text, tar, member, small->hooks, err);
	if (r == 0)
		batch->count++;
	return r;
}
