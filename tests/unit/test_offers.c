/* Which outputs `wait` accepts from whom, through a real channel. Needs root where it says so. */
#include "executor/stage/offers.h"

#include "executor/archive/pack.h"
#include "executor/base/cleanup.h"
#include "executor/base/entry.h"
#include "executor/stage/source.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "tests/unit/scratch.h"
#include "tests/unit/stage_fixture.h"

#define STRANGER 12345

static struct channel_server *server;
static struct offers offers;
static enum channel_verdict heard;
static const struct stage *stage;

static void on_hello(void *context, const char *container, pid_t peer)
{
	(void)context;
	(void)container;
	(void)peer;
}

static void on_gone(void *context, const char *container)
{
	(void)context;
	(void)container;
}

static enum channel_verdict on_offer(void *context, struct channel_offer *offer)
{
	return offers_consider(context, offer);
}

static void on_parts(void *context, uint64_t peer, const int *codes, int *fds, unsigned count)
{
	offers_take_parts(context, peer, codes, fds, count);
}

static void on_left(void *context, uint64_t peer)
{
	offers_forget(context, peer);
}

/* How the wrapper opens a part that it is asked for, if it answers at all; and of what. */
static int (*open_part)(int parent_fd, const char *name);
static int offered_fd;
static unsigned asks;
static bool is_lost;

