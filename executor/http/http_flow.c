#include "executor/base/clock.h"
#include "executor/http/http_internal.h"

#include <linux/socket.h>
#include <sys/socket.h>

/* Below what libcurl reads in one go nothing is won. */
#define SHUT_WINDOW_BYTES (128 * 1024)

void http_transfer_pause(struct http_transfer *transfer)
{
	transfer->is_paused = true;
}

void http_transfer_resume(struct http_transfer *transfer)
{
	if (!transfer->is_paused)
		return;
	transfer->is_paused = false;
	transfer->moved_ms = clock_now_ms();
	if (transfer->is_held && transfer->client)
		event_timer_set(&transfer->client->kick_timer, 0);
}

void http_flow_socket(CURL *easy, curl_socket_t fd, int what)
{
	struct http_transfer *transfer = NULL;

	/* Connections that are being closed have no transfer. */
	curl_easy_getinfo(easy, CURLINFO_PRIVATE, &transfer);
	if (!transfer)
		return;
	if (what != CURL_POLL_REMOVE)
		transfer->fd = fd;
	else if (transfer->fd == fd && !transfer->is_paused && !transfer->is_held)
		transfer->fd = -1;
}

/* Linux 5.14; before that it may still grow. */
static void lock_buffer(const struct http_transfer *transfer, int lock)
{
	(void)setsockopt(transfer->fd, SOL_SOCKET, SO_BUF_LOCK, &lock, sizeof(lock));
}

size_t http_transfer_hold_window(struct http_transfer *transfer)
{
	int size = 0;
	socklen_t length = sizeof(size);

	if (transfer->fd < 0 || transfer->phase != HTTP_RUNNING)
		return 0;
	lock_buffer(transfer, SOCK_RCVBUF_LOCK);
	if (getsockopt(transfer->fd, SOL_SOCKET, SO_RCVBUF, &size, &length) < 0 || size < 0)
		return 0;
	return (size_t)size;
}

void http_transfer_release_window(struct http_transfer *transfer)
{
	if (transfer->fd >= 0 && transfer->phase == HTTP_RUNNING)
		lock_buffer(transfer, 0);
}

void http_transfer_shut_window(struct http_transfer *transfer)
{
	int size = SHUT_WINDOW_BYTES;

	if (transfer->fd >= 0 && transfer->phase == HTTP_RUNNING)
		(void)setsockopt(transfer->fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
}
