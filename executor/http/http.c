#include "executor/http/http.h"

#include "executor/base/cleanup.h"
#include "executor/base/clock.h"
#include "executor/http/http_internal.h"
#include "executor/http/retry.h"

#include <errno.h>
#include <linux/sockios.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>

/* Idle connections kept for another request. */
#define IDLE_CONNECTIONS_MAX 16L

/* How often the movement of bytes is looked at, as a share of the stall timeout. */
#define STALL_CHECKS 4

void http_client_enter(struct http_client *client)
{
	client->depth++;
}

/* Takes the transfer away from libcurl. Calls back into the socket and timer functions only. */
static void release_easy(struct http_transfer *transfer)
{
	struct http_client *client = transfer->client;

	http_gate_leave(transfer);
	if (!transfer->easy)
		return;
	http_client_enter(client);
	if (transfer->phase == HTTP_RUNNING)
		curl_multi_remove_handle(client->multi, transfer->easy);
	curl_easy_cleanup(TAKE_PTR(transfer->easy));
	client->depth--;
}

void http_transfer_finish(struct http_transfer *transfer)
{
	release_easy(transfer);
	transfer->phase = HTTP_FINISHED;
}

static void destroy(struct http_transfer *transfer)
{
	struct http_client *client = transfer->client;

	if (client) {
		release_easy(transfer);
		TAILQ_REMOVE(&client->transfers, transfer, link);
	}
	/* An idle process is not woken to find that nothing stalls. */
	if (client && TAILQ_EMPTY(&client->transfers)) {
		event_timer_clear(&client->stall_timer);
		client->is_watching = false;
	}
	curl_slist_free_all(transfer->headers);
	curl_slist_free_all(transfer->connect_to);
	http_response_done(&transfer->response);
	free(transfer);
}

/* A socket that nobody watches would never be heard of again. */
static void fail_unwatched(struct http_client *client)
{
	struct http_transfer *transfer;
	int code = client->socket_error;

	client->socket_error = 0;
	if (code == 0)
		return;
	TAILQ_FOREACH(transfer, &client->transfers, link)
	{
		if (transfer->phase != HTTP_RUNNING)
			continue;
		error_errno(&transfer->error, code, "watch a socket");
		transfer->error.class = ERROR_TRANSIENT;
		http_outcome_prefix(&transfer->request, &transfer->error);
		http_transfer_finish(transfer);
	}
}

static void collect_results(struct http_client *client)
{
	CURLMsg *message;
	int left;

	while ((message = curl_multi_info_read(client->multi, &left))) {
		struct http_transfer *transfer = NULL;
		CURLcode result = message->data.result;

		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer);
		http_outcome(transfer, result, &transfer->error);
		http_transfer_finish(transfer);
	}
	fail_unwatched(client);
}

static struct http_transfer *find_due(struct http_client *client)
{
	struct http_transfer *transfer;

	TAILQ_FOREACH(transfer, &client->transfers, link)
	if (transfer->is_freed || transfer->phase == HTTP_FINISHED)
		return transfer;
	return NULL;
}

/* The way out of everything that may have moved a transfer. Callbacks run here, outside libcurl:
 * they may start and free transfers, and run the loop. */
void http_client_leave(struct http_client *client)
{
	struct http_transfer *transfer;

	if (--client->depth > 0)
		return;
	collect_results(client);
	while ((transfer = find_due(client))) {
		if (transfer->is_freed) {
			destroy(transfer);
			continue;
		}
		transfer->phase = HTTP_CALLED;
		transfer->callback(transfer, &transfer->response, &transfer->error,
				   transfer->context);
	}
}

static void act(struct http_client *client, curl_socket_t fd, int bits)
{
	int running;

	/* Only a callback inside libcurl that runs the loop, which http.h forbids, gets here. */
	if (client->depth > 0)
		return;
	http_client_enter(client);
	curl_multi_socket_action(client->multi, fd, bits, &running);
	http_client_leave(client);
}

