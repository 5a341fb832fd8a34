#include "executor/stage/offers.h"

#include "executor/base/cleanup.h"
#include "executor/base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stddef.h>
#include <string.h>
#include <sys/vfs.h>

/* A directory that is being looked through. */
struct offers_look {
	struct offers_look *next;
	uint64_t peer;
	int64_t told_ms; /* when its wrapper last heard of us */
	bool must_ask; /* scan.ask is to be sent */
	bool is_asking; /* and has been */
	struct handed_item item;
	struct scan scan;
};

static void look_free(struct offers_look *look)
{
	scan_done(&look->scan);
	if (look->item.fd >= 0)
		close(look->item.fd);
	opened_free(look->item.opened);
	free(look->item.path);
	free(look);
}

/* --- what is no file -------------------------------------------------------------------- */

/* File systems whose files are doors into the kernel: reading one means what its reader may. */
static bool is_special_file_system(int fd)
{
	static const unsigned special[] = {
		PROC_SUPER_MAGIC,
		SYSFS_MAGIC,
		CGROUP_SUPER_MAGIC,
		CGROUP2_SUPER_MAGIC,
		DEBUGFS_MAGIC,
		TRACEFS_MAGIC,
		SECURITYFS_MAGIC,
		SELINUX_MAGIC,
		SMACK_MAGIC,
		DEVPTS_SUPER_MAGIC,
		BPF_FS_MAGIC,
		EFIVARFS_MAGIC,
		PSTOREFS_MAGIC,
		BINFMTFS_MAGIC,
		NSFS_MAGIC,
		PIPEFS_MAGIC,
		SOCKFS_MAGIC,
		ANON_INODE_FS_MAGIC,
		BINDERFS_SUPER_MAGIC,
		AUTOFS_SUPER_MAGIC,
		RDTGROUP_SUPER_MAGIC,
		0x62656570 /* configfs */,
		0x19800202 /* mqueue */,
	};
	struct statfs st;

	if (fstatfs(fd, &st) < 0)
		return true;
	for (size_t i = 0; i < sizeof(special) / sizeof(special[0]); i++)
		if ((unsigned)st.f_type == special[i])
			return true;
	return false;
}

/* NULL, or why the descriptor is not accepted. */
static const char *find_fault(int fd, struct stat *ret)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fstat(fd, ret) < 0)
		return "it cannot be looked at";
	/* O_PATH has not passed any check of permissions: we would read what its sender could not. */
	if ((flags & O_PATH) || (flags & O_ACCMODE) != O_RDONLY)
		return "it is not open for reading alone";
	if (!S_ISREG(ret->st_mode) && !S_ISDIR(ret->st_mode))
		return "it is neither a file nor a directory";
	return is_special_file_system(fd) ? "its file system holds no user's files" : NULL;
}

/* A part of a tree: the same, or what only tells its type. Not of another mount, which is gone when the
 * container is. */
static int judge_part(const struct offers_look *look, int fd)
{
	struct statx part, whole;
	struct stat st;
	int flags = fcntl(fd, F_GETFL);
	bool is_path = flags >= 0 && (flags & O_PATH);

	if (is_path && (fstat(fd, &st) < 0 || S_ISREG(st.st_mode) || S_ISDIR(st.st_mode) ||
			is_special_file_system(fd)))
		return -EBADF;
	if (!is_path && find_fault(fd, &st))
		return -EBADF;
	if (statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &part) < 0 ||
	    statx(look->item.fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &whole) < 0 ||
	    !(part.stx_mask & whole.stx_mask & STATX_MNT_ID))
		return 0;
	return part.stx_mnt_id == whole.stx_mnt_id ? 0 : -EXDEV;
}

static bool is_expected(const struct offers *offers, const struct channel_offer *offer)
{
	const struct template *template = offers->template;

	/* Only main collects outputs; a path in a volume is read there. */
	if (strcmp(offer->container, "main") != 0 || template_find_mount(template, offer->path))
		return false;
	for (size_t i = 0; i < template->output_count; i++)
		if (strcmp(template->outputs[i].path, offer->path) == 0)
			return true;
	return false;
}

static bool is_known(const struct offers *offers, const char *path)
{
	for (const struct offers_look *look = offers->looks; look; look = look->next)
		if (strcmp(look->item.path, path) == 0)
			return true;
	return handed_find(&offers->handed, path) != NULL;
}

