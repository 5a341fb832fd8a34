#include "executor/stage/engine_confine.h"

#include "executor/base/cleanup.h"
#include "executor/base/path.h"
#include "executor/stage/engine_message.h"
#include "executor/stage/engine_ports.h"
#include "executor/stage/volume.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is read besides the pod's own files: who names hosts, whom to trust, how much there is of the
 * machine. Not the service account, no secrets: the role reads those (engine_asks.h). */
static const char *const readable[] = {
	"/etc/resolv.conf",
	"/etc/hosts",
	"/etc/nsswitch.conf",
	"/etc/host.conf",
	"/etc/svc.conf",
	"/etc/ssl",
	"/etc/pki",
	"/usr/lib/ssl",
	"/usr/share/ca-certificates",
	"/usr/local/share/ca-certificates",
	"/etc/localtime",
	"/usr/share/zoneinfo",
	"/proc/self",
	"/proc/meminfo",
	"/sys/fs/cgroup",
	"/sys/devices/system/cpu",
	"/dev/null",
	"/dev/urandom",
};
#define READABLE_COUNT (sizeof(readable) / sizeof(readable[0]))

/* Temporary files, of the stores and of handing over to plugins. */
#define TEMPORARY "/tmp"

struct places {
	struct confine_place *items;
	size_t count, room;
	char *text; /* of items, where it is ours */
	int *volumes; /* descriptors of items, where they are ours */
	size_t volume_count;
};

static void places_done(struct places *places)
{
	for (size_t i = 0; i < places->volume_count; i++)
		close(places->volumes[i]);
	free(places->volumes);
	free(places->text);
	free(places->items);
}

static void add(struct places *places, const char *path, bool is_writable)
{
	if (path && *path && places->count < places->room)
		places->items[places->count++] =
			(struct confine_place){ .path = path, .is_writable = is_writable };
}

/* One that cannot be found takes its artifact with it, in time. */
static void add_volume(struct places *places, const struct stage *stage, const char *mount)
{
	int fd = volume_open(stage, mount, true, NULL);

	if (fd < 0)
		return;
	places->volumes[places->volume_count++] = fd;
	places->items[places->count++] = (struct confine_place){ .fd = fd, .is_writable = true };
}

/* Where each input goes: into a volume of the user's, or into the directory that main's paths are
 * mounted from. */
static void add_targets(struct places *places, const struct stage *stage)
{
	const struct template *template = stage->template;
	bool has_own = false;

	for (size_t i = 0; i < template->input_count; i++) {
		const char *mount = template_find_mount(template, template->inputs[i].path);

		has_own = has_own || !mount;
		if (mount)
			add_volume(places, stage, mount);
	}
	if (!has_own)
		return;
	/* A place that is not there yet is none. */
	path_make_directories(stage->inputs, 0755, NULL);
	add(places, stage->inputs, true);
}

static void add_readable(struct places *places)
{
	const char *directories = getenv("SSL_CERT_DIR");
	char *rest = places->text = directories ? strdup(directories) : NULL, *path;

	for (size_t i = 0; i < READABLE_COUNT; i++)
		add(places, readable[i], false);
	add(places, getenv("SSL_CERT_FILE"), false);
	if (!rest)
		return;
	while ((path = strsep(&rest, ":")))
		add(places, path, false);
}

/* SSL_CERT_DIR may name so many. */
#define CERTIFICATE_DIRECTORIES_MAX 16

static int collect(struct places *places, const struct stage *stage,
		   const struct engine_limits *limits, const struct engine_places *handed)
{
	size_t inputs = stage->template->input_count;

	places->room = inputs + handed->count + READABLE_COUNT + CERTIFICATE_DIRECTORIES_MAX + 8;
	places->items = calloc(places->room, sizeof(*places->items));
	places->volumes = calloc(inputs + 1, sizeof(*places->volumes));
	if (!places->items || !places->volumes)
		return -ENOMEM;
	add(places, TEMPORARY, true);
	add(places, getenv("TMPDIR"), true);
	if (limits->has_inputs)
		add_targets(places, stage);
	/* Outputs: in volumes, as wrappers have left them, logs, directories of other containers. */
	if (!limits->has_inputs || stage->is_initless) {
		add(places, stage->main_root, false);
		add(places, stage->root, false);
	}
	for (size_t i = 0; i < handed->count; i++)
		places->items[places->count++] = (struct confine_place){ .fd = handed->fds[i] };
	add_readable(places);
	return 0;
}

