/*
 * What wrappers offer, and what is told of it to another process. Up to an empty line, each line is an offer:
 * who ('m' = main), how (HOW below), and the path. The rest is a description as JSON.
 *
 * Required: taken is only what main offers, once, by a path of the template that is not in a volume, a
 * file or directory for reading or a reason why there is none; of everything else nothing is kept. What is
 * told of a handed item is read as the same; of any other description nothing is kept, or what fits.
 */
#include "executor/base/cleanup.h"
#include "executor/base/fd.h"
#include "executor/stage/offers.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/targets.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* A tree that takes two slices to look through. */
#define CROWD (SCAN_SLICE + 10)
#define LOOKS 8

#define TEMPLATE \
	"{\"container\":{\"volumeMounts\":[{\"mountPath\":\"/vol\"}]},\"outputs\":" \
	"{\"artifacts\":[{\"name\":\"o\",\"path\":\"/out\"},{\"name\":\"p\",\"path\":\"/p\"}," \
	"{\"name\":\"v\",\"path\":\"/vol/x\"}]}}"

enum how { FILE_READ, FOLDER, CROWDED, FILE_BOTH, FILE_PATH, PIPE, SOCKET, PROCESS, DEVICE, NONE };
#define HOW_COUNT (NONE + 1)

static struct {
	struct event_loop *loop;
	struct channel_server *channel;
	struct template *template;
} room;

static void ignore_name(void *context, const char *container)
{
	(void)context;
	(void)container;
}

static void ignore_hello(void *context, const char *container, pid_t peer)
{
	(void)peer;
	ignore_name(context, container);
}

static void make_files(void)
{
	char name[32];

	fuzz_write_file(fuzz_path("file"), "x", 1);
	fuzz_require(mkdir(fuzz_path("folder"), 0755) == 0);
	fuzz_write_file(fuzz_path("folder/a"), "a", 1);
	fuzz_require(symlink("a", fuzz_path("folder/l")) == 0);
	fuzz_require(mkdir(fuzz_path("crowd"), 0755) == 0);
	for (unsigned i = 0; i < CROWD; i++) {
		snprintf(name, sizeof(name), "crowd/%u", i);
		fuzz_write_file(fuzz_path(name), "", 0);
	}
}

/* Told of what can be saved already. */
static void on_handed(struct offers *offers, const char *path)
{
	fuzz_require(handed_find(&offers->handed, path) != NULL);
}

/* Once for all inputs. */
static void make_room(void)
{
	const struct channel_server_options options = { .root = fuzz_directory(),
							.on_hello = ignore_hello,
							.on_gone = ignore_name };
	struct error err = ERROR_NONE;

	if (room.loop)
		return;
	make_files();
	room.loop = event_loop_new();
	room.channel = channel_server_new(room.loop, &options, &err);
	fuzz_require(room.loop && room.channel);
	fuzz_require(template_parse(TEMPLATE, strlen(TEMPLATE), "t", &room.template, &err) == 0);
}

