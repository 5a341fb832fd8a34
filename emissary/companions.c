#include "emissary/companions.h"

#include "executor/base/path.h"
#include "executor/process/files.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

static bool has_ended(const char *root, const char *name)
{
	int code, r = files_read_exit_code(root, name, &code);

	/* Junk in there is an end too: whoever wants the number will say so. */
	return r != -ENOENT && r != -EAGAIN;
}

static void look(struct event_watch *watch)
{
	struct companions *self =
		(struct companions *)((char *)watch - offsetof(struct companions, watch));

	if (self->have_ended)
		return;
	for (size_t i = 0; i < self->count; i++)
		if (!has_ended(self->root, self->names[i]))
			return;
	self->have_ended = true;
	if (self->on_ended)
		self->on_ended(self);
}

int companions_init(struct companions *companions, struct event_loop *loop, const char *root,
		    const char *const *names, size_t count,
		    void (*on_ended)(struct companions *companions), struct error *err)
{
	char path[PATH_MAX_BYTES];
	int r;

	*companions = (struct companions){
		.root = root,
		.names = names,
		.count = count,
		.on_ended = on_ended,
	};
	r = event_watch_init(&companions->watch, loop, look);
	if (r < 0)
		return error_errno(err, r, "watch %s/ctr", root);
	for (size_t i = 0; i < count; i++) {
		r = files_make_container_directory(root, names[i], err);
		if (r < 0)
			return r;
		files_container_path(root, names[i], "", path, sizeof(path));
		event_watch_add(&companions->watch, path, EVENT_WATCH_NAMES);
	}
	look(&companions->watch);
	return 0;
}

void companions_done(struct companions *companions)
{
	event_watch_done(&companions->watch);
}

static struct json_object *find_named(struct json_object *list, const char *name)
{
	for (size_t i = 0; i < json_length(list); i++) {
		const char *other = json_get_string(json_at(list, i), "name", "");

		if (strcmp(*other ? other : "main", name) == 0)
			return json_at(list, i);
	}
	return NULL;
}

struct json_object *companions_find_member(const struct template *template, const char *name)
{
	return find_named(json_find(template->json, "containerSet", "containers", NULL), name);
}

bool companions_is_sidecar(const struct template *template, const char *name)
{
	return find_named(json_get(template->json, "sidecars"), name) != NULL;
}

static int await(struct event_loop *loop, const char *root, const char *name, int *ret_code,
		 struct error *err)
{
	struct companions dependency;
	int r;

	r = companions_init(&dependency, loop, root, &name, 1, NULL, err);
	if (r == 0 && event_loop_wait(loop, &dependency.have_ended) < 0)
		r = event_loop_cancelled_error(err);
	companions_done(&dependency);
	if (r < 0)
		return r;
	if (files_read_exit_code(root, name, ret_code) < 0)
		return error_set(err, -EINVAL, "dependency %s left no readable exit code", name);
	return *ret_code == 0 ? 0 :
				error_set(err, -ECHILD, "dependency %s exited with code %d", name,
					  *ret_code);
}

int companions_await_dependencies(const struct template *template, const char *name,
				  struct event_loop *loop, const char *root, int *ret_code,
				  struct error *err)
{
	struct json_object *list = json_get(companions_find_member(template, name), "dependencies");
	int r = 0;

	for (size_t i = 0; r == 0 && i < json_length(list); i++) {
		const char *dependency = json_string(json_at(list, i), NULL);

		/* A member that does not exist would never end. */
		if (!dependency || !companions_find_member(template, dependency))
			r = error_set(
				err, -EINVAL,
				"field containerSet.containers[%s].dependencies[%zu]: there is "
				"no such container",
				name, i);
		else
			r = await(loop, root, dependency, ret_code, err);
	}
	return r;
}
