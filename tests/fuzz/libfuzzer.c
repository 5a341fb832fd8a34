/* libFuzzer's side (https://llvm.org/docs/LibFuzzer.html): the target is what the program is called,
 * build/fuzz/fuzz_<target>. */
#include "tests/fuzz/fuzz.h"

#include "executor/base/path.h"
#include "executor/base/text.h"

#include <string.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct fuzz_target *target;

__attribute__((visibility("default"))) int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	const char *name = path_basename((*argv)[0]);

	(void)argc;
	if (text_has_prefix(name, "fuzz_"))
		target = fuzz_find(name + strlen("fuzz_"));
	fuzz_require(target);
	return 0;
}

__attribute__((visibility("default"))) int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	target->run((const char *)data, size);
	return 0;
}
