#include "executor/event/loop.h"

#include "executor/base/cleanup.h"
#include "executor/base/clock.h"
#include "executor/event/loop_internal.h"

#include <errno.h>
#include <string.h>
#include <sys/timerfd.h>

/* Events taken from the kernel at a time. */
#define BATCH 32

struct event_loop *event_loop_new(void)
{
	struct event_loop *loop = calloc(1, sizeof(*loop));

	if (!loop)
		return NULL;
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll_fd < 0) {
		free(loop);
		return NULL;
	}
	return loop;
}

void event_loop_free(struct event_loop *loop)
{
	if (!loop)
		return;
	for (uint32_t i = 0; i < loop->slot_count; i++)
		if (loop->slots[i].source)
			loop->slots[i].source->loop = NULL;
	close(loop->epoll_fd);
	free(loop->slots);
	free(loop);
}

static int take_slot(struct event_loop *loop, uint32_t *ret)
{
	uint32_t count = loop->slot_count ? loop->slot_count * 2 : 16;
	struct slot *slots;

	for (uint32_t i = 0; i < loop->slot_count; i++) {
		if (!loop->slots[i].source) {
			*ret = i;
			return 0;
		}
	}
	slots = realloc(loop->slots, count * sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	memset(slots + loop->slot_count, 0, (count - loop->slot_count) * sizeof(*slots));
	*ret = loop->slot_count;
	loop->slots = slots;
	loop->slot_count = count;
	return 0;
}

static struct epoll_event describe(const struct event_loop *loop, uint32_t slot, uint32_t events)
{
	return (struct epoll_event){
		.events = events,
		.data.u64 = (uint64_t)loop->slots[slot].generation << 32 | slot,
	};
}

int event_add(struct event_loop *loop, struct event_source *source, uint32_t events)
{
	struct epoll_event event;
	uint32_t slot;
	int r = take_slot(loop, &slot);

	if (r < 0)
		return r;
	event = describe(loop, slot, events);
	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, source->fd, &event) < 0)
		return -errno;
	loop->slots[slot].source = source;
	source->slot = slot;
	source->loop = loop;
	return 0;
}

int event_change(struct event_source *source, uint32_t events)
{
	struct epoll_event event = describe(source->loop, source->slot, events);

	return epoll_ctl(source->loop->epoll_fd, EPOLL_CTL_MOD, source->fd, &event) < 0 ? -errno :
											  0;
}

void event_remove(struct event_source *source)
{
	struct event_loop *loop = source->loop;

	if (!loop)
		return;
	epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, source->fd, NULL);
	loop->slots[source->slot].source = NULL;
	loop->slots[source->slot].generation++;
	source->loop = NULL;
}

static int dispatch(struct event_loop *loop, int timeout_ms)
{
	struct epoll_event events[BATCH];
	int n = epoll_wait(loop->epoll_fd, events, BATCH, timeout_ms);

	if (n < 0) {
		loop->failure = errno == EINTR ? 0 : -errno;
		return loop->failure;
	}
	for (int i = 0; i < n; i++) {
		uint32_t index = (uint32_t)events[i].data.u64;
		uint32_t generation = (uint32_t)(events[i].data.u64 >> 32);
		struct slot *slot = &loop->slots[index];

		if (slot->source && slot->generation == generation)
			slot->source->callback(slot->source, events[i].events);
	}
	return n;
}

static int wait(struct event_loop *loop, const bool *done, bool is_cancellable)
{
	if (loop->current)
		return fiber_wait(loop, done, is_cancellable);
	for (;;) {
		bool is_busy;
		int r;

		if (is_cancellable && loop->is_cancelled)
			return -ECANCELED;
		if (*done)
			return 0;
		is_busy = fibers_resume(loop);
		if (*done)
			continue;
		r = dispatch(loop, is_busy ? 0 : -1);
		if (r < 0)
			return r;
	}
}

int event_loop_wait_uncancelled(struct event_loop *loop, const bool *done)
{
	return wait(loop, done, false);
}

int event_loop_wait(struct event_loop *loop, const bool *done)
{
	return wait(loop, done, true);
}

