#include "executor/stage/prefix.h"

#include "executor/base/cleanup.h"
#include "executor/base/fd.h"
#include "executor/base/path.h"
#include "executor/base/text.h"
#include "executor/event/crew.h"
#include "executor/stage/counted.h"
#include "executor/stage/landing.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct prefix {
	struct store *store;
	int directory_fd;
	const char *directory; /* its path */
	mode_t mode;
	struct ledger_entry *entry;
	struct crew *crew;
};

static int put_name(void *context, const char *relative, int64_t size, struct error *err)
{
	struct prefix *self = context;
	_cleanup_free_ char *name = strdup(relative);
	int r;

	(void)size;
	if (!name)
		return error_set(err, -ENOMEM, "out of memory");
	r = crew_put(self->crew, name, err);
	if (r == 0)
		TAKE_PTR(name);
	return r;
}

static int find(void *context, struct crew *crew, struct error *err)
{
	struct prefix *self = context;

	self->crew = crew;
	return self->store->operations->list(self->store, put_name, self, err);
}

static int fetch(struct prefix *self, const char *relative, struct spot spot, struct error *err)
{
	const struct store_operations *operations = self->store->operations;
	struct counted_reader counted;
	struct reader *reader = NULL;
	int64_t length;
	int r = operations->get_below(self->store, relative, &reader, &length, err);

	if (r < 0)
		return r;
	counted_reader_init(&counted, reader, self->entry);
	r = landing_write(spot, self->mode, &counted.reader, err);
	operations->get_done(self->store, reader);
	return r;
}

/* Whoever else writes to the volume may put links there meanwhile: ours has none. */
static int make_directory(const struct prefix *self, const char *relative, struct error *err)
{
	return landing_not_absent(file_make_beneath(self->directory_fd, self->directory, relative,
						    PREFIX_DIRECTORY_MODE, BENEATH_REFUSE, err),
				  err);
}

static int fetch_into_place(struct prefix *self, const char *relative, const char *path,
			    struct error *err)
{
	const char *slash = strrchr(relative, '/');
	_cleanup_free_ char *above = strndup(relative, slash ? (size_t)(slash - relative) : 0);
	_cleanup_close_ int fd = above ? make_directory(self, above, err) :
					 error_set(err, -ENOMEM, "out of memory");

	return fd < 0 ? fd :
			fetch(self, relative,
			      (struct spot){ .directory_fd = fd,
					     .name = slash ? slash + 1 : relative,
					     .path = path },
			      err);
}

static int work(void *context, void *item, struct error *err)
{
	struct prefix *self = context;
	_cleanup_free_ char *relative = item, *path = NULL;
	_cleanup_close_ int fd = -1;

	if (asprintf(&path, "%s/%s", self->directory, relative) < 0) {
		path = NULL;
		return error_set(err, -ENOMEM, "out of memory");
	}
	if (strlen(path) >= PATH_MAX_BYTES)
		return error_set(err, -ENAMETOOLONG, "object %.200s…: the path is too long",
				 relative);
	if (!text_has_suffix(relative, "/"))
		return fetch_into_place(self, relative, path, err);
	fd = make_directory(self, relative, err);
	return fd < 0 ? fd : 0;
}

int prefix_load(struct event_loop *loop, struct store *store, int directory_fd,
		const char *directory, mode_t mode, struct ledger_entry *entry, struct error *err)
{
	struct prefix self = { .store = store,
			       .directory_fd = directory_fd,
			       .directory = directory,
			       .mode = mode,
			       .entry = entry };

	return crew_run(
		loop, PREFIX_WIDTH,
		&(struct crew_duties){ .find = find, .work = work, .drop = free, .context = &self },
		err);
}