static void on_socket_event(struct event_source *source, uint32_t revents)
{
	struct http_client *client = ((struct http_socket *)source)->client;
	int bits = 0;

	/* libcurl's own error bit would hide the errno that the next system call tells. */
	if (revents & (EPOLLIN | EPOLLERR | EPOLLHUP))
		bits |= CURL_CSELECT_IN;
	if (revents & (EPOLLOUT | EPOLLERR | EPOLLHUP))
		bits |= CURL_CSELECT_OUT;
	act(client, source->fd, bits);
}

static void forget_socket(struct http_socket *socket)
{
	event_remove(&socket->source);
	LIST_REMOVE(socket, link);
	free(socket);
}

static int watch_socket(struct http_client *client, curl_socket_t fd, uint32_t events)
{
	struct http_socket *socket = calloc(1, sizeof(*socket));
	int r;

	if (!socket)
		return -ENOMEM;
	socket->client = client;
	socket->source.callback = on_socket_event;
	socket->source.name = "http";
	socket->source.fd = fd;
	r = event_add(client->loop, &socket->source, events);
	if (r < 0) {
		free(socket);
		return r;
	}
	LIST_INSERT_HEAD(&client->sockets, socket, link);
	curl_multi_assign(client->multi, fd, socket);
	return 0;
}

static int on_curl_socket(CURL *easy, curl_socket_t fd, int what, void *context, void *pointer)
{
	struct http_client *client = context;
	struct http_socket *socket = pointer;
	uint32_t events = 0;
	int r;

	http_flow_socket(easy, fd, what);
	if (what == CURL_POLL_REMOVE) {
		if (socket) {
			forget_socket(socket);
			curl_multi_assign(client->multi, fd, NULL);
		}
		return 0;
	}
	if (what & CURL_POLL_IN)
		events |= EPOLLIN;
	if (what & CURL_POLL_OUT)
		events |= EPOLLOUT;
	r = socket ? event_change(&socket->source, events) : watch_socket(client, fd, events);
	if (r < 0) {
		/* An error returned here would make the whole multi handle unusable. */
		client->socket_error = r;
		event_timer_set(&client->kick_timer, 0);
	}
	return 0;
}

static int on_curl_timer(CURLM *multi, long timeout_ms, void *context)
{
	struct http_client *client = context;

	(void)multi;
	if (timeout_ms < 0)
		event_timer_clear(&client->curl_timer);
	else
		event_timer_set(&client->curl_timer, timeout_ms);
	return 0;
}

static struct http_client *client_of(struct event_timer *timer, size_t offset)
{
	return (struct http_client *)((char *)timer - offset);
}

static void on_curl_deadline(struct event_timer *timer)
{
	act(client_of(timer, offsetof(struct http_client, curl_timer)), CURL_SOCKET_TIMEOUT, 0);
}

/* Gives a transfer to libcurl, which does nothing yet but arm its timer. */
void http_transfer_begin(struct http_transfer *transfer)
{
	struct http_client *client = transfer->client;
	CURLMcode code;

	http_client_enter(client);
	code = curl_multi_add_handle(client->multi, transfer->easy);
	client->depth--;
	transfer->phase = HTTP_RUNNING;
	if (code == CURLM_OK)
		return;
	transfer->phase = HTTP_WAITING;
	error_set(&transfer->error, -ENOMEM, "%s", curl_multi_strerror(code));
	http_outcome_prefix(&transfer->request, &transfer->error);
	http_transfer_finish(transfer);
}

/* Starts and resumes what was asked for inside libcurl, or by resume(), at a moment that allows. */
static void on_kick(struct event_timer *timer)
{
	struct http_client *client = client_of(timer, offsetof(struct http_client, kick_timer));
	struct http_transfer *transfer;

	if (client->depth > 0)
		return;
	http_client_enter(client);
	TAILQ_FOREACH(transfer, &client->transfers, link)
	{
		if (transfer->phase == HTTP_WAITING) {
			http_transfer_begin(transfer);
		} else if (transfer->phase == HTTP_RUNNING && transfer->is_held &&
			   !transfer->is_paused) {
			transfer->is_held = false;
			curl_easy_pause(transfer->easy, CURLPAUSE_CONT);
		}
	}
	http_client_leave(client);
}