int event_loop_poll(struct event_loop *loop)
{
	int r;

	if (loop->current)
		return fiber_wait(loop, NULL, true);
	do
		r = dispatch(loop, 0);
	while (r == BATCH);
	if (r < 0)
		return r;
	return loop->is_cancelled ? -ECANCELED : 0;
}

int event_loop_give_turn(struct event_loop *loop)
{
	int r;

	if (loop->turn_ms == clock_now_ms())
		return loop->is_cancelled ? -ECANCELED : 0;
	r = event_loop_poll(loop);
	loop->turn_ms = clock_now_ms();
	return r;
}

void event_loop_cancel(struct event_loop *loop)
{
	loop->is_cancelled = true;
}

void event_loop_resume(struct event_loop *loop)
{
	loop->is_cancelled = false;
}

bool event_loop_is_cancelled(const struct event_loop *loop)
{
	return loop->is_cancelled;
}

int event_loop_cancelled_error(struct error *err)
{
	return error_set(err, -ECANCELED, "cancelled");
}

static void on_timer(struct event_source *source, uint32_t revents)
{
	struct event_timer *timer = (struct event_timer *)source;
	uint64_t expirations;

	(void)revents;
	/* Nothing to read means that it was moved or cleared after it had fired. */
	if (read(source->fd, &expirations, sizeof(expirations)) == sizeof(expirations))
		timer->callback(timer);
}

static int init_timer(struct event_timer *timer, struct event_loop *loop, clockid_t clock,
		      void (*callback)(struct event_timer *timer))
{
	int r;

	*timer = (struct event_timer){
		.source = { .callback = on_timer, .name = "timer", .fd = -1 },
		.callback = callback,
	};
	timer->source.fd = timerfd_create(clock, TFD_CLOEXEC | TFD_NONBLOCK);
	if (timer->source.fd < 0)
		return -errno;
	r = event_add(loop, &timer->source, EPOLLIN);
	if (r < 0)
		close(TAKE_FD(timer->source.fd));
	return r;
}

int event_timer_init(struct event_timer *timer, struct event_loop *loop,
		     void (*callback)(struct event_timer *timer))
{
	return init_timer(timer, loop, CLOCK_MONOTONIC, callback);
}

int event_timer_init_wall(struct event_timer *timer, struct event_loop *loop,
			  void (*callback)(struct event_timer *timer))
{
	return init_timer(timer, loop, CLOCK_REALTIME, callback);
}

void event_timer_done(struct event_timer *timer)
{
	if (!timer->source.callback || timer->source.fd < 0)
		return;
	event_remove(&timer->source);
	close(TAKE_FD(timer->source.fd));
}

void event_timer_set(struct event_timer *timer, int64_t delay_ms)
{
	struct itimerspec when = {
		.it_value = { .tv_sec = delay_ms / 1000, .tv_nsec = (delay_ms % 1000) * 1000000 },
	};

	if (delay_ms <= 0) /* zero would disarm */
		when.it_value = (struct timespec){ .tv_nsec = 1 };
	timerfd_settime(timer->source.fd, 0, &when, NULL);
}

void event_timer_set_at(struct event_timer *timer, int64_t at_s)
{
	/* The kernel takes no time before 1970, and cuts one after 2262 itself. */
	struct itimerspec when = { .it_value = { .tv_sec = at_s > 0 ? at_s : 1 } };

	timerfd_settime(timer->source.fd, TFD_TIMER_ABSTIME, &when, NULL);
}

void event_timer_clear(struct event_timer *timer)
{
	timerfd_settime(timer->source.fd, 0, &(struct itimerspec){ 0 }, NULL);
}

struct pause {
	struct event_timer timer;
	bool done;
};

static void end_pause(struct event_timer *timer)
{
	((struct pause *)timer)->done = true;
}

int event_loop_pause(struct event_loop *loop, int64_t delay_ms)
{
	struct pause pause = { .done = false };
	int r = event_timer_init(&pause.timer, loop, end_pause);

	if (r < 0)
		return r;
	event_timer_set(&pause.timer, delay_ms);
	r = event_loop_wait(loop, &pause.done);
	event_timer_done(&pause.timer);
	return r;
}
