#include "tests/fuzz/sandbox.h"

#include "executor/base/path.h"
#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DESCRIPTORS 32
#define NAME_OFFSET 0
#define LINK_OFFSET 157
#define NAME_BYTES 100
#define SUM_OFFSET 148
#define MAGIC_OFFSET 257

const struct unpack_options sandbox_options = {
	.max_entries = SANDBOX_ENTRIES_MAX,
	.max_bytes = SANDBOX_BYTES_MAX,
};

/* A change of any kind changes the time of the last change. */
static const char *const watched[] = { "outside", "outside/secret", "outside/dir", "." };
#define WATCHED (sizeof(watched) / sizeof(watched[0]))
static struct stat before[WATCHED];
static char target[PATH_MAX_BYTES], inside[PATH_MAX_BYTES];

static void note(struct stat states[WATCHED])
{
	for (size_t i = 0; i < WATCHED; i++)
		fuzz_require(lstat(fuzz_path(watched[i]), &states[i]) == 0);
}

const char *sandbox_target(void)
{
	char top[PATH_MAX_BYTES];

	if (target[0])
		return target;
	fuzz_require(realpath(fuzz_directory(), top));
	snprintf(inside, sizeof(inside), "%.4000s/in", top);
	snprintf(target, sizeof(target), "%.4010s/art", inside);
	fuzz_require(mkdir(fuzz_path("in"), 0755) == 0);
	fuzz_require(mkdir(fuzz_path("outside"), 0755) == 0);
	fuzz_require(mkdir(fuzz_path("outside/dir"), 0700) == 0);
	fuzz_write_file(fuzz_path("outside/secret"), "secret", 6);
	note(before);
	return target;
}

static unsigned long long total_bytes;

static int visit(const char *path, const struct stat *st, int kind, struct FTW *place)
{
	char real[PATH_MAX_BYTES];

	(void)place;
	fuzz_require(path_is_at_or_below(path, target));
	if (kind == FTW_SL && realpath(path, real))
		fuzz_require(path_is_at_or_below(real, inside));
	fuzz_require(S_ISREG(st->st_mode) || S_ISDIR(st->st_mode) || S_ISLNK(st->st_mode));
	fuzz_require(S_ISLNK(st->st_mode) || (st->st_mode & 07000) == 0);
	if (S_ISREG(st->st_mode))
		total_bytes += (unsigned long long)st->st_size / st->st_nlink;
	return 0;
}

static unsigned count_entries(void)
{
	DIR *dir = opendir(inside);
	unsigned count = 0;

	fuzz_require(dir);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count - 2;
}

void sandbox_check(int r, const struct error *err)
{
	struct stat after[WATCHED], st;

	note(after);
	for (size_t i = 0; i < WATCHED; i++)
		fuzz_require(memcmp(&before[i].st_ctim, &after[i].st_ctim,
				    sizeof(after[i].st_ctim)) == 0);
	fuzz_require(count_entries() == (r == 0));
	if (r < 0) {
		fuzz_check_error(r, err);
		fuzz_require(err->class != ERROR_NOT_FOUND);
		return;
	}
	fuzz_require(lstat(target, &st) == 0);
	total_bytes = 0;
	fuzz_require(nftw(target, visit, DESCRIPTORS, FTW_PHYS) == 0);
	fuzz_require(total_bytes <= SANDBOX_BYTES_MAX);
	fuzz_require(path_remove_tree(target, NULL) == 0);
}

/* --- tar -------------------------------------------------------------------------------- */

static void set_sum(char *block)
{
	unsigned sum = 0;

	memset(block + SUM_OFFSET, ' ', 8);
	for (size_t i = 0; i < SANDBOX_TAR_BLOCK; i++)
		sum += (unsigned char)block[i];
	snprintf(block + SUM_OFFSET, 8, "%06o", sum);
}

static void append(struct buffer *tar, const void *data, size_t size)
{
	fuzz_require(buffer_append(tar, data, size) == 0);
}

static void add_block(struct buffer *tar, char type, const char *name, const char *link,
		      const char *content, size_t size)
{
	char block[SANDBOX_TAR_BLOCK] = { 0 };

	memcpy(block + NAME_OFFSET, name, strnlen(name, NAME_BYTES));
	memcpy(block + LINK_OFFSET, link, strnlen(link, NAME_BYTES));
	memcpy(block + 100, type == '5' ? "0000755" : "0000644", 7);
	snprintf(block + 124, 12, "%011zo", size);
	memcpy(block + 136, "14524770400", 11);
	block[156] = type;
	memcpy(block + MAGIC_OFFSET, "ustar  ", 8);
	set_sum(block);
	append(tar, block, sizeof(block));
	append(tar, content, size);
	memset(block, 0, sizeof(block));
	append(tar, block, (sizeof(block) - size % sizeof(block)) % sizeof(block));
}

static void add_long(struct buffer *tar, char type, const char *name)
{
	if (strlen(name) > NAME_BYTES)
		add_block(tar, type, "././@LongLink", "", name, strlen(name) + 1);
}

void sandbox_add_entry(struct buffer *tar, char type, const char *name, const char *link,
		       const char *content)
{
	link = link ? link : "";
	add_long(tar, 'L', name);
	add_long(tar, 'K', link);
	add_block(tar, type, name, link, content, strlen(content));
}

void sandbox_fix_checksums(char *tar, size_t size)
{
	for (size_t i = 0; i + SANDBOX_TAR_BLOCK <= size; i += SANDBOX_TAR_BLOCK)
		if (memcmp(tar + i + MAGIC_OFFSET, "ustar", 5) == 0)
			set_sum(tar + i);
}
