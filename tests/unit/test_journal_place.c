#include "executor/report/journal_place.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define VOLUMES "/var/lib/kubelet/pods/u/volumes/kubernetes.io~empty-dir"
#define TAIL " rw,relatime - ext4 /dev/sda1 rw\n"
#define ROOT_LINE "100 99 0:50 / / rw,relatime - overlay overlay rw,lowerdir=/a:/b\n"
#define OWN_LINE "101 100 8:1 " VOLUMES "/tmp-dir-argo/0 /tmp" TAIL
#define ARGO_LINE "102 100 8:1 " VOLUMES "/var-run-argo /var/run/argo" TAIL

struct place {
	const char *mountinfo;
	bool is_private;
};

static const struct place places[] = {
	{ ROOT_LINE ARGO_LINE OWN_LINE, true },
	{ ROOT_LINE OWN_LINE ARGO_LINE, true },
	/* What plugins share with us lies beside it, though it is mounted in it. */
	{ ROOT_LINE OWN_LINE "103 101 8:1 " VOLUMES
			     "/tmp-dir-argo/argo/outputs /tmp/argo/outputs" TAIL,
	  true },
	/* Not the same directory: the name goes on. */
	{ ROOT_LINE OWN_LINE "103 100 8:1 " VOLUMES "/tmp-dir-argo/01 /mainctrfs/v" TAIL, true },
	/* The same directory of another file system. */
	{ ROOT_LINE OWN_LINE "103 100 8:2 " VOLUMES "/tmp-dir-argo/0 /mainctrfs/v" TAIL, true },
	/* A later mount hides the first one. */
	{ ROOT_LINE "101 100 8:1 / /tmp" TAIL "104 101 0:60 / /tmp rw - tmpfs tmpfs rw\n", true },

	{ "", false },
	{ ROOT_LINE, false },
	{ ROOT_LINE ARGO_LINE, false },
	{ ROOT_LINE "101 100 8:1 " VOLUMES "/t /tmpx" TAIL, false },
	/* The same, a part of it, something that it is a part of. */
	{ ROOT_LINE OWN_LINE "103 100 8:1 " VOLUMES "/tmp-dir-argo/0 /mainctrfs/v" TAIL, false },
	{ ROOT_LINE OWN_LINE "103 100 8:1 " VOLUMES "/tmp-dir-argo/0/d /mainctrfs/v" TAIL, false },
	{ ROOT_LINE OWN_LINE "103 100 8:1 " VOLUMES "/tmp-dir-argo /mainctrfs/v" TAIL, false },
	{ ROOT_LINE OWN_LINE "103 100 8:1 / /mainctrfs/host" TAIL, false },
	/* Nothing is known of what cannot be read. */
	{ ROOT_LINE OWN_LINE "103 100 8:1\n", false },
};

static void test_private(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
		if (journal_place_is_private(places[i].mountinfo, "/tmp") != places[i].is_private)
			fail_msg("place %zu: %s", i, places[i].mountinfo);
}

/* No mount is there: nothing is made. */
static void test_no_mount(void **state)
{
	struct error err = ERROR_NONE;

	(void)state;
	assert_int_equal(journal_place_open("/nonexistent", &err), -ENOTUNIQ);
	assert_string_equal(err.message,
			    "/nonexistent is no volume that this container has for itself");
}

/* A mount of a kernel's file system, where no file can be made. */
static void test_no_file(void **state)
{
	struct error err = ERROR_NONE;

	(void)state;
	assert_true(journal_place_open("/proc", &err) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_private),
		cmocka_unit_test(test_no_mount),
		cmocka_unit_test(test_no_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
