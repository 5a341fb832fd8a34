#include "emissary/links.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/scratch.h"

#define INPUTS "/argo/inputs/artifacts"

/* In a root of its own: what is linked is what was at that path before. */
static int enter_root(void)
{
	return chroot(scratch_path("")) < 0 || chdir("/work") < 0 ? -1 : 0;
}

/* Links one input artifact `a`, wanted at `path`. */
static int link_at(const char *path, struct error *err)
{
	char text[512];
	struct template *template = NULL;
	int r;

	snprintf(text, sizeof(text),
		 "{\"container\":{\"volumeMounts\":[{\"mountPath\":\"/data/volume\"}]},"
		 "\"inputs\":{\"artifacts\":[{\"name\":\"a\",\"path\":\"%s\"}]}}",
		 path);
	r = template_parse(text, strlen(text), "test", &template, err);
	if (r == 0)
		r = links_make(template, INPUTS, err);
	template_free(template);
	return r;
}

static bool is_link(const char *path)
{
	char target[64] = "";

	return readlink(path, target, sizeof(target) - 1) > 0 && strcmp(target, INPUTS "/a") == 0;
}

static int link_everywhere(void *context)
{
	static const char *const places[] = { "/new/in", "/work/file", "relative", "/old",
					      "/real" };
	struct error err = ERROR_NONE;
	char directory[64];

	(void)context;
	if (enter_root() < 0)
		return __LINE__;
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		int r = link_at(places[i], &err);

		if (r < 0)
			dprintf(2, "%s: %s\n", places[i], err.message);
		if (r < 0 || !is_link(places[i][0] == '/' ? places[i] : "/relative"))
			return __LINE__;
	}
	return getcwd(directory, sizeof(directory)) && strcmp(directory, "/work") == 0 ? 0 :
											 __LINE__;
}

static void test_links(void **state)
{
	(void)state;
	scratch_run_child(link_everywhere, NULL);
}

/* Each of them holds something that must survive. */
static int link_nowhere(void *context)
{
	static const char *const places[] = { "/",     "/run",  "/run/argo", "/var/run",
					      "/argo", "/data", "/proc",     "/data/volume/x" };
	struct error err = ERROR_NONE;

	(void)context;
	if (enter_root() < 0)
		return __LINE__;
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		if (link_at(places[i], &err) != -EPERM ||
		    !strstr(err.message, "cannot be replaced by a link")) {
			dprintf(2, "%s: %s\n", places[i], err.message);
			return __LINE__;
		}
	}
	return access("/run/argo/template", F_OK) == 0 && access("/data/volume/x", F_OK) == 0 ?
		       0 :
		       __LINE__;
}

static void test_what_is_needed_stays(void **state)
{
	(void)state;
	scratch_run_child(link_nowhere, NULL);
}

static int set_up(void **state)
{
	static const char *const directories[] = {
		"argo",        "argo/inputs", "argo/inputs/artifacts",
		"work",        "old",         "var",
		"run",         "real",        "run/argo",
		"relative",    "proc",        "data",
		"data/volume",
	};

	if (scratch_set_up(state) < 0)
		return -1;
	for (size_t i = 0; i < sizeof(directories) / sizeof(directories[0]); i++)
		if (mkdir(scratch_path(directories[i]), 0755) < 0)
			return -1;
	scratch_write("argo/inputs/artifacts/a", "artifact");
	scratch_write("run/argo/template", "{}");
	scratch_write("data/volume/x", "user's");
	scratch_write("work/file", "of the image");
	scratch_write("old/file", "of the image");
	return symlink("/run", scratch_path("var/run"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_needed_stays),
		cmocka_unit_test(test_links),
	};

	return cmocka_run_group_tests(tests, set_up, scratch_tear_down);
}