/* --- the verdict ------------------------------------------------------------------------ */

static enum channel_verdict refuse(const struct offers *offers, const char *path, const char *why)
{
	log_info(offers->log, "Left an output to its wrapper", log_string("path", path),
		 log_string("reason", why));
	return CHANNEL_REFUSED;
}

static const char *reason_of(int r, char *buffer, int size)
{
	switch (r) {
	case -EXDEV:
		return "a mount lies in it";
	case -E2BIG:
		return "it has too many entries";
	case -ELOOP:
		return "it is too deep";
	case -EMFILE:
		return "too much of it is its wrapper's alone to open";
	case -EBADF:
		return "a part of it is neither a file nor a directory of this kind";
	default:
		return error_text(r, buffer, size);
	}
}

static enum channel_verdict accept_item(struct offers *offers, struct handed_item *item)
{
	struct handed_item *kept = handed_add(&offers->handed, item->path);

	if (!kept)
		return CHANNEL_REFUSED;
	kept->fd = TAKE_FD(item->fd);
	kept->code = item->code;
	kept->identity = item->identity;
	kept->counts = item->counts;
	kept->opened = TAKE_PTR(item->opened);
	kept->identity.opened = kept->opened;
	if (kept->fd >= 0 && offers->on_handed)
		offers->on_handed(offers, kept->path);
	log_debug(offers->log, "An output has been handed over", log_string("path", item->path));
	return CHANNEL_TAKEN;
}

static enum channel_verdict accept_tree(struct offers *offers, struct offers_look *look)
{
	size_t parts = opened_count(look->scan.opened);

	look->item.counts = look->scan.counts;
	if (parts > 0) {
		log_info(offers->log, "Parts of an output were opened by its wrapper",
			 log_string("path", look->item.path), log_int("parts", (int64_t)parts));
		look->item.opened = TAKE_PTR(look->scan.opened);
		offers->parts_left -= parts < offers->parts_left ? parts : offers->parts_left;
	}
	return accept_item(offers, &look->item);
}

/* One slice: BUSY if there is more to look at, or to ask for. */
static enum channel_verdict go_on(struct offers *offers, struct offers_look *look)
{
	char text[128];
	int r;

	look->scan.opened_max = offers->parts_left;
	r = scan_step(&look->scan);
	look->must_ask = r == SCAN_ASKS;
	if (r > SCAN_END)
		return CHANNEL_BUSY;
	if (r < 0)
		return refuse(offers, look->item.path, reason_of(r, text, sizeof(text)));
	return accept_tree(offers, look);
}

/* To the end of the queue. */
static void queue(struct offers *offers, struct offers_look *look)
{
	struct offers_look **last = &offers->looks;

	while (*last)
		last = &(*last)->next;
	look->next = NULL;
	*last = look;
}

static enum channel_verdict look_at_tree(struct offers *offers, struct channel_offer *offer,
					 const struct identity *identity)
{
	struct offers_look *look = calloc(1, sizeof(*look));
	enum channel_verdict verdict = CHANNEL_REFUSED;
	char text[128];
	int r;

	if (!look)
		return verdict;
	look->peer = offer->peer;
	look->told_ms = clock_now_ms();
	look->item.fd = TAKE_FD(offer->fd);
	look->item.identity = *identity;
	look->item.path = strdup(offer->path);
	r = look->item.path ? scan_init(&look->scan, look->item.fd, &look->item.identity) : -ENOMEM;
	if (r < 0)
		refuse(offers, offer->path, reason_of(r, text, sizeof(text)));
	else
		verdict = go_on(offers, look);
	if (verdict != CHANNEL_BUSY) {
		look_free(look);
		return verdict;
	}
	queue(offers, look);
	event_timer_set(&offers->timer, 0);
	return verdict;
}

enum channel_verdict offers_consider(struct offers *offers, struct channel_offer *offer)
{
	struct handed_item item = { .path = (char *)offer->path, .fd = -1, .code = offer->code };
	const char *fault;
	struct stat st;

