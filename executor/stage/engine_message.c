#include "executor/stage/engine_message.h"

#include "executor/base/cleanup.h"
#include "executor/base/fd.h"
#include "executor/http/digest.h"
#include "executor/stage/engine_confine.h"
#include "executor/stage/engine_counts.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

/* One for the text, one that is passed. */
#define DESCRIPTORS_MAX 2

/* The first byte of a packet. */
#define TEXT_FOLLOWS 'J'
#define TEXT_IN_MEMFD 'M'

union control {
	char bytes[CMSG_SPACE(DESCRIPTORS_MAX * sizeof(int))];
	struct cmsghdr align;
};

/* --- packets ---------------------------------------------------------------------------- */

static int send_packet(int socket_fd, const struct iovec *parts, size_t part_count, const int *fds,
		       size_t fd_count)
{
	union control control = { .bytes = { 0 } };
	struct msghdr packet = { .msg_iov = (struct iovec *)parts, .msg_iovlen = part_count };
	ssize_t n;

	if (fd_count > 0) {
		struct cmsghdr *header = &control.align;

		packet.msg_control = control.bytes;
		packet.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
		memcpy(CMSG_DATA(header), fds, fd_count * sizeof(int));
	}
	do
		n = sendmsg(socket_fd, &packet, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

int engine_message_send(int socket_fd, struct json_object *message, int fd)
{
	_cleanup_buffer_ struct buffer text = BUFFER_INIT(ENGINE_MESSAGE_BYTES_MAX);
	_cleanup_close_ int memory_fd = -1;
	char kind = TEXT_FOLLOWS;
	struct iovec parts[2] = { { &kind, 1 } };
	int fds[DESCRIPTORS_MAX];
	size_t fd_count = 0;
	int r = message ? json_print(message, &text, NULL) : -ENOMEM;

	if (r < 0)
		return r;
	if (text.size > ENGINE_PACKET_BYTES_MAX) {
		kind = TEXT_IN_MEMFD;
		memory_fd = memfd_create("message", MFD_CLOEXEC);
		if (memory_fd < 0)
			return -errno;
		r = fd_write_all(memory_fd, text.data, text.size);
		if (r < 0)
			return r;
		fds[fd_count++] = memory_fd;
	} else {
		parts[1] = (struct iovec){ text.data, text.size };
	}
	if (fd >= 0)
		fds[fd_count++] = fd;
	return send_packet(socket_fd, parts, kind == TEXT_FOLLOWS ? 2 : 1, fds, fd_count);
}

/* Takes what came beside the text; -EPROTO if it was too much. */
static int take_descriptors(struct msghdr *packet, int fds[DESCRIPTORS_MAX])
{
	int r = packet->msg_flags & (MSG_TRUNC | MSG_CTRUNC) ? -EPROTO : 0;

	for (struct cmsghdr *header = CMSG_FIRSTHDR(packet); header;
	     header = CMSG_NXTHDR(packet, header)) {
		if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
			continue;
		memcpy(fds, CMSG_DATA(header), header->cmsg_len - CMSG_LEN(0));
	}
	return r;
}

/* The sender may still write to it: it is read, never mapped. */
static int read_memory(int fd, struct buffer *text)
{
	struct stat st;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || lseek(fd, 0, SEEK_SET) < 0)
		return -EPROTO;
	r = fd_read_all(fd, text);
	return r == -ENOMEM ? r : r < 0 ? -EPROTO : 0;
}

static int parse(const char *data, size_t size, struct json_object **ret)
{
	struct json_object *message = NULL;

	if (json_parse(data, size, "message", &message, NULL) < 0)
		return -EPROTO;
	if (!json_is_object(message)) {
		json_free(message);
		return -EPROTO;
	}
	*ret = message;
	return 1;
}

/* The text of a packet that has come, or what its memfd holds, which is closed then. 1, or a negative
 * errno. */
static int take_text(const char *data, size_t size, int fds[DESCRIPTORS_MAX],
		     struct json_object **ret)
{
	_cleanup_buffer_ struct buffer text = BUFFER_INIT(ENGINE_MESSAGE_BYTES_MAX);
	int r;

	if (data[0] == TEXT_FOLLOWS)
		return parse(data + 1, size - 1, ret);
	if (data[0] != TEXT_IN_MEMFD || size != 1)
		return -EPROTO;
	r = read_memory(fds[0], &text);
	cleanup_close(&fds[0]);
	fds[0] = TAKE_FD(fds[1]);
	return r < 0 ? r : parse(buffer_string(&text), text.size, ret);
}

int engine_message_receive(int socket_fd, bool want_wait, struct json_object **ret, int *ret_fd)
{
	_cleanup_free_ char *data = malloc(ENGINE_PACKET_BYTES_MAX + 1);
	union control control;
	struct iovec part = { data, ENGINE_PACKET_BYTES_MAX + 1 };
	struct msghdr packet = { .msg_iov = &part,
				 .msg_iovlen = 1,
				 .msg_control = control.bytes,
				 .msg_controllen = sizeof(control.bytes) };
	int fds[DESCRIPTORS_MAX] = { -1, -1 };
	ssize_t n;
	int r;

	*ret_fd = -1;
	if (!data)
		return -ENOMEM;
	do
		n = recvmsg(socket_fd, &packet, MSG_CMSG_CLOEXEC | (want_wait ? 0 : MSG_DONTWAIT));
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN && !want_wait ? 0 : -errno;
	if (n == 0)
		return -EPIPE;
	r = take_descriptors(&packet, fds);
	if (r == 0)
		r = take_text(data, (size_t)n, fds, ret);
	cleanup_close(&fds[1]);
	if (r < 0)
		cleanup_close(&fds[0]);
	else
		*ret_fd = fds[0];
	return r;
}

/* --- fields ------------------------------------------------------------------------------ */

int engine_set_number(struct json_object *object, const char *key, uint64_t value)
{
	return json_set(object, key, json_new_int((int64_t)value));
}

bool engine_number(struct json_object *value, int64_t min, int64_t max, int64_t *ret)
{
	*ret = json_int(value, INT64_MIN);
	return *ret != INT64_MIN && *ret >= min && *ret <= max;
}

bool engine_take_number(struct json_object *object, const char *key, int64_t min, int64_t max,
			int64_t *ret)
{
	return engine_number(json_get(object, key), min, max, ret);
}

bool engine_take_unsigned(struct json_object *object, const char *key, uint64_t *ret)
{
	int64_t value;

	if (!engine_take_number(object, key, 0, INT64_MAX, &value))
		return false;
	*ret = (uint64_t)value;
	return true;
}

static int take_kind(struct json_object *message, const char *const *names, size_t count)
{
	const char *name = json_get_string(message, "kind", "");

	for (size_t i = 0; i < count; i++)
		if (strcmp(names[i], name) == 0)
			return (int)i;
	return -EPROTO;
}

struct json_object *engine_message_error(const struct error *error)
{
	_cleanup_json_ struct json_object *object = json_new_object();

	if (!object || json_set(object, "code", json_new_int(error->code)) < 0 ||
	    engine_set_number(object, "class", error->class) < 0 ||
	    json_set_string(object, "message", error->message) < 0)
		return NULL;
	return TAKE_PTR(object);
}

int engine_message_read_error(struct json_object *object, struct error *ret)
{
	const char *message = json_get_string(object, "message", NULL);
	int64_t code, class;

	if (!message || !engine_take_number(object, "code", -4095, -1, &code) ||
	    !engine_take_number(object, "class", 0, ERROR_CLASS_COUNT - 1, &class))
		return -EPROTO;
	error_set_class(ret, (int)code, (enum error_class) class, "%s", message);
	return 0;
}

/* --- orders ------------------------------------------------------------------------------ */

static const char *const order_names[] = { "setup", "load", "save", "sweep", "cancel", "place" };

static bool is_of_output(enum engine_order_kind kind)
{
	return kind == ENGINE_SAVE || kind == ENGINE_SWEEP;
}

/* The numbers of those that are true. */
static int set_done(struct json_object *message, const bool *done)
{
	_cleanup_json_ struct json_object *array = json_new_array();
	int r = array ? 0 : -ENOMEM;

	for (int64_t i = 0; r == 0 && i < LEDGER_ENTRIES_MAX; i++)
		if (done[i])
			r = json_append(array, json_new_int(i));
	return r == 0 ? json_set(message, "done", TAKE_PTR(array)) : r;
}

static int read_done(struct json_object *array, bool *ret)
{
	int64_t number;

	if (!json_is_array(array))
		return -EPROTO;
	for (size_t i = 0; i < json_length(array); i++) {
		if (!engine_number(json_at(array, i), 0, LEDGER_ENTRIES_MAX - 1, &number))
			return -EPROTO;
		ret[number] = true;
	}
	return 0;
}

struct json_object *engine_order_print(const struct engine_order *order)
{
	_cleanup_json_ struct json_object *message = json_new_object();

	if (!message || json_set_string(message, "kind", order_names[order->kind]) < 0 ||
	    engine_set_number(message, "id", (uint64_t)order->id) < 0)
		return NULL;
	if (order->plugin && json_set_string(message, "plugin", order->plugin) < 0)
		return NULL;
	if (is_of_output(order->kind) &&
	    (engine_set_number(message, "index", order->index) < 0 ||
	     engine_set_number(message, "lost_from", (uint64_t)order->lost_from_s) < 0 ||
	     json_set(message, "is_log", json_new_bool(order->is_log)) < 0))
		return NULL;
	if (order->kind == ENGINE_LOAD && set_done(message, order->done) < 0)
		return NULL;
	if (order->handed && json_set(message, "handed", json_ref(order->handed)) < 0)
		return NULL;
	return TAKE_PTR(message);
}

int engine_order_read(struct json_object *message, struct engine_order *ret)
{
	int kind = take_kind(message, order_names, sizeof(order_names) / sizeof(order_names[0]));
	int64_t index = 0;

	*ret = (struct engine_order){ .kind = (enum engine_order_kind)kind };
	if (kind < 0)
		return -EPROTO;
	if (!engine_take_number(message, "id", 0, INT64_MAX, &ret->id))
		return -EPROTO;
	if (is_of_output(ret->kind) &&
	    (!engine_take_number(message, "index", 0, INT32_MAX, &index) ||
	     !engine_take_number(message, "lost_from", 0, INT32_MAX * 4LL, &ret->lost_from_s)))
		return -EPROTO;
	ret->index = (size_t)index;
	ret->is_log = json_get_bool(message, "is_log", false);
	ret->plugin = json_get_string(message, "plugin", NULL);
	ret->handed = json_get(message, "handed");
	return kind == ENGINE_LOAD ? read_done(json_get(message, "done"), ret->done) : 0;
}

/* --- events ------------------------------------------------------------------------------ */

static const char *const event_names[] = { "entry", "settled", "counts", "heard", "confined" };

static const char *const sum_names[2][LEDGER_DIRECTION_COUNT] = {
	{ "loaded_bytes", "saved_bytes" }, { "load_retries", "save_retries" }
};

static int print_entry(struct json_object *message, const struct engine_event *event)
{
	int r = engine_set_number(message, "index", event->index);

	if (r == 0)
		r = engine_set_number(message, "state", event->state);
	if (r == 0)
		r = engine_set_number(message, "bytes", event->bytes);
	if (r == 0)
		r = json_set(message, "total", json_new_int(event->bytes_total));
	if (r == 0)
		r = engine_set_number(message, "retries", event->retries);
	for (size_t i = 0; r == 0 && i < LEDGER_DIRECTION_COUNT; i++) {
		r = engine_set_number(message, sum_names[0][i], event->sum_bytes[i]);
		if (r == 0)
			r = engine_set_number(message, sum_names[1][i], event->sum_retries[i]);
	}
	return r;
}

static int read_entry(struct json_object *message, struct engine_event *ret)
{
	int64_t index, state;

	if (!engine_take_number(message, "index", 0, LEDGER_ENTRIES_MAX - 1, &index) ||
	    !engine_take_number(message, "state", 0, LEDGER_STATE_COUNT - 1, &state) ||
	    !engine_take_unsigned(message, "bytes", &ret->bytes) ||
	    !engine_take_number(message, "total", -1, INT64_MAX, &ret->bytes_total) ||
	    !engine_take_unsigned(message, "retries", &ret->retries))
		return -EPROTO;
	for (size_t i = 0; i < LEDGER_DIRECTION_COUNT; i++)
		if (!engine_take_unsigned(message, sum_names[0][i], &ret->sum_bytes[i]) ||
		    !engine_take_unsigned(message, sum_names[1][i], &ret->sum_retries[i]))
			return -EPROTO;
	ret->index = (size_t)index;
	ret->state = (enum ledger_state)state;
	return 0;
}

#define HASH_BYTES sizeof(((struct store_part *)NULL)->sha256)

/* The SHA-256 of all parts, one behind the other, in base64. */
static struct json_object *print_hashes(const struct store_stored *object)
{
	_cleanup_buffer_ struct buffer hashes = BUFFER_INIT(ENGINE_MESSAGE_BYTES_MAX);
	_cleanup_buffer_ struct buffer text = BUFFER_INIT(ENGINE_MESSAGE_BYTES_MAX);

	for (size_t i = 0; i < object->part_count; i++)
		if (buffer_append(&hashes, object->parts[i].sha256, HASH_BYTES) < 0)
			return NULL;
	if (digest_base64_encode(hashes.data, hashes.size, &text) < 0)
		return NULL;
	return json_new_string(buffer_string(&text), text.size);
}

static struct json_object *print_sizes(const struct store_stored *object)
{
	_cleanup_json_ struct json_object *array = json_new_array();

	for (size_t i = 0; array && i < object->part_count; i++)
		if (json_append(array, json_new_int((int64_t)object->parts[i].size)) < 0)
			return NULL;
	return TAKE_PTR(array);
}

static struct json_object *print_object(const struct store_stored *object)
{
	_cleanup_json_ struct json_object *facts = json_new_object();

	if (!facts || engine_set_number(facts, "objects", object->objects) < 0 ||
	    engine_set_number(facts, "size", object->size) < 0 ||
	    json_set_string(facts, "etag", object->etag) < 0 ||
	    json_set(facts, "parts", print_sizes(object)) < 0 ||
	    json_set(facts, "sha256", print_hashes(object)) < 0)
		return NULL;
	return TAKE_PTR(facts);
}

static int read_parts(struct json_object *sizes, const struct buffer *hashes,
		      struct store_stored *ret)
{
	size_t count = json_length(sizes);

	if (!json_is_array(sizes) || hashes->size != count * HASH_BYTES)
		return -EPROTO;
	if (count == 0)
		return 0;
	ret->parts = calloc(count, sizeof(*ret->parts));
	if (!ret->parts)
		return -ENOMEM;
	ret->part_count = count;
	for (size_t i = 0; i < count; i++) {
		int64_t bytes;

		if (!engine_number(json_at(sizes, i), 0, INT64_MAX, &bytes))
			return -EPROTO;
		ret->parts[i].size = (uint64_t)bytes;
		memcpy(ret->parts[i].sha256, hashes->data + i * HASH_BYTES, HASH_BYTES);
	}
	return 0;
}

static int read_object(struct json_object *facts, struct store_stored *ret)
{
	_cleanup_buffer_ struct buffer hashes = BUFFER_INIT(ENGINE_MESSAGE_BYTES_MAX);
	size_t etag_size = 0, text_size = 0;
	const char *etag = json_string(json_get(facts, "etag"), &etag_size);
	const char *text = json_string(json_get(facts, "sha256"), &text_size);

	if (!engine_take_unsigned(facts, "objects", &ret->objects) ||
	    !engine_take_unsigned(facts, "size", &ret->size) || !etag ||
	    etag_size >= sizeof(ret->etag) || strlen(etag) != etag_size || !text ||
	    digest_base64_decode(text, text_size, &hashes) < 0)
		return -EPROTO;
	memcpy(ret->etag, etag, etag_size);
	return read_parts(json_get(facts, "parts"), &hashes, ret);
}

static int print_settled(struct json_object *message, const struct engine_event *event)
{
	int r = engine_set_number(message, "id", (uint64_t)event->id);

	if (r == 0 && event->stored)
		r = json_set(message, "stored", json_ref(event->stored));
	if (r == 0 && event->stored)
		r = json_set(message, "object", print_object(&event->object));
	if (r == 0 && event->error.code)
		r = json_set(message, "error", engine_message_error(&event->error));
	return r;
}

static int read_settled(struct json_object *message, struct engine_event *ret)
{
	struct json_object *error = json_get(message, "error");

	ret->stored = json_get(message, "stored");
	if (!engine_take_number(message, "id", 0, INT64_MAX, &ret->id) ||
	    (ret->stored && (error || !json_is_object(ret->stored))))
		return -EPROTO;
	if (ret->stored)
		return read_object(json_get(message, "object"), &ret->object);
	return error ? engine_message_read_error(error, &ret->error) : 0;
}

struct json_object *engine_event_print(const struct engine_event *event)
{
	_cleanup_json_ struct json_object *message = json_new_object();
	int r = message ? json_set_string(message, "kind", event_names[event->kind]) : -ENOMEM;

	if (r == 0 && event->kind == ENGINE_ENTRY)
		r = print_entry(message, event);
	else if (r == 0 && event->kind == ENGINE_SETTLED)
		r = print_settled(message, event);
	else if (r == 0 && event->kind == ENGINE_CONFINED)
		r = engine_confined_print(message, &event->confinement);
	else if (r == 0 && event->kind == ENGINE_COUNTS)
		r = engine_counts_print(message, &event->counts);
	return r < 0 ? NULL : TAKE_PTR(message);
}

int engine_event_read(struct json_object *message, struct engine_event *ret)
{
	int kind = take_kind(message, event_names, sizeof(event_names) / sizeof(event_names[0]));
	int r = -EPROTO;

	memset(ret, 0, sizeof(*ret));
	ret->kind = (enum engine_event_kind)kind;
	if (kind == ENGINE_ENTRY)
		r = read_entry(message, ret);
	else if (kind == ENGINE_SETTLED)
		r = read_settled(message, ret);
	else if (kind == ENGINE_COUNTS)
		r = engine_counts_read(message, &ret->counts);
	else if (kind == ENGINE_HEARD)
		r = 0;
	else if (kind == ENGINE_CONFINED)
		r = engine_confined_read(message, &ret->confinement);
	if (r < 0)
		engine_event_done(ret);
	return r;
}

void engine_event_done(struct engine_event *event)
{
	store_stored_done(&event->object);
}
