#include "executor/kube/kubeconfig.h"

#include "executor/base/fd.h"
#include "executor/base/path.h"
#include "executor/base/sensitive.h"
#include "executor/http/digest.h"
#include "executor/kube/yaml.h"

#include <errno.h>
#include <string.h>

/* Files that $KUBECONFIG may name. */
#define FILES_MAX 16

/* One file's contents with the folder that its relative paths start from. */
struct source {
	struct json_object *root; /* may be NULL: empty file */
	char *path;
	char *directory;
};

struct sources {
	struct source file[FILES_MAX];
	unsigned count;
};

/* An entry of `clusters` or `users`, found by name. */
struct entry {
	const struct source *source;
	struct json_object *body; /* lent */
	const char *list, *name;
};

static void sources_done(struct sources *sources)
{
	for (unsigned i = 0; i < sources->count; i++) {
		json_free(sources->file[i].root);
		free(sources->file[i].path);
		free(sources->file[i].directory);
	}
}

void kubeconfig_wipe(char **slot)
{
	sensitive_free(*slot, *slot ? strlen(*slot) : 0);
	*slot = NULL;
}

int kubeconfig_set(char **slot, const char *value)
{
	char *copy;

	if (!value || !*value)
		return 0;
	copy = sensitive_copy(value);
	if (!copy)
		return -ENOMEM;
	kubeconfig_wipe(slot);
	*slot = copy;
	return 0;
}

int kubeconfig_read_text(const char *field, const char *path, size_t max, char **ret,
			 struct error *err)
{
	_cleanup_buffer_ struct buffer text = BUFFER_SECRET(max);
	int r = file_read(path, &text, err);

	if (r < 0)
		return error_prefix(err, r, "%s", field);
	if (text.size == 0)
		return error_set(err, -EINVAL, "%s: %s is empty", field, path);
	if (memchr(text.data, '\0', text.size))
		return error_set(err, -EINVAL, "%s: %s holds a NUL byte", field, path);
	kubeconfig_wipe(ret);
	*ret = buffer_take(&text);
	return 0;
}

int kubeconfig_check_pem(const char *field, const char *pem, const char *label, struct error *err)
{
	for (const char *p = pem; (p = strstr(p, "-----BEGIN ")); p++) {
		const char *end = strstr(p + 11, "-----");
		size_t size = strlen(label);

		if (end && (size_t)(end - p) >= 11 + size && !memcmp(end - size, label, size))
			return 0;
	}
	return error_set(err, -EINVAL, "%s: no PEM block \"%s\" in it", field, label);
}

static int add_file(struct sources *sources, const char *path, bool is_required, struct error *err)
{
	_cleanup_buffer_ struct buffer text = BUFFER_SECRET(KUBE_CONFIG_BYTES_MAX);
	const char *slash = strrchr(path, '/');
	struct source *source;
	int r = file_read(path, &text, err);

	if (r == -ENOENT && !is_required)
		return 0;
	if (r < 0)
		return error_prefix(err, r, "kubeconfig");
	if (sources->count == FILES_MAX)
		return error_set(err, -E2BIG, "KUBECONFIG names more than %d files", FILES_MAX);
	source = &sources->file[sources->count++];
	source->path = strdup(path);
	source->directory = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
	if (!source->path || !source->directory)
		return error_set(err, -ENOMEM, "kubeconfig %s: out of memory", path);
	r = yaml_parse(buffer_string(&text), text.size, path, &source->root, err);
	if (r < 0)
		return error_prefix(err, r, "kubeconfig");
	if (source->root && !json_is_object(source->root))
		return error_set(err, -EINVAL, "kubeconfig %s: must be a mapping, not of kind %s",
				 path, json_kind_name(source->root));
	return 0;
}

static int read_sources(const struct kube_options *options, struct sources *sources,
			struct error *err)
{
	const char *list = getenv("KUBECONFIG"), *home = getenv("HOME");

