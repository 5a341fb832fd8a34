#include "executor/event/fibers.h"

#include "executor/event/loop_internal.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#endif

struct group {
	struct event_loop *loop;
	struct group *parent; /* of the job that started this one */
	int (*job)(void *context, size_t i, struct error *err);
	void *context;
	size_t started, running;
	int result; /* the first failure */
	struct error *err; /* its text */
	bool is_cancelled;
	bool has_changed; /* a job has ended */
};

struct fiber {
	struct fiber *next;
	struct group *group;
	size_t job;
	ucontext_t here, resumer;
	char *memory; /* guard page and stack */
	const bool *awaited; /* NULL = may go on */
	bool is_cancellable; /* the wait */
	bool has_ended;
	const void *resumer_stack; /* for the address sanitizer */
	size_t resumer_stack_bytes;
};

/* --- switching stacks ------------------------------------------------------------------- */

/* AddressSanitizer has to be told whose stack it looks at from now on. */
static void before_switch(void **ret_fake, const void *stack, size_t bytes)
{
#ifdef __SANITIZE_ADDRESS__
	__sanitizer_start_switch_fiber(ret_fake, stack, bytes);
#else
	(void)ret_fake, (void)stack, (void)bytes;
#endif
}

static void after_switch(void *fake, const void **ret_stack, size_t *ret_bytes)
{
#ifdef __SANITIZE_ADDRESS__
	__sanitizer_finish_switch_fiber(fake, ret_stack, ret_bytes);
#else
	(void)fake, (void)ret_stack, (void)ret_bytes;
#endif
}

static size_t guard_bytes(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

/* From the thread's stack to the fiber's, until the fiber gives way. */
static void enter(struct event_loop *loop, struct fiber *fiber)
{
	void *fake = NULL;

	loop->current = fiber;
	before_switch(&fake, fiber->memory + guard_bytes(), FIBERS_STACK_BYTES);
	swapcontext(&fiber->resumer, &fiber->here);
	after_switch(fake, NULL, NULL);
	loop->current = NULL;
}

/* Back, until somebody enters again. */
static void give_way(struct fiber *fiber)
{
	void *fake = NULL;

	before_switch(fiber->has_ended ? NULL : &fake, fiber->resumer_stack,
		      fiber->resumer_stack_bytes);
	swapcontext(&fiber->here, &fiber->resumer);
	after_switch(fake, &fiber->resumer_stack, &fiber->resumer_stack_bytes);
}

/* --- jobs ------------------------------------------------------------------------------- */

static bool is_cancelled(const struct group *group)
{
	if (group->loop->is_cancelled)
		return true;
	for (; group; group = group->parent)
		if (group->is_cancelled)
			return true;
	return false;
}

static void end_job(struct group *group, int r, const struct error *err)
{
	group->running--;
	group->has_changed = true;
	if (r >= 0 || group->result < 0)
		return;
	group->result = r;
	group->is_cancelled = true;
	if (group->err)
		*group->err = *err;
}

static void run_job(struct fiber *fiber)
{
	struct group *group = fiber->group;
	struct error err = ERROR_NONE;

	end_job(group, group->job(group->context, fiber->job, &err), &err);
}

/* makecontext() passes integers: a pointer comes in two halves. */
static void begin(unsigned high, unsigned low)
{
	struct fiber *fiber = (struct fiber *)((uintptr_t)high << 32 | low);

	after_switch(NULL, &fiber->resumer_stack, &fiber->resumer_stack_bytes);
	run_job(fiber);
	fiber->has_ended = true;
	give_way(fiber);
}

static void free_fiber(struct fiber *fiber)
{
	munmap(fiber->memory, guard_bytes() + FIBERS_STACK_BYTES);
	free(fiber);
}

/* Makes the stack, with begin() on it. */
static int prepare(struct fiber *fiber)
{
	uintptr_t address = (uintptr_t)fiber;

	fiber->memory = mmap(NULL, guard_bytes() + FIBERS_STACK_BYTES, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
	if (fiber->memory == MAP_FAILED)
		return -errno;
	if (mprotect(fiber->memory, guard_bytes(), PROT_NONE) < 0 || getcontext(&fiber->here) < 0) {
		munmap(fiber->memory, guard_bytes() + FIBERS_STACK_BYTES);
		return -errno;
	}
	fiber->here.uc_stack.ss_sp = fiber->memory + guard_bytes();
	fiber->here.uc_stack.ss_size = FIBERS_STACK_BYTES;
	makecontext(&fiber->here, (void (*)(void))begin, 2, (unsigned)(address >> 32),
		    (unsigned)address);
	return 0;
}

static struct fiber *new_fiber(struct group *group, size_t job)
{
	struct fiber *fiber = calloc(1, sizeof(*fiber));

	if (!fiber)
		return NULL;
	fiber->group = group;
	fiber->job = job;
	if (prepare(fiber) == 0)
		return fiber;
	free(fiber);
	return NULL;
}

static void start_job(struct group *group)
{
	struct fiber *fiber = new_fiber(group, group->started++), **link = &group->loop->fibers;
	struct error err;

	group->running++;
	if (!fiber) {
		end_job(group, error_set(&err, -ENOMEM, "out of memory"), &err);
		return;
	}
	while (*link)
		link = &(*link)->next;
	*link = fiber;
}

/* --- turns ------------------------------------------------------------------------------ */

static bool can_go_on(const struct event_loop *loop, const struct fiber *fiber)
{
	return !fiber->awaited || *fiber->awaited || loop->failure < 0 ||
	       (fiber->is_cancellable && is_cancelled(fiber->group));
}

bool fibers_resume(struct event_loop *loop)
{
	struct fiber **link = &loop->fibers;

	while (*link) {
		struct fiber *fiber = *link;

		if (can_go_on(loop, fiber))
			enter(loop, fiber);
		if (fiber->has_ended) {
			*link = fiber->next;
			free_fiber(fiber);
		} else {
			link = &fiber->next;
		}
	}
	for (const struct fiber *fiber = loop->fibers; fiber; fiber = fiber->next)
		if (can_go_on(loop, fiber))
			return true;
	return false;
}

/* What a wait that is over, or never began, returns. */
static int wait_result(const struct event_loop *loop, bool is_cancellable)
{
	if (is_cancellable && is_cancelled(loop->current->group))
		return -ECANCELED;
	return loop->failure;
}

int fiber_wait(struct event_loop *loop, const bool *done, bool is_cancellable)
{
	struct fiber *fiber = loop->current;
	int r = wait_result(loop, is_cancellable);

	if (r == -ECANCELED || (r == 0 && done && *done))
		return r;
	/* After a failure of epoll others still get their turn: they end for the same reason. */
	fiber->awaited = done;
	fiber->is_cancellable = is_cancellable;
	give_way(fiber);
	return wait_result(loop, is_cancellable);
}

int fibers_run(struct event_loop *loop, size_t count, size_t width,
	       int (*job)(void *context, size_t i, struct error *err), void *context,
	       struct error *err)
{
	struct group group = {
		.loop = loop,
		.parent = loop->current ? loop->current->group : NULL,
		.job = job,
		.context = context,
		.err = err,
	};

	for (;;) {
		while (group.started < count && group.running < width && !is_cancelled(&group))
			start_job(&group);
		if (group.running == 0)
			break;
		group.has_changed = false;
		event_loop_wait_uncancelled(loop, &group.has_changed);
	}
	if (group.result == 0 && group.started < count)
		return event_loop_cancelled_error(err);
	return group.result;
}
