#include "tests/unit/stage_fixture.h"

#include "executor/base/cleanup.h"
#include "executor/base/path.h"
#include "tests/unit/scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cmocka.h>

static struct {
	struct stage stage;
	struct template *template;
	struct log log;
	char paths[6][256];
} fixture;

int stage_fixture_set_up(void **state)
{
	static const char *const places[] = { "run", "inputs", "volumes", "staging", "scratch" };

	if (scratch_set_up(state) < 0)
		return -1;
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
		if (mkdir(scratch_path(places[i]), 0755) < 0)
			return -1;
	return 0;
}

static const char *place(size_t index, const char *name)
{
	snprintf(fixture.paths[index], sizeof(fixture.paths[0]), "%s", scratch_path(name));
	return fixture.paths[index];
}

const struct stage *stage_fixture_begin(const char *text)
{
	const char *gap = strstr(text, "%s");
	_cleanup_free_ char *whole = NULL;
	struct error err = ERROR_NONE;

	if (gap)
		assert_true(asprintf(&whole, "%.*s%s%s", (int)(gap - text), text, scratch_path(""),
				     gap + 2) > 0);
	else
		whole = strdup(text);
	if (template_parse(whole, strlen(whole), "template", &fixture.template, &err) < 0)
		fail_msg("%s", err.message);
	fixture.log = (struct log){ .fd = memfd_create("log", MFD_CLOEXEC), .level = LOG_DEBUG };
	fixture.stage = (struct stage){
		.template = fixture.template,
		.log = &fixture.log,
		.store = { .loop = event_loop_new(),
			   .log = &fixture.log,
			   .secret_directory = "/nonexistent" },
		.root = place(0, "run"),
		.inputs = place(1, "inputs"),
		.main_root = place(2, "volumes"),
		.script = place(3, "staging/script"),
		.manifest = place(4, "staging/manifest.yaml"),
		.scratch = place(5, "scratch"),
	};
	return &fixture.stage;
}

void stage_fixture_end(void)
{
	event_loop_free(fixture.stage.store.loop);
	template_free(fixture.template);
	close(fixture.log.fd);
}

const struct template *stage_fixture_template(void)
{
	return fixture.template;
}

const struct log *stage_fixture_log(void)
{
	return &fixture.log;
}

const char *stage_fixture_logged(void)
{
	static char text[65536];
	ssize_t n = pread(fixture.log.fd, text, sizeof(text) - 1, 0);

	assert_true(n >= 0);
	text[n] = '\0';
	return text;
}

void stage_fixture_put(const char *name, const char *content)
{
	assert_int_equal(path_make_parents(scratch_path(name), 0755, NULL), 0);
	scratch_write(name, content);
}
