#include "executor/artifact/plugin/plugin.h"

#include "executor/artifact/plugin/grpc.h"
#include "executor/artifact/plugin/message.h"
#include "executor/artifact/plugin/socket.h"
#include "executor/base/cleanup.h"
#include "executor/base/text.h"
#include "executor/http/retry.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#define CONNECT_TIMEOUT_DEFAULT_S 5
#define CONNECT_TIMEOUT_MAX_S 86400

/* More than the largest template. */
#define REQUEST_BYTES_MAX (16 * 1024 * 1024)

struct plugin_store {
	struct store store;
	struct store_context context;
	struct json_object *artifact;
	const char *name; /* lent by artifact */
	struct plugin_socket socket;
	struct retry_policy policy;
	struct transient_pattern *transient; /* the policy's */
	char directory[sizeof(PLUGIN_SOCKETS) + 64], path[sizeof(PLUGIN_SOCKETS) + 72];
	char sidecar_directory[256];
};

/* A method of the service. */
struct method {
	const char *name;
	const char *verb; /* for messages */
	int (*encode)(struct json_object *artifact, const char *path, struct buffer *out);
};

static void plugin_close(struct store *base)
{
	struct plugin_store *self = (struct plugin_store *)base;

	if (!self)
		return;
	transient_pattern_free(self->transient);
	json_free(self->artifact);
	free(self);
}

static int check_location(struct plugin_store *self, struct json_object *location,
			  struct error *err)
{
	int64_t seconds = json_get_int(location, "connectionTimeoutSeconds", 0);

	self->name = json_get_string(location, "name", "");
	/* It is a part of container names, and becomes one of a path. */
	if (!text_is_dns_label(self->name))
		return error_set(err, -EINVAL, "plugin: name \"%.64s\" is not the name of a plugin",
				 self->name);
	if (seconds <= 0)
		seconds = CONNECT_TIMEOUT_DEFAULT_S;
	if (seconds > CONNECT_TIMEOUT_MAX_S)
		seconds = CONNECT_TIMEOUT_MAX_S;
	self->socket.connect_timeout_ms = seconds * 1000;
	return 0;
}

static void set_places(struct plugin_store *self)
{
	const struct store_context *context = &self->context;

	snprintf(self->directory, sizeof(self->directory), PLUGIN_SOCKETS "/%s", self->name);
	snprintf(self->path, sizeof(self->path), PLUGIN_SOCKETS "/%s/socket", self->name);
	self->socket.plugin = self->name;
	self->socket.directory = self->directory;
	self->socket.path = self->path;
	self->socket.wait_ms = PLUGIN_SOCKET_WAIT_MS;
	self->socket.loop = context->loop;
	self->socket.log = context->log;
	if (!context->container_directory)
		return;
	snprintf(self->sidecar_directory, sizeof(self->sidecar_directory), "%s/artifact-plugin-%s",
		 context->container_directory, self->name);
	self->socket.sidecar_directory = self->sidecar_directory;
}

static int plugin_open(const struct store_context *context, struct json_object *location,
		       struct store **ret, struct error *err)
{
	struct plugin_store *self = calloc(1, sizeof(*self));
	int r;

	if (!self)
		return error_set(err, -ENOMEM, "out of memory");
	self->store.operations = &plugin_store_operations;
	self->context = *context;
	self->artifact = json_ref(context->artifact);
	r = check_location(self, location, err);
	if (r == 0)
		r = retry_policy_from_environment(&self->policy, err);
	if (r == 0)
		r = transient_pattern_from_environment(&self->transient, err);
	if (r < 0) {
		plugin_close(&self->store);
		return r;
	}
	self->policy.transient = self->transient;
	self->policy.store = "plugin";
	self->policy.on_retry = context->observer.retried;
	self->policy.context = context->observer.context;
	set_places(self);
	*ret = &self->store;
	return 0;
}

static int attempt(struct plugin_store *self, const struct method *method,
		   const struct buffer *request, struct retry *retry, struct error *err)
{
	_cleanup_buffer_ struct buffer response = BUFFER_INIT(GRPC_MESSAGE_BYTES_MAX);
	char path[64];
	int r = plugin_socket_await(&self->socket, err);

	if (r < 0)
		return error_prefix(err, r, "failed to create plugin driver for %s", self->name);
	snprintf(path, sizeof(path), "/artifact.ArtifactService/%s", method->name);
	r = grpc_call(self->context.http, self->path, path, request, retry, &response, err);
	if (r == 0)
		r = message_judge_response(&response, err);
	return r < 0 ? error_prefix(err, r, "plugin %s %s failed", self->name, method->verb) : 0;
}

/* `made`: what the method makes, NULL = nothing. */
static int call(struct store *base, const struct method *method, const char *path,
		const struct spot *made, struct error *err)
{
	struct plugin_store *self = (struct plugin_store *)base;
	_cleanup_buffer_ struct buffer request = BUFFER_INIT(REQUEST_BYTES_MAX);
	struct retry retry;
	int r = method->encode(self->artifact, path, &request);

	if (r < 0)
		return error_errno(err, r, "plugin %s: encode the request", self->name);
	retry_begin(&retry, &self->policy, self->context.loop, self->context.log, method->verb);
	retry.key = json_get_string(json_get(self->artifact, "plugin"), "key", NULL);
	do {
		/* An attempt before may have left a half of it. */
		r = made ? spot_remove_tree(*made, err) : 0;
		if (r == 0)
			r = attempt(self, method, &request, &retry, err);
	} while (r < 0 && retry_again(&retry, err));
	return r;
}

static int plugin_load(struct store *base, struct spot spot, struct error *err)
{
	static const struct method method = { "Load", "load", message_load_request };

	return call(base, &method, spot.path, &spot, err);
}

static int plugin_save(struct store *base, const char *path, struct error *err)
{
	static const struct method method = { "Save", "save", message_save_request };
	struct plugin_store *self = (struct plugin_store *)base;
	struct stat st;
	int r = call(base, &method, path, NULL, err);

	if (r == 0 && lstat(path, &st) == 0 && S_ISREG(st.st_mode))
		store_tell_stored(&self->context, (uint64_t)st.st_size);
	/* What is to be saved is there: whatever the plugin did not find is no missing output. */
	if (r < 0 && err->class == ERROR_NOT_FOUND) {
		err->class = ERROR_PERMANENT;
		r = err->code = -EREMOTEIO;
	}
	return r;
}

static int plugin_remove(struct store *base, const char *relative, struct error *err)
{
	static const struct method method = { "Delete", "delete", message_delete_request };

	if (*relative)
		return error_set(err, -ENOTSUP,
				 "plugin: what lies below a key is the plugin's own");
	return call(base, &method, NULL, NULL, err);
}

const struct store_operations plugin_store_operations = {
	.type = "plugin",
	.open = plugin_open,
	.close = plugin_close,
	.load_path = plugin_load,
	.save_path = plugin_save,
	.remove = plugin_remove,
};
