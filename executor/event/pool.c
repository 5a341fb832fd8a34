#include "executor/event/pool.h"

#include "executor/base/cleanup.h"
#include "executor/event/cpus.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/eventfd.h>

struct queue {
	struct pool_job *first, **end;
};

struct pool {
	struct event_loop *loop;
	struct event_source source; /* an eventfd, readable while `ended` has jobs */
	unsigned width; /* 0 = not known before the first job */
	unsigned threads; /* running */
	pthread_t thread[POOL_THREADS_MAX];
	pthread_mutex_t mutex; /* for all below, and `state` and `next` of jobs */
	pthread_cond_t has_work;
	pthread_cond_t has_ended;
	struct queue waiting, ended;
	bool is_stopping;
};

static void put(struct queue *queue, struct pool_job *job)
{
	job->next = NULL;
	*queue->end = job;
	queue->end = &job->next;
}

static struct pool_job *take_first(struct queue *queue)
{
	struct pool_job *job = queue->first;

	if (job)
		queue->first = job->next;
	if (!queue->first)
		queue->end = &queue->first;
	return job;
}

static void take_out(struct queue *queue, struct pool_job *job)
{
	struct pool_job **at = &queue->first;

	while (*at && *at != job)
		at = &(*at)->next;
	if (!*at)
		return;
	*at = job->next;
	if (!*at)
		queue->end = at;
}

/* Called with the mutex held. */
static void note_end(struct pool *pool, struct pool_job *job)
{
	static const uint64_t one = 1;

	job->state = POOL_JOB_ENDED;
	put(&pool->ended, job);
	/* It cannot fail: the count stays far below where an eventfd blocks. */
	if (write(pool->source.fd, &one, sizeof(one)) < 0)
		abort();
	pthread_cond_broadcast(&pool->has_ended);
}

static void *work(void *context)
{
	struct pool *pool = context;
	struct pool_job *job;

	pthread_mutex_lock(&pool->mutex);
	for (;;) {
		while (!pool->waiting.first && !pool->is_stopping)
			pthread_cond_wait(&pool->has_work, &pool->mutex);
		job = take_first(&pool->waiting);
		if (!job)
			break;
		job->state = POOL_JOB_RUNNING;
		pthread_mutex_unlock(&pool->mutex);
		job->work(job);
		pthread_mutex_lock(&pool->mutex);
		note_end(pool, job);
	}
	pthread_mutex_unlock(&pool->mutex);
	return NULL;
}

/* On the loop: tells the owners. done() may start jobs, or take others back. */
static void tell(struct event_source *source, uint32_t revents)
{
	struct pool *pool = (struct pool *)((char *)source - offsetof(struct pool, source));
	struct pool_job *job;
	uint64_t count;

	(void)revents;
	pthread_mutex_lock(&pool->mutex);
	if (read(source->fd, &count, sizeof(count)) < 0)
		count = 0; /* another look was faster */
	while ((job = take_first(&pool->ended))) {
		job->state = POOL_JOB_IDLE;
		job->is_done = true;
		if (!job->done)
			continue;
		pthread_mutex_unlock(&pool->mutex);
		job->done(job);
		pthread_mutex_lock(&pool->mutex);
	}
	pthread_mutex_unlock(&pool->mutex);
}

struct pool *pool_new(struct event_loop *loop)
{
	struct pool *pool = calloc(1, sizeof(*pool));
	int r;

	if (!pool)
		return NULL;
	pool->loop = loop;
	pool->waiting.end = &pool->waiting.first;
	pool->ended.end = &pool->ended.first;
	pool->source = (struct event_source){
		.callback = tell,
		.name = "pool",
		.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
	};
	r = pool->source.fd < 0 ? -errno : event_add(loop, &pool->source, EPOLLIN);
	if (r < 0) {
		cleanup_close(&pool->source.fd);
		free(pool);
		errno = -r;
		return NULL;
	}
	pthread_mutex_init(&pool->mutex, NULL);
	pthread_cond_init(&pool->has_work, NULL);
	pthread_cond_init(&pool->has_ended, NULL);
	return pool;
}

void pool_free(struct pool *pool)
{
	if (!pool)
		return;
	pthread_mutex_lock(&pool->mutex);
	pool->is_stopping = true;
	pthread_cond_broadcast(&pool->has_work);
	pthread_mutex_unlock(&pool->mutex);
	for (unsigned i = 0; i < pool->threads; i++)
		pthread_join(pool->thread[i], NULL);
	event_remove(&pool->source);
	close(pool->source.fd);
	pthread_cond_destroy(&pool->has_ended);
	pthread_cond_destroy(&pool->has_work);
	pthread_mutex_destroy(&pool->mutex);
	free(pool);
}

static unsigned look_up_width(void)
{
	unsigned count = cpus_usable("/");

	return count < POOL_THREADS_MAX ? count : POOL_THREADS_MAX;
}

unsigned pool_width(const struct pool *pool)
{
	if (!pool)
		return 1;
	return pool->width ? pool->width : look_up_width();
}

static void start_threads(struct pool *pool)
{
	sigset_t all, before;
	pthread_attr_t attributes;

	pool->width = look_up_width();
	if (pthread_attr_init(&attributes) != 0)
		return;
	/* A thread begins with the mask of the one that starts it. */
	sigfillset(&all);
	/* A call that is refused (executor/confine) is its thread's own signal: blocked, it would end the
	 * process without a word. */
	sigdelset(&all, SIGSYS);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pthread_attr_setstacksize(&attributes, POOL_STACK_BYTES);
	while (pool->threads < pool->width &&
	       pthread_create(&pool->thread[pool->threads], &attributes, work, pool) == 0)
		pool->threads++;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attributes);
}

void pool_start(struct pool *pool, struct pool_job *job)
{
	job->is_done = false;
	if (!pool) {
		job->work(job);
		job->is_done = true;
		if (job->done)
			job->done(job);
		return;
	}
	if (!pool->width)
		start_threads(pool);
	if (pool->threads == 0)
		job->work(job);
	pthread_mutex_lock(&pool->mutex);
	if (pool->threads == 0) {
		note_end(pool, job);
	} else {
		job->state = POOL_JOB_QUEUED;
		put(&pool->waiting, job);
		pthread_cond_signal(&pool->has_work);
	}
	pthread_mutex_unlock(&pool->mutex);
}

int pool_wait(struct pool *pool, struct pool_job *job)
{
	return pool ? event_loop_wait_uncancelled(pool->loop, &job->is_done) : 0;
}

int pool_run(struct pool *pool, struct pool_job *job)
{
	pool_start(pool, job);
	return pool_wait(pool, job);
}

void pool_take_back(struct pool *pool, struct pool_job *job)
{
	if (!pool)
		return;
	pthread_mutex_lock(&pool->mutex);
	while (job->state == POOL_JOB_RUNNING)
		pthread_cond_wait(&pool->has_ended, &pool->mutex);
	if (job->state == POOL_JOB_QUEUED)
		take_out(&pool->waiting, job);
	if (job->state == POOL_JOB_ENDED)
		take_out(&pool->ended, job);
	job->state = POOL_JOB_IDLE;
	pthread_mutex_unlock(&pool->mutex);
}