static void on_ask(struct channel_client *client, const struct channel_ask *ask)
{
	int codes[CHANNEL_PARTS_MAX], fds[CHANNEL_PARTS_MAX];
	const char *name = ask->names;
	int parent_fd = openat(offered_fd, *name ? name : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_true(parent_fd >= 0);
	asks++;
	for (unsigned i = 0; i < ask->number; i++) {
		name += strlen(name) + 1;
		fds[i] = open_part(parent_fd, name);
		codes[i] = fds[i] < 0 ? -fds[i] : 0;
	}
	channel_client_answer(client, codes, fds, ask->number);
	for (unsigned i = 0; i < ask->number; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	close(parent_fd);
}

static void on_lost(struct channel_client *client)
{
	(void)client;
	is_lost = true;
}

static void on_answer(struct channel_client *client, enum channel_verdict verdict)
{
	(void)client;
	heard = verdict;
}

static void begin(void)
{
	const struct channel_server_options options = { .root = scratch_path("run"),
							.on_hello = on_hello,
							.on_gone = on_gone,
							.on_offer = on_offer,
							.on_parts = on_parts,
							.on_left = on_left,
							.context = &offers };
	struct error err = ERROR_NONE;

	stage = stage_fixture_begin(
		"{\"container\":{\"volumeMounts\":[{\"mountPath\":\"/vol\"}]},\"outputs\":"
		"{\"artifacts\":[{\"name\":\"o\",\"path\":\"/out\"},"
		"{\"name\":\"v\",\"path\":\"/vol/x\"}]}}");
	assert_int_equal(offers_init(&offers, stage->store.loop, stage->template, stage->log), 0);
	server = channel_server_new(stage->store.loop, &options, &err);
	if (!server)
		fail_msg("%s", err.message);
	offers.channel = server;
}

static void end(void)
{
	offers_done(&offers);
	channel_server_free(server);
	stage_fixture_end();
}

/* The verdict; CHANNEL_BUSY if there is none after so many turns of the loop. */
static enum channel_verdict offer_as(const char *container, const char *path, int fd, int code,
				     unsigned turns)
{
	struct channel_client client = { .on_answer = on_answer,
					 .on_lost = on_lost,
					 .on_ask = open_part ? on_ask : NULL };

	offered_fd = fd;
	is_lost = false;
	heard = CHANNEL_BUSY;
	assert_int_equal(channel_client_connect(&client, stage->store.loop, scratch_path("run"),
						container),
			 0);
	assert_int_equal(channel_client_offer(&client, path, fd, code), 0);
	for (unsigned i = 0; i < turns && heard == CHANNEL_BUSY && !is_lost; i++)
		assert_int_equal(event_loop_poll(stage->store.loop), 0);
	channel_client_done(&client);
	event_loop_poll(stage->store.loop);
	if (fd >= 0)
		close(fd);
	return heard;
}

static enum channel_verdict offer(const char *path, int fd)
{
	return offer_as("main", path, fd, 0, 2000);
}

static int open_for(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC | O_NONBLOCK);

	assert_true(fd >= 0);
	return fd;
}

static int open_below(const char *name)
{
	return open_for(scratch_path(name), O_RDONLY | O_DIRECTORY);
}

static enum channel_verdict judge(const char *path, int flags)
{
	enum channel_verdict verdict;

	begin();
	verdict = offer("/out", open_for(path, flags));
	assert_int_equal(handed_find(&offers.handed, "/out") != NULL, verdict == CHANNEL_TAKEN);
	end();
	return verdict;
}

static void test_files_alone(void **state)
{
	char file[300];
	int ends[2];

	(void)state;
	snprintf(file, sizeof(file), "%s", scratch_path("file"));
	scratch_write("file", "content");
	assert_int_equal(judge(file, O_RDONLY), CHANNEL_TAKEN);
	assert_int_equal(judge(file, O_PATH), CHANNEL_REFUSED);
	assert_int_equal(judge(file, O_RDWR), CHANNEL_REFUSED);
	assert_int_equal(judge(file, O_WRONLY), CHANNEL_REFUSED);
	assert_int_equal(judge("/dev/null", O_RDONLY), CHANNEL_REFUSED);
	assert_int_equal(judge("/dev/zero", O_RDONLY), CHANNEL_REFUSED);
	assert_int_equal(judge("/proc/self/environ", O_RDONLY), CHANNEL_REFUSED);
	assert_int_equal(judge("/proc/self", O_RDONLY), CHANNEL_REFUSED);
	assert_int_equal(judge("/proc/self/ns/mnt", O_RDONLY), CHANNEL_REFUSED);
	assert_int_equal(judge("/sys", O_RDONLY), CHANNEL_REFUSED);
	assert_int_equal(mkfifo(scratch_path("fifo"), 0600), 0);
	assert_int_equal(judge(scratch_path("fifo"), O_RDONLY), CHANNEL_REFUSED);
	begin();
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_int_equal(offer("/out", ends[0]), CHANNEL_REFUSED);
	close(ends[1]);
	assert_int_equal(offer("/out", epoll_create1(EPOLL_CLOEXEC)), CHANNEL_REFUSED);
	assert_int_equal(offer("/out", socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)),
			 CHANNEL_REFUSED);
	end();
}

static void test_outputs_alone(void **state)
{
	char file[300];

	(void)state;
	snprintf(file, sizeof(file), "%s", scratch_path("file"));
	begin();
	assert_int_equal(offer("/other", open_for(file, O_RDONLY)), CHANNEL_REFUSED);
	assert_int_equal(offer("/vol/x", open_for(file, O_RDONLY)), CHANNEL_REFUSED);
	assert_int_equal(offer("/out/../out", open_for(file, O_RDONLY)), CHANNEL_REFUSED);
	assert_int_equal(offer_as("side", "/out", open_for(file, O_RDONLY), 0, 10),
			 CHANNEL_REFUSED);
	assert_int_equal(offer("/out", open_for(file, O_RDONLY)), CHANNEL_TAKEN);
	/* The first one counts. */
	assert_int_equal(offer("/out", open_for("/etc/passwd", O_RDONLY)), CHANNEL_REFUSED);
	assert_int_equal(offer_as("main", "/out", -1, ENOENT, 10), CHANNEL_REFUSED);
	end();
}

static const char *open_source(struct source *source)
{
	static struct error err;
	struct stage with = *stage;

	err = ERROR_NONE;
	with.handed = &offers.handed;
	source_open(&with, &stage->template->outputs[0], source, &err);
	return err.message;
}

