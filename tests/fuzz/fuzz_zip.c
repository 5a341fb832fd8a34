/* Zip archives. Required: sandbox.h. */
#include "executor/base/cleanup.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/sandbox.h"
#include "tests/fuzz/targets.h"

#include <sys/mman.h>
#include <unistd.h>

void fuzz_zip(const char *data, size_t size)
{
	const char *target = sandbox_target();
	struct error err = ERROR_NONE;
	int before = fuzz_next_fd(), r, fd = memfd_create("zip", MFD_CLOEXEC);

	fuzz_require(write(fd, data, size) == (ssize_t)size);
	r = unpack_zip(fd, spot_by_path(target), &sandbox_options, &err);
	close(fd);
	sandbox_check(r, &err);
	fuzz_require(fuzz_next_fd() == before);
}
