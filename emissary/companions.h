/*
 * Other containers of the pod, seen through their exit code files: the dependencies of a
 * containerSet's member, which it waits for before it runs, and the main containers, whose end is
 * the end of a sidecar.
 */
#pragma once

#include "executor/event/watch.h"
#include "executor/template/template.h"

#include <stdbool.h>

struct companions {
	struct event_watch watch;
	const char *root; /* /var/run/argo */
	const char *const *names;
	size_t count;
	void (*on_ended)(struct companions *companions); /* once; may be NULL */
	bool have_ended; /* every one of them has an exit code */
};

/* Starts watching; what has ended already is noticed at once. 0 or a negative errno. */
int companions_init(struct companions *companions, struct event_loop *loop, const char *root,
		    const char *const *names, size_t count,
		    void (*on_ended)(struct companions *companions), struct error *err);
void companions_done(struct companions *companions);

/* The member of the template's containerSet with that name, or NULL. Lent. */
struct json_object *companions_find_member(const struct template *template, const char *name);

/* True if the template declares a sidecar of that name. */
bool companions_is_sidecar(const struct template *template, const char *name);

/*
 * Waits for the dependencies of the containerSet member `name`, one after the other. 0 when all of
 * them ended with 0 (or there are none), -ECHILD when one did not ("dependency a exited with
 * code 3"; the code is in *ret_code), -ECANCELED.
 */
int companions_await_dependencies(const struct template *template, const char *name,
				  struct event_loop *loop, const char *root, int *ret_code,
				  struct error *err);