static void test_the_source_of_an_artifact(void **state)
{
	struct source source;
	char text[16];
	int fd;

	(void)state;
	begin();
	fd = open_for(scratch_path("file"), O_RDONLY);
	assert_int_equal(read(fd, text, 3), 3);
	assert_int_equal(offer("/out", fd), CHANNEL_TAKEN);
	for (int i = 0; i < 2; i++) { /* as often as it is asked for */
		assert_string_equal(open_source(&source), "");
		assert_int_equal(source.size, 7);
		assert_false(source.is_directory || source.is_collected);
		assert_int_equal(pread(source.fd, text, sizeof(text), 0), 7);
		source_close(&source);
	}
	end();
	begin();
	assert_int_equal(offer_as("main", "/out", -1, ENOENT, 10), CHANNEL_TAKEN);
	assert_string_equal(open_source(&source), "/out no such file or directory");
	end();
	begin();
	assert_int_equal(offer_as("main", "/out", -1, EACCES, 10), CHANNEL_TAKEN);
	assert_string_equal(open_source(&source), "open /out: permission denied");
	end();
}

/* --- trees ------------------------------------------------------------------------------ */

static void make_tree(void)
{
	assert_int_equal(mkdir(scratch_path("tree"), 0755), 0);
	assert_int_equal(mkdir(scratch_path("tree/below"), 0755), 0);
	scratch_write("tree/below/file", "deep");
	scratch_write("tree/file", "top");
	assert_int_equal(symlink("file", scratch_path("tree/link")), 0);
	assert_int_equal(mkfifo(scratch_path("tree/pipe"), 0666), 0);
}

static void test_a_tree_is_counted(void **state)
{
	_cleanup_json_ struct json_object *description = NULL;
	struct error err = ERROR_NONE;
	struct handed other = { .items = NULL };
	const struct handed_item *item;
	struct source source;
	int fd = -1;

	(void)state;
	make_tree();
	begin();
	assert_int_equal(offer("/out", open_below("tree")), CHANNEL_TAKEN);
	assert_string_equal(open_source(&source), "");
	assert_true(source.is_directory);
	assert_int_equal(source.handed->counts.files, 2);
	assert_int_equal(source.handed->counts.directories, 2);
	assert_int_equal(source.handed->counts.links, 1);
	assert_int_equal(source_check_entries(&source, 5, &err), 0);
	assert_int_equal(source_check_entries(&source, 4, &err), -EIO);
	assert_non_null(strstr(err.message, "of 5 entries that were handed over 4 could be read"));
	assert_int_equal(source_check_files(&source, 2, &err), 0);
	assert_int_equal(source_check_files(&source, 1, &err), -EIO);
	source_close(&source);
	/* To another process and back. */
	description = handed_describe(handed_find(&offers.handed, "/out"));
	assert_int_equal(handed_adopt(&other, description, &fd), -EINVAL);
	fd = open_below("tree");
	assert_int_equal(handed_adopt(&other, description, &fd), 0);
	assert_int_equal(fd, -1);
	item = handed_find(&other, "/out");
	assert_int_equal(item->counts.files, 2);
	assert_int_equal(item->identity.uid, getuid());
	assert_int_equal(item->identity.group_count,
			 handed_find(&offers.handed, "/out")->identity.group_count);
	handed_done(&other);
	end();
}

static void fill(const char *directory, unsigned count)
{
	char path[300];

	assert_int_equal(mkdir(scratch_path(directory), 0755), 0);
	for (unsigned i = 0; i < count; i++) {
		snprintf(path, sizeof(path), "%s/%u", scratch_path(directory), i);
		assert_int_equal(mknod(path, S_IFREG | 0644, 0), 0);
	}
}