int engine_confine(const struct stage *stage, const struct engine_limits *limits,
		   const struct engine_places *handed, int notice_fd, struct confinement *ret,
		   struct error *err)
{
	_cleanup_(places_done) struct places places = { .count = 0 };
	struct confine_options options = { .notice_fd = notice_fd };
	struct engine_ports ports;
	int r = confine_mode_from_environment(&options.mode, err);

	if (r < 0)
		return r;
	if (collect(&places, stage, limits, handed) < 0)
		return error_set(err, -ENOMEM, "out of memory");
	options.places = places.items;
	/* What cannot be named cannot be allowed. */
	options.place_count = handed->are_too_many ? 0 : places.count;
	engine_ports_find(stage->template, &ports);
	options.ports = ports.items;
	options.port_count = ports.count;
	return confine(CONFINE_STAGE, &options, ret, err);
}

void engine_confined_note(struct engine *engine, const struct confinement *confinement)
{
	if (!engine->is_confined)
		confinement_log(confinement, "the staging process", engine->log);
	engine->confinement = *confinement;
	engine->is_confined = true;
}

void engine_confined_explain(const struct confinement *confinement,
			     char death[ENGINE_PROCESS_DEATH_MAX])
{
	enum confine_layer refused = confinement_refused(confinement);
	enum confine_mode mode;

	if (refused == CONFINE_LAYER_COUNT || confine_mode_from_environment(&mode, NULL) < 0 ||
	    mode != CONFINE_REQUIRED)
		return;
	snprintf(death, ENGINE_PROCESS_DEATH_MAX, "cannot be confined, which is required: %s: %s",
		 confine_layer_name(refused), confinement->layers[refused].reason);
}

static struct json_object *print_condition(const struct confine_condition *condition)
{
	_cleanup_json_ struct json_object *object = json_new_object();

	if (!object || engine_set_number(object, "state", condition->state) < 0 ||
	    json_set_string(object, "reason", condition->reason) < 0)
		return NULL;
	return TAKE_PTR(object);
}

int engine_confined_print(struct json_object *message, const struct confinement *confinement)
{
	_cleanup_json_ struct json_object *layers = json_new_array();
	int r = layers ? 0 : -ENOMEM;

	for (size_t i = 0; r == 0 && i < CONFINE_LAYER_COUNT; i++)
		r = json_append(layers, print_condition(&confinement->layers[i]));
	return r < 0 ? r : json_set(message, "layers", TAKE_PTR(layers));
}

static int read_condition(struct json_object *object, struct confine_condition *ret)
{
	size_t size = 0;
	const char *reason = json_string(json_get(object, "reason"), &size);
	int64_t state;

	if (!engine_take_number(object, "state", 0, CONFINE_STATE_COUNT - 1, &state) || !reason ||
	    size >= sizeof(ret->reason) || strlen(reason) != size)
		return -EPROTO;
	ret->state = (enum confine_state)state;
	memcpy(ret->reason, reason, size + 1);
	return 0;
}

int engine_confined_read(struct json_object *message, struct confinement *ret)
{
	struct json_object *layers = json_get(message, "layers");
	int r = 0;

	if (!json_is_array(layers) || json_length(layers) != CONFINE_LAYER_COUNT)
		return -EPROTO;
	for (size_t i = 0; r == 0 && i < CONFINE_LAYER_COUNT; i++)
		r = read_condition(json_at(layers, i), &ret->layers[i]);
	return r;
}
