#include "executor/stage/prefix.h"

#include "executor/base/cleanup.h"
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
	const char *directory;
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

static int fetch(struct prefix *self, const char *relative, const char *path, struct error *err)
{
	const struct store_operations *operations = self->store->operations;
	struct counted_reader counted;
	struct reader *reader = NULL;
	int64_t length;
	int r = operations->get_below(self->store, relative, &reader, &length, err);

	if (r < 0)
		return r;
	counted_reader_init(&counted, reader, self->entry);
	r = landing_write(path, self->mode, &counted.reader, err);
	operations->get_done(self->store, reader);
	return r;
}

static int work(void *context, void *item, struct error *err)
{
	struct prefix *self = context;
	_cleanup_free_ char *relative = item, *path = NULL;
	int r;

	if (asprintf(&path, "%s/%s", self->directory, relative) < 0) {
		path = NULL;
		return error_set(err, -ENOMEM, "out of memory");
	}
	if (strlen(path) >= PATH_MAX_BYTES)
		return error_set(err, -ENAMETOOLONG, "object %.200s…: the path is too long",
				 relative);
	if (text_has_suffix(relative, "/"))
		return path_make_directories(path, PREFIX_DIRECTORY_MODE, err);
	r = path_make_parents(path, PREFIX_DIRECTORY_MODE, err);
	return r < 0 ? r : fetch(self, relative, path, err);
}

int prefix_load(struct event_loop *loop, struct store *store, const char *directory, mode_t mode,
		struct ledger_entry *entry, struct error *err)
{
	struct prefix self = {
		.store = store, .directory = directory, .mode = mode, .entry = entry
	};

	return crew_run(
		loop, PREFIX_WIDTH,
		&(struct crew_duties){ .find = find, .work = work, .drop = free, .context = &self },
		err);
}