static void test_a_large_tree_takes_turns(void **state)
{
	(void)state;
	fill("many", 3 * SCAN_SLICE);
	begin();
	assert_int_equal(offer_as("main", "/out", open_below("many"), 0, 2), CHANNEL_BUSY);
	/* Its wrapper left before it was done: nobody is told, and it is not kept. */
	for (unsigned i = 0; i < 20; i++)
		event_loop_poll(stage->store.loop);
	assert_null(offers.looks);
	assert_null(handed_find(&offers.handed, "/out"));
	assert_int_equal(offer("/out", open_below("many")), CHANNEL_TAKEN);
	assert_int_equal(handed_find(&offers.handed, "/out")->counts.files, 3 * SCAN_SLICE);
	end();
	/* Released in the middle. */
	begin();
	assert_int_equal(offer_as("main", "/out", open_below("many"), 0, 2), CHANNEL_BUSY);
	end();
}

static void test_deep_trees(void **state)
{
	char path[1000];
	size_t used = (size_t)snprintf(path, sizeof(path), "%s", scratch_path("deep"));

	(void)state;
	assert_int_equal(mkdir(path, 0755), 0);
	for (int i = 1; i < SCAN_DEPTH_MAX; i++) {
		used += (size_t)snprintf(path + used, sizeof(path) - used, "/d");
		assert_int_equal(mkdir(path, 0755), 0);
	}
	begin();
	assert_int_equal(offer("/out", open_below("deep")), CHANNEL_TAKEN);
	end();
	snprintf(path + used, sizeof(path) - used, "/d");
	assert_int_equal(mkdir(path, 0755), 0);
	begin();
	assert_int_equal(offer("/out", open_below("deep")), CHANNEL_REFUSED);
	assert_non_null(strstr(stage_fixture_logged(), "it is too deep"));
	end();
}

static void test_looks_are_bounded(void **state)
{
	unsigned count = 0;

	(void)state;
	begin();
	for (int i = 0; i < 100; i++) {
		offer("/out", open_below("deep"));
		count = (unsigned)offers.looks_made;
	}
	assert_true(count >= 100);
	assert_null(strstr(stage_fixture_logged(), "x100"));
	assert_null(offers.looks);
	end();
}

static bool is_root(void)
{
	return geteuid() == 0;
}

static int open_denied(int parent_fd, const char *name)
{
	(void)parent_fd;
	(void)name;
	return -EACCES;
}

/* What the sender may not read we do not read for it, root or not: it is left to the wrapper. */
static void test_what_the_sender_may_not_read(void **state)
{
	(void)state;
	if (!is_root())
		skip();
	assert_int_equal(mkdir(scratch_path("mixed"), 0755), 0);
	scratch_write("mixed/private", "secret");
	assert_int_equal(chmod(scratch_path("mixed/private"), 0600), 0);
	assert_int_equal(judge(scratch_path("mixed"), O_RDONLY | O_DIRECTORY), CHANNEL_TAKEN);
	assert_int_equal(chown(scratch_path("mixed/private"), STRANGER, STRANGER), 0);
	open_part = open_denied;
	assert_int_equal(judge(scratch_path("mixed"), O_RDONLY | O_DIRECTORY), CHANNEL_REFUSED);
	open_part = NULL;
	assert_int_equal(chmod(scratch_path("mixed/private"), 0604), 0);
	assert_int_equal(judge(scratch_path("mixed"), O_RDONLY | O_DIRECTORY), CHANNEL_TAKEN);
}