static int open_as(enum how how)
{
	int ends[2];

	switch (how) {
	case FILE_READ:
		return open(fuzz_path("file"), O_RDONLY | O_CLOEXEC);
	case FILE_BOTH:
		return open(fuzz_path("file"), O_RDWR | O_CLOEXEC);
	case FILE_PATH:
		return open(fuzz_path("file"), O_PATH | O_CLOEXEC);
	case FOLDER:
		return open(fuzz_path("folder"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	case CROWDED:
		return open(fuzz_path("crowd"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	case PIPE:
		fuzz_require(pipe2(ends, O_CLOEXEC) == 0);
		close(ends[1]);
		return ends[0];
	case SOCKET:
		return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	case PROCESS:
		return open("/proc/self/status", O_RDONLY | O_CLOEXEC);
	case DEVICE:
		return open("/dev/null", O_RDONLY | O_CLOEXEC);
	case NONE:
		return -1;
	}
	return -1;
}

static bool may_be_taken(const struct channel_offer *offer, enum how how)
{
	return strcmp(offer->container, "main") == 0 &&
	       (strcmp(offer->path, "/out") == 0 || strcmp(offer->path, "/p") == 0) &&
	       (how == FILE_READ || how == FOLDER || how == CROWDED || how == NONE);
}

static void offer_one(struct offers *offers, struct fuzz_input line)
{
	bool is_main = fuzz_take_byte(&line) == 'm';
	enum how how = (enum how)(fuzz_take_byte(&line) % HOW_COUNT);
	_cleanup_free_ char *path = fuzz_text(line.data, line.size);
	/* One is enough, and takes long. */
	bool is_crowd = how == CROWDED && !offers->looks;
	struct channel_offer offer = {
		.peer = 1,
		.container = is_main ? "main" : "other",
		.path = path,
		.fd = open_as(how == CROWDED && !is_crowd ? FOLDER : how),
		.code = how == NONE ? EACCES : 0,
		.uid = getuid(),
		.gid = getgid(),
	};
	bool was_there = handed_find(&offers->handed, path) != NULL;
	enum channel_verdict verdict;

	fuzz_require((offer.fd < 0) == (how == NONE));
	verdict = offers_consider(offers, &offer);
	fuzz_require(verdict == CHANNEL_REFUSED || (may_be_taken(&offer, how) && !was_there));
	fuzz_require((handed_find(&offers->handed, path) != NULL) ==
		     (was_there || verdict == CHANNEL_TAKEN));
	fuzz_require(verdict == CHANNEL_REFUSED || offer.fd < 0);
	fuzz_require(verdict != CHANNEL_BUSY || how == CROWDED);
	if (offer.fd >= 0)
		close(offer.fd);
}

/* --- descriptions ------------------------------------------------------------------------- */

static void check_item(const struct handed_item *item)
{
	fuzz_require(item->path[0] == '/');
	fuzz_require((item->fd >= 0) == (item->code == 0) && item->code >= 0);
	fuzz_require(item->identity.group_count <= IDENTITY_GROUPS_MAX);
}

static void check_same(const struct handed_item *item)
{
	_cleanup_json_ struct json_object *told = handed_describe(item), *again = NULL;
	struct handed other = { NULL };
	int fd = item->fd >= 0 ? dup(item->fd) : -1;

	fuzz_require(told && handed_adopt(&other, told, &fd) == 0 && fd == -1);
	check_item(other.items);
	again = handed_describe(other.items);
	fuzz_require(again && json_equal(told, again));
	handed_done(&other);
}

static void check_description(struct fuzz_input input, enum how how)
{
	_cleanup_json_ struct json_object *description = NULL;
	struct handed handed = { NULL };
	struct error err = ERROR_NONE;
	int fd, r;

	if (json_parse(input.data, input.size, "x", &description, &err) < 0)
		return;
	fd = open_as(how);
	r = handed_adopt(&handed, description, &fd);
	/* A socket is to bring parts, and this one brings none. */
	fuzz_require(how == SOCKET ? r < 0 : r == 0 || r == -EINVAL);
	fuzz_require((r == 0) == (handed.items != NULL));
	if (r == 0) {
		fuzz_require(fd == -1);
		check_item(handed.items);
		check_same(handed.items);
	}
	if (fd >= 0)
		close(fd);
	handed_done(&handed);
}

void fuzz_offers(const char *data, size_t size)
{
	const struct log log = { .fd = -1, .level = LOG_ERROR };
	struct fuzz_input input = { data, size };
	struct offers offers;
	int fd;

	make_room();
	fd = fuzz_next_fd();
	fuzz_require(offers_init(&offers, room.loop, room.template, &log) == 0);
	offers.channel = room.channel;
	offers.on_handed = on_handed;
	while (input.size > 0) {
		struct fuzz_input line = fuzz_take_until(&input, '\n');

		if (line.size == 0)
			break;
		offer_one(&offers, line);
	}
	for (unsigned i = 0; offers.looks && i < LOOKS; i++)
		fuzz_require(event_loop_poll(room.loop) == 0);
	for (const struct handed_item *item = offers.handed.items; item; item = item->next) {
		check_item(item);
		check_same(item);
	}
	offers_done(&offers);
	check_description(input, NONE);
	check_description(input, FILE_READ);
	check_description(input, SOCKET);
	fuzz_require(fuzz_next_fd() == fd);
}