static struct http_progress measure(const struct http_transfer *transfer)
{
	struct http_progress progress = { .header_bytes = transfer->response.headers.size };
	int unsent;

	curl_easy_getinfo(transfer->easy, CURLINFO_SIZE_UPLOAD_T, &progress.uploaded);
	curl_easy_getinfo(transfer->easy, CURLINFO_SIZE_DOWNLOAD_T, &progress.downloaded);
	/* The last megabytes of an upload leave long after libcurl has written them. */
	if (transfer->fd >= 0 && ioctl(transfer->fd, SIOCOUTQ, &unsent) == 0)
		progress.unsent_bytes = unsent;
	return progress;
}

static bool is_stalled(struct http_transfer *transfer, int64_t now_ms)
{
	struct http_progress progress;

	/* Until it is connected libcurl's connect timeout rules; a pause is the owner's wish. */
	if (!transfer->is_connected || transfer->is_paused || transfer->is_held ||
	    transfer->request.may_take_long) {
		transfer->moved_ms = now_ms;
		return false;
	}
	progress = measure(transfer);
	if (memcmp(&progress, &transfer->progress, sizeof(progress)) != 0) {
		transfer->progress = progress;
		transfer->moved_ms = now_ms;
	}
	return now_ms - transfer->moved_ms >= transfer->client->stall_timeout_ms;
}

static void arm_stall_timer(struct http_client *client)
{
	client->is_watching = true;
	event_timer_set(&client->stall_timer, client->stall_timeout_ms / STALL_CHECKS + 1);
}

static void on_stall_check(struct event_timer *timer)
{
	struct http_client *client = client_of(timer, offsetof(struct http_client, stall_timer));
	struct http_transfer *transfer;
	int64_t now_ms = clock_now_ms();
	bool is_any_running = false;

	client->is_watching = false;
	http_client_enter(client);
	TAILQ_FOREACH(transfer, &client->transfers, link)
	{
		if (transfer->phase > HTTP_RUNNING)
			continue;
		is_any_running = true;
		if (transfer->phase == HTTP_RUNNING && is_stalled(transfer, now_ms)) {
			http_outcome_stalled(transfer, &transfer->error);
			http_transfer_finish(transfer);
		}
	}
	if (is_any_running)
		arm_stall_timer(client);
	http_client_leave(client);
}

static int init_timers(struct http_client *client)
{
	int r = event_timer_init(&client->curl_timer, client->loop, on_curl_deadline);

	if (r == 0)
		r = event_timer_init(&client->kick_timer, client->loop, on_kick);
	if (r == 0)
		r = event_timer_init(&client->stall_timer, client->loop, on_stall_check);
	return r;
}

static int init_multi(struct http_client *client)
{
	/* Counted by libcurl; the last http_client_free() undoes it. */
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		return -ENOMEM;
	client->is_global_ready = true;
	client->multi = curl_multi_init();
	if (!client->multi)
		return -ENOMEM;
	curl_multi_setopt(client->multi, CURLMOPT_SOCKETFUNCTION, on_curl_socket);
	curl_multi_setopt(client->multi, CURLMOPT_SOCKETDATA, client);
	curl_multi_setopt(client->multi, CURLMOPT_TIMERFUNCTION, on_curl_timer);
	curl_multi_setopt(client->multi, CURLMOPT_TIMERDATA, client);
	curl_multi_setopt(client->multi, CURLMOPT_MAXCONNECTS, IDLE_CONNECTIONS_MAX);
	/* One connection per running transfer: on a shared HTTP/2 connection a paused transfer
	 * would hold up the others. */
	curl_multi_setopt(client->multi, CURLMOPT_PIPELINING, CURLPIPE_NOTHING);
	return 0;
}