	if (options->kubeconfig && *options->kubeconfig)
		return add_file(sources, options->kubeconfig, true, err);
	if (list && *list) {
		_cleanup_free_ char *copy = strdup(list);
		char *rest = NULL;

		if (!copy)
			return error_set(err, -ENOMEM, "KUBECONFIG: out of memory");
		for (char *path = strtok_r(copy, ":", &rest); path;
		     path = strtok_r(NULL, ":", &rest)) {
			int r = add_file(sources, path, false, err);

			if (r < 0)
				return r;
		}
		return 0;
	}
	if (home && *home) {
		_cleanup_free_ char *path = path_join(home, ".kube/config");

		if (!path)
			return error_set(err, -ENOMEM, "kubeconfig: out of memory");
		return add_file(sources, path, false, err);
	}
	return 0;
}

/* The first file that has an entry of that name wins, as kubectl merges them. */
static bool find_entry(const struct sources *sources, const char *list, const char *member,
		       const char *name, struct entry *ret)
{
	for (unsigned i = 0; i < sources->count; i++) {
		struct json_object *entries = json_get(sources->file[i].root, list);

		for (size_t j = 0; j < json_length(entries); j++) {
			struct json_object *entry = json_at(entries, j);

			if (strcmp(json_get_string(entry, "name", ""), name) != 0)
				continue;
			*ret = (struct entry){ &sources->file[i], json_get(entry, member), list,
					       name };
			return true;
		}
	}
	return false;
}

/* A member as text; an error if it is there and no string. *ret is NULL when absent or empty. */
static int entry_text(const struct entry *entry, const char *key, const char **ret,
		      struct error *err)
{
	struct json_object *value = json_get(entry->body, key);

	*ret = json_string(value, NULL);
	if (value && !*ret)
		return error_set(err, -EINVAL,
				 "kubeconfig %s: %s[%s].%s must be a string, not of kind %s",
				 entry->source->path, entry->list, entry->name, key,
				 json_kind_name(value));
	if (*ret && !**ret)
		*ret = NULL;
	return 0;
}

static int take_text(const struct entry *entry, const char *key, char **slot, struct error *err)
{
	const char *value;
	int r = entry_text(entry, key, &value, err);

	if (r == 0 && kubeconfig_set(slot, value) < 0)
		r = error_set(err, -ENOMEM, "kubeconfig: out of memory");
	return r;
}

static int entry_path(const struct entry *entry, const char *key, char **ret, struct error *err)
{
	const char *value;
	int r = entry_text(entry, key, &value, err);

	if (r < 0 || !value)
		return r;
	*ret = value[0] == '/' ? strdup(value) : path_join(entry->source->directory, value);
	return *ret ? 0 : error_set(err, -ENOMEM, "kubeconfig: out of memory");
}

/* PEM text from KEY-data (base 64; it wins) or from the file that KEY names. */
static int take_pem(const struct entry *entry, const char *key, const char *label, char **slot,
		    struct error *err)
{
	_cleanup_free_ char *path = NULL;
	char field[512], data_key[64];
	const char *data;
	int r;

	snprintf(data_key, sizeof(data_key), "%s-data", key);
	snprintf(field, sizeof(field), "kubeconfig %s: %s[%s].%s", entry->source->path, entry->list,
		 entry->name, key);
	r = entry_text(entry, data_key, &data, err);
	if (r < 0)
		return r;
	if (data) {
		_cleanup_buffer_ struct buffer pem = BUFFER_SECRET(KUBE_CONFIG_BYTES_MAX);

		if (digest_base64_decode(data, strlen(data), &pem) < 0 || pem.size == 0 ||
		    memchr(pem.data, '\0', pem.size))
			return error_set(err, -EINVAL, "%s-data is not PEM in base 64", field);
		kubeconfig_wipe(slot);
		*slot = buffer_take(&pem);
	} else {
		r = entry_path(entry, key, &path, err);
		if (r < 0 || !path)
			return r;
		r = kubeconfig_read_text(field, path, KUBE_CONFIG_BYTES_MAX, slot, err);
		if (r < 0)
			return r;
	}
	return kubeconfig_check_pem(field, *slot, label, err);
}

