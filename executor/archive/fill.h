/* Content of an archive's member into the new, empty file that was made for it (tree_file_open). */
#pragma once

#include "executor/archive/hooks.h"
#include "executor/archive/member.h"
#include "executor/archive/tar_reader.h"

/* A file that is being filled: a hole at its end is still to be made. */
struct filling {
	int fd;
	uint64_t end; /* of what is written, or FILLING_UNKNOWN */
	bool has_mode; /* the one that it is to have */
};
#define FILLING_UNKNOWN UINT64_MAX

/* 0; -EBADMSG for a part that is not within the announced size. */
int fill_check_part(const struct tar_part *part, const struct member *member, struct error *err);

/* Zeros are left to be a hole. */
int fill_part(struct filling *file, const struct tar_part *part, const struct member *member,
	      struct error *err);
bool fill_is_zeros(const void *data, size_t size);

/* All that the reader still has of it. */
int fill_from_tar(struct tar_reader *tar, struct filling *file, const struct member *member,
		  const struct hooks *hooks, struct error *err);