struct http_client *http_client_new(struct event_loop *loop,
				    const struct http_client_options *options, struct error *err)
{
	_cleanup_(http_client_freep) struct http_client *client = calloc(1, sizeof(*client));
	int r;

	if (!client) {
		error_errno(err, -ENOMEM, "set up the HTTP client");
		return NULL;
	}
	TAILQ_INIT(&client->transfers);
	LIST_INIT(&client->sockets);
	client->loop = loop;
	client->connect_timeout_ms = options->connect_timeout_ms ?: HTTP_CONNECT_TIMEOUT_MS;
	client->stall_timeout_ms = options->stall_timeout_ms ?: HTTP_STALL_TIMEOUT_MS;
	client->user_agent = strdup(options->user_agent ?: "");
	r = client->user_agent ? init_timers(client) : -ENOMEM;
	if (r == 0)
		r = init_multi(client);
	if (r < 0) {
		error_errno(err, r, "set up the HTTP client");
		return NULL;
	}
	return TAKE_PTR(client);
}

void http_client_free(struct http_client *client)
{
	struct http_transfer *transfer;

	if (!client)
		return;
	TAILQ_FOREACH(transfer, &client->transfers, link)
	{
		struct retry *retry = transfer->gate ? transfer->request.retry : NULL;

		http_transfer_finish(transfer);
		transfer->client = NULL;
		if (retry)
			retry->gate = NULL;
	}
	if (client->multi) {
		http_client_enter(client);
		curl_multi_cleanup(client->multi);
		client->depth--;
	}
	curl_share_cleanup(client->cookies);
	while (!LIST_EMPTY(&client->sockets))
		forget_socket(LIST_FIRST(&client->sockets));
	http_trust_free(client->trust_store);
	http_gate_free(client);
	if (client->is_global_ready)
		curl_global_cleanup();
	event_timer_done(&client->stall_timer);
	event_timer_done(&client->kick_timer);
	event_timer_done(&client->curl_timer);
	free(client->user_agent);
	free(client);
}

struct event_loop *http_client_loop(struct http_client *client)
{
	return client->loop;
}

struct http_transfer *http_start(struct http_client *client, const struct http_request *request,
				 http_callback callback, void *context, struct error *err)
{
	struct http_transfer *transfer = calloc(1, sizeof(*transfer));

	if (!transfer) {
		error_errno(err, -ENOMEM, "start a request");
		return NULL;
	}
	transfer->client = client;
	transfer->request = *request;
	transfer->callback = callback;
	transfer->context = context;
	transfer->response.headers.max = HTTP_HEADER_BYTES_MAX;
	transfer->response.trailers.max = HTTP_HEADER_BYTES_MAX;
	transfer->response.body.max = request->body_max ?: HTTP_BODY_BYTES_DEFAULT;
	transfer->response.content_length = -1;
	transfer->phase = HTTP_WAITING;
	transfer->fd = -1;
	transfer->moved_ms = clock_now_ms();
	TAILQ_INSERT_TAIL(&client->transfers, transfer, link);
	if (http_request_configure(transfer, err) < 0) {
		destroy(transfer);
		return NULL;
	}
	if (!client->is_watching)
		arm_stall_timer(client);
	if (http_gate_hold(transfer))
		return transfer;
	if (client->depth > 0)
		event_timer_set(&client->kick_timer, 0);
	else
		http_transfer_begin(transfer);
	if (transfer->phase == HTTP_FINISHED)
		event_timer_set(&client->kick_timer, 0);
	return transfer;
}

void http_transfer_free(struct http_transfer *transfer)
{
	if (!transfer)
		return;
	if (transfer->client && transfer->client->depth > 0 && transfer->phase == HTTP_RUNNING)
		transfer->is_freed = true;
	else
		destroy(transfer);
}

const struct http_response *http_transfer_response(const struct http_transfer *transfer)
{
	return transfer->has_headers ? &transfer->response : NULL;
}