static int take_cluster(const struct entry *entry, struct kube_config *config, struct error *err)
{
	int r = take_text(entry, "server", &config->server, err);

	if (r == 0)
		r = take_text(entry, "tls-server-name", &config->tls_server_name, err);
	if (r == 0)
		r = take_text(entry, "proxy-url", &config->proxy_url, err);
	if (r == 0)
		r = take_pem(entry, "certificate-authority", "CERTIFICATE", &config->ca_pem, err);
	config->is_insecure = json_get_bool(entry->body, "insecure-skip-tls-verify", false);
	return r;
}

static int take_user(const struct entry *entry, struct kube_config *config, struct error *err)
{
	static const char *const plugins[] = { "exec", "auth-provider" };
	int r;

	for (size_t i = 0; i < sizeof(plugins) / sizeof(*plugins); i++)
		if (json_get(entry->body, plugins[i]))
			return error_set(err, -EOPNOTSUPP,
					 "kubeconfig %s: users[%s].%s needs a credential plugin, "
					 "which this program does not run: use a token or a client "
					 "certificate",
					 entry->source->path, entry->name, plugins[i]);
	r = take_text(entry, "token", &config->token, err);
	if (r == 0)
		r = entry_path(entry, "tokenFile", &config->token_path, err);
	if (r == 0)
		r = take_text(entry, "username", &config->username, err);
	if (r == 0)
		r = take_text(entry, "password", &config->password, err);
	if (r == 0)
		r = take_pem(entry, "client-certificate", "CERTIFICATE", &config->client_cert_pem,
			     err);
	if (r == 0)
		r = take_pem(entry, "client-key", "PRIVATE KEY", &config->client_key_pem, err);
	if (r == 0)
		r = take_text(entry, "as", &config->as, err);
	return r == 0 ? take_text(entry, "as-uid", &config->as_uid, err) : r;
}

/* Finds the entry that an option or the context names; a name that leads nowhere is an error. */
static int choose(const struct sources *sources, const char *list, const char *member,
		  const char *option, const char *from_context, struct entry *ret,
		  struct error *err)
{
	const char *name = option && *option ? option : from_context;

	*ret = (struct entry){ .source = NULL };
	if (!name || !*name || find_entry(sources, list, member, name, ret))
		return 0;
	return error_set(err, -EINVAL, "kubeconfig: no entry \"%s\" in %s", name, list);
}

static const char *current_context(const struct sources *sources)
{
	for (unsigned i = 0; i < sources->count; i++) {
		const char *name = json_get_string(sources->file[i].root, "current-context", "");

		if (*name)
			return name;
	}
	return NULL;
}

static int take_chosen(const struct kube_options *options, const struct sources *sources,
		       struct kube_config *config, struct error *err)
{
	struct entry context, cluster, user;
	int r = choose(sources, "contexts", "context", options->context, current_context(sources),
		       &context, err);

	if (r == 0)
		r = choose(sources, "clusters", "cluster", options->cluster,
			   json_get_string(context.body, "cluster", NULL), &cluster, err);
	if (r == 0)
		r = choose(sources, "users", "user", options->user,
			   json_get_string(context.body, "user", NULL), &user, err);
	if (r == 0 && context.source)
		r = take_text(&context, "namespace", &config->namespace, err);
	if (r == 0 && cluster.source)
		r = take_cluster(&cluster, config, err);
	if (r == 0 && user.source)
		r = take_user(&user, config, err);
	return r;
}

int kubeconfig_load(const struct kube_options *options, struct kube_config *config,
		    struct error *err)
{
	_cleanup_(sources_done) struct sources sources = { .count = 0 };
	int r = read_sources(options, &sources, err);

	return r < 0 ? r : take_chosen(options, &sources, config, err);
}