	/* Said by liars alone, and as often as they like: not worth a line each. */
	if (!is_expected(offers, offer) || is_known(offers, offer->path))
		return CHANNEL_REFUSED;
	if (offer->code != 0)
		return accept_item(offers, &item);
	fault = find_fault(offer->fd, &st);
	if (fault)
		return refuse(offers, offer->path, fault);
	identity_init(&item.identity, offer->uid, offer->gid, offer->groups, offer->group_count);
	if (S_ISDIR(st.st_mode) && offers->looks_made++ > 2 * offers->template->output_count)
		return CHANNEL_REFUSED;
	if (S_ISDIR(st.st_mode))
		return look_at_tree(offers, offer, &item.identity);
	item.fd = TAKE_FD(offer->fd);
	if (accept_item(offers, &item) == CHANNEL_TAKEN)
		return CHANNEL_TAKEN;
	offer->fd = item.fd;
	return CHANNEL_REFUSED;
}

static void take_out(struct offers *offers, struct offers_look *look)
{
	struct offers_look **link = &offers->looks;

	while (*link != look)
		link = &(*link)->next;
	*link = look->next;
}

/* The first one that does not wait for an answer. */
static struct offers_look *find_ready(const struct offers *offers)
{
	struct offers_look *look = offers->looks;

	while (look && look->is_asking)
		look = look->next;
	return look;
}

static struct offers_look *find_of(const struct offers *offers, uint64_t peer)
{
	struct offers_look *look = offers->looks;

	while (look && look->peer != peer)
		look = look->next;
	return look;
}

static void drop(struct offers *offers, struct offers_look *look)
{
	take_out(offers, look);
	look_free(look);
}

/* The next slice, after which it goes to the end of the queue. */
static void look_on(struct offers *offers, struct offers_look *look)
{
	enum channel_verdict verdict = go_on(offers, look);
	bool is_due = clock_now_ms() - look->told_ms >= OFFERS_SIGN_MS;
	int r = 0;

	if (verdict != CHANNEL_BUSY || is_due) {
		r = channel_server_answer(offers->channel, look->peer, verdict);
		look->told_ms = clock_now_ms();
	}
	/* Mounts may have gone with its wrapper before we came by. */
	if (r < 0)
		handed_remove(&offers->handed, look->item.path);
	take_out(offers, look);
	if (verdict == CHANNEL_BUSY && r == 0)
		queue(offers, look);
	else
		look_free(look);
}

/* Left to its wrapper, after all. */
static void give_up(struct offers *offers, struct offers_look *look, int r)
{
	char text[128];

	refuse(offers, look->item.path, reason_of(r, text, sizeof(text)));
	channel_server_answer(offers->channel, look->peer, CHANNEL_REFUSED);
	drop(offers, look);
}

static void ask(struct offers *offers, struct offers_look *look)
{
	look->must_ask = false;
	look->is_asking = true;
	if (channel_server_ask(offers->channel, look->peer, &look->scan.ask,
			       (size_t)look->scan.ask_size) < 0)
		give_up(offers, look, -EACCES);
}

static void on_timer(struct event_timer *timer)
{
	struct offers *offers = (struct offers *)((char *)timer - offsetof(struct offers, timer));
	struct offers_look *look = find_ready(offers);

	if (look && look->must_ask)
		ask(offers, look);
	else if (look)
		look_on(offers, look);
	if (find_ready(offers))
		event_timer_set(&offers->timer, 0);
}

void offers_take_parts(struct offers *offers, uint64_t peer, const int *codes, int *fds,
		       unsigned count)
{
	struct offers_look *look = find_of(offers, peer);
	int r = 0;

	if (!look || !look->is_asking || look->scan.ask.number != count)
		return;
	look->is_asking = false;
	for (unsigned i = 0; r == 0 && i < count; i++)
		if (fds[i] >= 0)
			r = judge_part(look, fds[i]);
	if (r == 0)
		r = scan_answer(&look->scan, codes, fds);
	if (r < 0)
		give_up(offers, look, r);
	if (find_ready(offers))
		event_timer_set(&offers->timer, 0);
}

void offers_forget(struct offers *offers, uint64_t peer)
{
	struct offers_look *look = find_of(offers, peer);

	if (look)
		drop(offers, look);
}

int offers_init(struct offers *offers, struct event_loop *loop, const struct template *template,
		const struct log *log)
{
	*offers = (struct offers){ .template = template,
				   .log = log,
				   .parts_left = opened_make_room() };
	return event_timer_init(&offers->timer, loop, on_timer);
}

void offers_done(struct offers *offers)
{
	while (offers->looks) {
		struct offers_look *look = offers->looks;

		offers->looks = look->next;
		look_free(look);
	}
	event_timer_done(&offers->timer);
	handed_done(&offers->handed);
}