static void test_a_mount_in_it(void **state)
{
	(void)state;
	if (!is_root() || unshare(CLONE_NEWNS) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		skip();
	assert_int_equal(mkdir(scratch_path("mounts"), 0755), 0);
	assert_int_equal(mkdir(scratch_path("mounts/point"), 0755), 0);
	assert_int_equal(mount("tmpfs", scratch_path("mounts/point"), "tmpfs", 0, NULL), 0);
	begin();
	assert_int_equal(offer("/out", open_below("mounts")), CHANNEL_REFUSED);
	assert_non_null(strstr(stage_fixture_logged(), "a mount lies in it"));
	assert_int_equal(umount(scratch_path("mounts/point")), 0);
	scratch_write("mounts/hosts", "");
	assert_int_equal(mount("/etc/hostname", scratch_path("mounts/hosts"), NULL, MS_BIND, NULL),
			 0);
	assert_int_equal(offer("/out", open_below("mounts")), CHANNEL_REFUSED);
	assert_int_equal(umount(scratch_path("mounts/hosts")), 0);
	assert_int_equal(offer("/out", open_below("mounts")), CHANNEL_TAKEN);
	end();
}

/* --- as somebody else ------------------------------------------------------------------- */

struct sink {
	struct writer writer;
	size_t size;
};

static int swallow(struct writer *writer, const void *data, size_t size, struct error *err)
{
	(void)data;
	(void)err;
	((struct sink *)writer)->size += size;
	return 0;
}

static int pack_as(uid_t uid, struct pack_result *ret, struct error *err)
{
	_cleanup_close_ int fd = open_below("theirs");
	struct sink sink = { .writer = { .write = swallow } };
	struct identity identity;
	struct pack_options options = { .format = PACK_TAR, .name = "theirs", .as = &identity };

	identity_init(&identity, uid, uid, &uid, 1);
	return pack_descriptor(fd, &options, &sink.writer, ret, err);
}

static void test_packing_as_the_sender(void **state)
{
	struct error err = ERROR_NONE;
	struct pack_result packed;

	(void)state;
	if (!is_root())
		skip();
	assert_int_equal(mkdir(scratch_path("theirs"), 0755), 0);
	scratch_write("theirs/open", "x");
	scratch_write("theirs/private", "x");
	assert_int_equal(mkfifo(scratch_path("theirs/pipe"), 0666), 0);
	assert_int_equal(chmod(scratch_path("theirs/open"), 0644), 0);
	assert_int_equal(chmod(scratch_path("theirs/private"), 0600), 0);
	assert_int_equal(chown(scratch_path("theirs/private"), STRANGER, STRANGER), 0);
	assert_int_equal(pack_as(STRANGER, &packed, &err), 0);
	assert_int_equal(packed.entries, 3); /* not the pipe */
	assert_int_equal(packed.warnings, 1);
	assert_int_equal(pack_as(0, &packed, &err), -EACCES);
	assert_string_equal(err.message, "open theirs/private: permission denied");
	assert_int_equal(pack_as(STRANGER + 1, &packed, &err), -EACCES);
	/* And we are ourselves again. */
	assert_int_equal(access(scratch_path("theirs/private"), R_OK), 0);
	assert_int_equal(chown(scratch_path("theirs/private"), 0, 0), 0);
	assert_int_equal(pack_as(STRANGER, &packed, &err), -EACCES);
	assert_int_equal(pack_as(0, &packed, &err), 0);
}

/* --- parts that the sender opens -------------------------------------------------------- */

/* As root with all capabilities would: more than we may as root without those that read. */
static int open_honestly(int parent_fd, const char *name)
{
	struct stat st;
	int fd;

	if (fstatat(parent_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	fd = openat(parent_fd, name,
		    (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode) ? O_RDONLY : O_PATH) | O_NOFOLLOW |
			    O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static void make_private(const char *name, mode_t mode)
{
	assert_int_equal(chmod(scratch_path(name), mode), 0);
	assert_int_equal(chown(scratch_path(name), STRANGER, STRANGER), 0);
}

static void make_part_tree(void)
{
	if (access(scratch_path("parts"), F_OK) == 0)
		return;
	assert_int_equal(mkdir(scratch_path("parts"), 0755), 0);
	assert_int_equal(mkdir(scratch_path("parts/shut"), 0755), 0);
	assert_int_equal(mkdir(scratch_path("parts/shut/inner"), 0755), 0);
	scratch_write("parts/open", "all may read this");
	scratch_write("parts/private", "not all may read this");
	scratch_write("parts/shut/inner/deep", "deep");
	scratch_write("parts/shut/file", "in a directory that is shut");
	assert_int_equal(symlink("file", scratch_path("parts/shut/link")), 0);
	assert_int_equal(mkfifo(scratch_path("parts/shut/pipe"), 0666), 0);
	for (int i = 0; i < 300; i++) {
		char name[64];

		snprintf(name, sizeof(name), "parts/shut/inner/%d", i);
		scratch_write(name, "one of many");
	}
	make_private("parts/private", 0600);
	make_private("parts/shut/inner", 0700);
	make_private("parts/shut", 0700);
}

static void check_parts(const struct handed_item *item)
{
	const struct pack_options options = { .format = PACK_TAR,
					      .name = "parts",
					      .as = &item->identity };
	struct sink sink = { .writer = { .write = swallow } };
	struct error err = ERROR_NONE;
	struct pack_result packed;

	if (pack_descriptor(item->fd, &options, &sink.writer, &packed, &err) < 0)
		fail_msg("%s", err.message);
	assert_int_equal(packed.entries, 308);
	assert_int_equal(packed.warnings, 1); /* the pipe */
}

static void test_an_opener(void **state)
{
	const struct handed_item *item;
	size_t left;

	(void)state;
	if (!is_root())
		skip();
	make_part_tree();
	begin();
	left = offers.parts_left;
	open_part = open_honestly;
	asks = 0;
	assert_int_equal(offer("/out", open_below("parts")), CHANNEL_TAKEN);
	item = handed_find(&offers.handed, "/out");
	assert_non_null(item);
	assert_int_equal(item->counts.files, 304);
	assert_int_equal(item->counts.directories, 3);
	assert_int_equal(item->counts.links, 1);
	/* private and shut; four in shut; 301 in inner; the three directories. */
	assert_int_equal(asks, 1 + 1 + 3);
	assert_int_equal(opened_count(item->opened), 2 + 4 + 301 + 3);
	assert_int_equal(offers.parts_left, left - opened_count(item->opened));
	for (int round = 0; round < 2; round++)
		check_parts(item);
	/* As another process has it. */
	for (int round = 0; round < 2; round++) {
		_cleanup_json_ struct json_object *description = handed_describe(item);
		struct handed other = { .items = NULL };
		int fd = handed_pass(item);

		assert_true(fd >= 0);
		assert_int_equal(handed_adopt(&other, description, &fd), 0);
		assert_int_equal(opened_count(other.items->opened), opened_count(item->opened));
		check_parts(other.items);
		handed_done(&other);
	}
	end();
	open_part = NULL;
}

static int answer_path(int parent_fd, const char *name)
{
	return openat(parent_fd, name, O_PATH | O_CLOEXEC);
}

static int answer_writable(int parent_fd, const char *name)
{
	(void)parent_fd;
	return open(scratch_path("parts/open"), *name ? O_RDWR | O_CLOEXEC : 0);
}

static int answer_device(int parent_fd, const char *name)
{
	(void)parent_fd;
	(void)name;
	return open("/dev/zero", O_RDONLY | O_CLOEXEC);
}

static int answer_procfs(int parent_fd, const char *name)
{
	(void)parent_fd;
	(void)name;
	return open("/proc/self/environ", O_RDONLY | O_CLOEXEC);
}

static int answer_magic_link(int parent_fd, const char *name)
{
	(void)parent_fd;
	(void)name;
	return open("/proc/self/root", O_PATH | O_NOFOLLOW | O_CLOEXEC);
}

static int answer_socket(int parent_fd, const char *name)
{
	(void)parent_fd;
	(void)name;
	return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static int answer_pipe(int parent_fd, const char *name)
{
	(void)name;
	return openat(parent_fd, "shut/pipe", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
}

static int answer_other_mount(int parent_fd, const char *name)
{
	(void)parent_fd;
	(void)name;
	return open(scratch_path("apart"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* Nothing but what is asked for, opened as it should be, goes into the tree. */
static void test_hostile_openers(void **state)
{
	static int (*const answers[])(int, const char *) = {
		answer_path,       answer_writable, answer_device, answer_procfs,
		answer_magic_link, answer_socket,   answer_pipe,   answer_other_mount,
	};

	(void)state;
	if (!is_root() || unshare(CLONE_NEWNS) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		skip();
	make_part_tree();
	assert_int_equal(mkdir(scratch_path("apart"), 0755), 0);
	assert_int_equal(mount("tmpfs", scratch_path("apart"), "tmpfs", 0, NULL), 0);
	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		open_part = answers[i];
		assert_int_equal(judge(scratch_path("parts"), O_RDONLY | O_DIRECTORY),
				 CHANNEL_REFUSED);
	}
	assert_int_equal(umount(scratch_path("apart")), 0);
	open_part = NULL;
	begin();
	/* It does not know what an ask is, and leaves. */
	assert_int_equal(offer("/out", open_below("parts")), CHANNEL_BUSY);
	assert_true(is_lost);
	assert_null(offers.looks);
	assert_null(handed_find(&offers.handed, "/out"));
	/* More of them than may be held. */
	offers.parts_left = 100;
	open_part = open_honestly;
	assert_int_equal(offer("/out", open_below("parts")), CHANNEL_REFUSED);
	assert_non_null(strstr(stage_fixture_logged(), "its wrapper's alone to open"));
	end();
	open_part = NULL;
}

/* Without the means to become somebody else: what everybody may read. */
static int walk_as_nobody(void)
{
	_cleanup_close_ int fd = -1, file = -1;
	struct identity identity;

	if (setgroups(0, NULL) < 0 || setresgid(STRANGER, STRANGER, STRANGER) < 0 ||
	    setresuid(STRANGER, STRANGER, STRANGER) < 0)
		return 1;
	fd = open("/proc/self/cwd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	identity_init(&identity, 1, 1, NULL, 0);
	if (fd < 0 || !identity.is_anybody)
		return 2;
	file = entry_open(fd, "own", 0, &identity);
	if (file != -EACCES)
		return 3;
	file = entry_open(fd, "everybodys", 0, &identity);
	return file < 0 ? 4 : 0;
}

static void test_where_nobody_can_be_become(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	if (!is_root())
		skip();
	assert_int_equal(mkdir(scratch_path("nobody"), 0755), 0);
	scratch_write("nobody/own", "x");
	scratch_write("nobody/everybodys", "x");
	assert_int_equal(chmod(scratch_path("nobody/own"), 0600), 0);
	assert_int_equal(chmod(scratch_path("nobody/everybodys"), 0644), 0);
	assert_int_equal(chown(scratch_path("nobody/own"), STRANGER, STRANGER), 0);
	pid = fork();
	if (pid == 0)
		_exit(chdir(scratch_path("nobody")) < 0 ? 9 : walk_as_nobody());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_files_alone),
		cmocka_unit_test(test_outputs_alone),
		cmocka_unit_test(test_the_source_of_an_artifact),
		cmocka_unit_test(test_a_tree_is_counted),
		cmocka_unit_test(test_a_large_tree_takes_turns),
		cmocka_unit_test(test_deep_trees),
		cmocka_unit_test(test_looks_are_bounded),
		cmocka_unit_test(test_what_the_sender_may_not_read),
		cmocka_unit_test(test_a_mount_in_it),
		cmocka_unit_test(test_packing_as_the_sender),
		cmocka_unit_test(test_an_opener),
		cmocka_unit_test(test_hostile_openers),
		cmocka_unit_test(test_where_nobody_can_be_become),
	};

	return cmocka_run_group_tests(tests, stage_fixture_set_up, scratch_tear_down);
}
