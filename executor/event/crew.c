#include "executor/event/crew.h"

#include "executor/event/fibers.h"

#include <errno.h>

struct crew {
	struct event_loop *loop;
	const struct crew_duties *duties;
	void *items[CREW_QUEUE_MAX];
	size_t first, count;
	bool is_complete; /* nothing more will be found */
	bool may_take, may_put; /* worth a look */
};

static int wait_for(struct crew *crew, bool *flag, struct error *err)
{
	int r;

	*flag = false;
	r = event_loop_wait(crew->loop, flag);
	if (r == -ECANCELED)
		return event_loop_cancelled_error(err);
	return r < 0 ? error_errno(err, r, "wait for others") : 0;
}

int crew_put(struct crew *crew, void *item, struct error *err)
{
	int r = 0;

	while (r == 0 && crew->count == CREW_QUEUE_MAX)
		r = wait_for(crew, &crew->may_put, err);
	if (r < 0)
		return r;
	crew->items[(crew->first + crew->count++) % CREW_QUEUE_MAX] = item;
	crew->may_take = true;
	return 0;
}

static int do_all(struct crew *crew, struct error *err)
{
	for (;;) {
		void *item;
		int r = 0;

		while (r == 0 && crew->count == 0 && !crew->is_complete)
			r = wait_for(crew, &crew->may_take, err);
		if (r < 0 || crew->count == 0)
			return r;
		item = crew->items[crew->first];
		crew->first = (crew->first + 1) % CREW_QUEUE_MAX;
		crew->count--;
		crew->may_put = true;
		r = crew->duties->work(crew->duties->context, item, err);
		if (r < 0)
			return r;
	}
}

static int do_job(void *context, size_t i, struct error *err)
{
	struct crew *crew = context;
	int r;

	if (i > 0)
		return do_all(crew, err);
	r = crew->duties->find(crew->duties->context, crew, err);
	crew->is_complete = true;
	crew->may_take = true;
	return r;
}

int crew_run(struct event_loop *loop, size_t width, const struct crew_duties *duties,
	     struct error *err)
{
	struct crew crew = { .loop = loop, .duties = duties };
	int r = fibers_run(loop, width + 1, width + 1, do_job, &crew, err);

	for (; crew.count > 0; crew.count--)
		duties->drop(crew.items[(crew.first + crew.count - 1) % CREW_QUEUE_MAX]);
	return r;
}
