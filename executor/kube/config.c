#include "executor/kube/config.h"

#include "executor/base/cleanup.h"
#include "executor/base/clock.h"
#include "executor/base/path.h"
#include "executor/base/text.h"
#include "executor/kube/kubeconfig.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

static bool is_given(const char *s)
{
	return s && *s;
}

static int no_memory(struct error *err)
{
	return error_set(err, -ENOMEM, "Kubernetes configuration: out of memory");
}

bool kube_config_is_header_safe(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			return false;
	return true;
}

static void trim(char *s)
{
	size_t size = strlen(s), start = strspn(s, " \t\r\n");

	while (size > start && strchr(" \t\r\n", s[size - 1]))
		size--;
	memmove(s, s + start, size - start);
	s[size - start] = '\0';
}

/* Called before the file is read: what comes between the two is seen the next time. A path without a
 * file has not changed. *mark is that of the file as it is. */
static bool has_changed(const char *path, struct kube_file_mark *mark)
{
	struct kube_file_mark now;
	struct stat st;

	if (stat(path, &st) < 0)
		return false;
	now = (struct kube_file_mark){ .device = st.st_dev,
				       .inode = st.st_ino,
				       .size_bytes = st.st_size,
				       .changed_s = st.st_ctim.tv_sec,
				       .changed_ns = st.st_ctim.tv_nsec };
	if (now.device == mark->device && now.inode == mark->inode &&
	    now.size_bytes == mark->size_bytes && now.changed_s == mark->changed_s &&
	    now.changed_ns == mark->changed_ns)
		return false;
	*mark = now;
	return true;
}

static int read_token(struct kube_config *config, struct error *err)
{
	char *token = NULL;
	int r;

	has_changed(config->token_path, &config->token_mark);
	r = kubeconfig_read_text("token file", config->token_path, KUBE_TOKEN_BYTES_MAX, &token,
				 err);
	if (r < 0)
		return r;
	trim(token);
	if (!*token || !kube_config_is_header_safe(token)) {
		kubeconfig_wipe(&token);
		return error_set(err, -EINVAL, "token file %s: not a token", config->token_path);
	}
	kubeconfig_wipe(&config->token);
	config->token = token;
	return 0;
}

const char *kube_config_token(struct kube_config *config, bool is_fresh_wanted)
{
	int64_t now = clock_now_ms();

	if (!config->token_path)
		return config->token;
	if (!is_fresh_wanted && now - config->token_read_ms < KUBE_TOKEN_AGE_MAX_MS &&
	    !has_changed(config->token_path, &config->token_mark))
		return config->token;
	/* After a failed read the next one is due in the same time: what is held may work. */
	read_token(config, NULL);
	config->token_read_ms = now;
	return config->token;
}

static int retire_ca(struct kube_config *config)
{
	size_t count = 0;
	char **grown;

	while (config->old_ca_pems && config->old_ca_pems[count])
		count++;
	grown = reallocarray(config->old_ca_pems, count + 2, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	config->old_ca_pems = grown;
	grown[count] = TAKE_PTR(config->ca_pem);
	grown[count + 1] = NULL;
	return 0;
}

bool kube_config_refresh_ca(struct kube_config *config)
{
	_cleanup_free_ char *pem = NULL;

	if (!config->ca_path)
		return false;
	has_changed(config->ca_path, &config->ca_mark);
	if (kubeconfig_read_text("service account CA", config->ca_path, KUBE_CONFIG_BYTES_MAX, &pem,
				 NULL) < 0 ||
	    kubeconfig_check_pem(config->ca_path, pem, "CERTIFICATE", NULL) < 0)
		return false;
	if (config->ca_pem && (!strcmp(config->ca_pem, pem) || retire_ca(config) < 0))
		return false;
	config->ca_pem = TAKE_PTR(pem);
	return true;
}

void kube_config_follow_ca(struct kube_config *config)
{
	if (config->ca_path && has_changed(config->ca_path, &config->ca_mark))
		kube_config_refresh_ca(config);
}

/* --- the pod's service account ---------------------------------------------------------- */

static char *service_account_path(const struct kube_options *options, const char *name)
{
	return path_join(is_given(options->service_account_directory) ?
				 options->service_account_directory :
				 KUBE_SERVICE_ACCOUNT_DIRECTORY,
			 name);
}

static int take_service_account_ca(const struct kube_options *options, struct kube_config *config,
				   struct error *err)
{
	_cleanup_free_ char *path = service_account_path(options, "ca.crt");
	int r;

	if (!path)
		return no_memory(err);
	has_changed(path, &config->ca_mark);
	r = kubeconfig_read_text("service account CA", path, KUBE_CONFIG_BYTES_MAX, &config->ca_pem,
				 &config->ca_error);
	if (r == 0)
		r = kubeconfig_check_pem(path, config->ca_pem, "CERTIFICATE", &config->ca_error);
	if (r < 0) /* the system's roots then, as Argo's executor does */
		kubeconfig_wipe(&config->ca_pem);
	config->ca_path = TAKE_PTR(path);
	return 0;
}

static int no_configuration(const char *what, struct error *err)
{
	return error_set(err, -ENOENT,
			 "no Kubernetes API is configured: no kubeconfig names a server, and %s; "
			 "mount the service account token or give --server or --kubeconfig",
			 what);
}

static int take_service_account(const struct kube_options *options, struct kube_config *config,
				struct error *err)
{
	const char *host = getenv("KUBERNETES_SERVICE_HOST");
	const char *port = getenv("KUBERNETES_SERVICE_PORT");
	_cleanup_free_ char *path = service_account_path(options, "token");
	bool is_ipv6;

	if (!path)
		return no_memory(err);
	if (!is_given(host) || !is_given(port))
		return no_configuration(
			"KUBERNETES_SERVICE_HOST or KUBERNETES_SERVICE_PORT is not set", err);
	is_ipv6 = strchr(host, ':') && host[0] != '[';
	if (asprintf(&config->server, is_ipv6 ? "https://[%s]:%s" : "https://%s:%s", host, port) <
	    0) {
		config->server = NULL;
		return no_memory(err);
	}
	config->is_in_cluster = true;
	if (!is_given(options->token)) {
		struct error why = ERROR_NONE;

		config->token_path = TAKE_PTR(path);
		if (read_token(config, &why) < 0)
			return no_configuration(why.message, err);
		config->token_read_ms = clock_now_ms();
	}
	if (is_given(options->certificate_authority))
		return 0;
	return take_service_account_ca(options, config, err);
}

/* --- options on top --------------------------------------------------------------------- */

static int take_pem_option(const char *flag, const char *path, const char *label, char **slot,
			   struct error *err)
{
	int r;

	if (!is_given(path))
		return 0;
	r = kubeconfig_read_text(flag, path, KUBE_CONFIG_BYTES_MAX, slot, err);
	return r < 0 ? r : kubeconfig_check_pem(flag, *slot, label, err);
}

static int take_token_option(const struct kube_options *options, struct kube_config *config,
			     struct error *err)
{
	if (!is_given(options->token))
		return 0;
	kubeconfig_wipe(&config->token_path);
	return kubeconfig_set(&config->token, options->token) < 0 ? no_memory(err) : 0;
}

/* kubectl's rule: a number without a unit counts seconds. */
static int take_timeout(const char *s, int64_t *ret_ms, struct error *err)
{
	int64_t value;

	if (!is_given(s))
		return 0;
	if (text_parse_int64(s, &value) == 0 && value >= 0 && value < INT64_MAX / 1000) {
		*ret_ms = value * 1000;
		return 0;
	}
	if (clock_parse_duration(s, &value) == 0 && value >= 0) {
		*ret_ms = value > 0 && value < 1000000 ? 1 : value / 1000000;
		return 0;
	}
	return error_set(err, -EINVAL, "--request-timeout: \"%s\" is no duration (like 30s)", s);
}

static int take_groups(const char *const *groups, struct kube_config *config)
{
	size_t count = 0;

	while (groups && groups[count])
		count++;
	if (count == 0)
		return 0;
	config->as_groups = calloc(count + 1, sizeof(*config->as_groups));
	for (size_t i = 0; config->as_groups && i < count; i++) {
		config->as_groups[i] = strdup(groups[i]);
		if (!config->as_groups[i])
			return -ENOMEM;
	}
	return config->as_groups ? 0 : -ENOMEM;
}

static int take_options(const struct kube_options *options, struct kube_config *config,
			struct error *err)
{
	int r = take_pem_option("--certificate-authority", options->certificate_authority,
				"CERTIFICATE", &config->ca_pem, err);

	if (r == 0)
		r = take_pem_option("--client-certificate", options->client_certificate,
				    "CERTIFICATE", &config->client_cert_pem, err);
	if (r == 0)
		r = take_pem_option("--client-key", options->client_key, "PRIVATE KEY",
				    &config->client_key_pem, err);
	if (r == 0)
		r = take_token_option(options, config, err);
	if (r == 0)
		r = take_timeout(options->request_timeout, &config->request_timeout_ms, err);
	if (r < 0)
		return r;
	if (kubeconfig_set(&config->tls_server_name, options->tls_server_name) < 0 ||
	    kubeconfig_set(&config->proxy_url, options->proxy_url) < 0 ||
	    kubeconfig_set(&config->username, options->username) < 0 ||
	    kubeconfig_set(&config->password, options->password) < 0 ||
	    kubeconfig_set(&config->as, options->as) < 0 ||
	    kubeconfig_set(&config->as_uid, options->as_uid) < 0 ||
	    kubeconfig_set(&config->namespace, options->namespace) < 0 ||
	    take_groups(options->as_groups, config) < 0)
		return no_memory(err);
	if (options->is_insecure)
		config->is_insecure = true;
	return 0;
}

static int take_namespace(const struct kube_options *options, struct kube_config *config,
			  struct error *err)
{
	_cleanup_free_ char *path = service_account_path(options, "namespace");
	int r;

	if (is_given(config->namespace))
		return 0;
	if (!path)
		return no_memory(err);
	r = kubeconfig_set(&config->namespace, getenv("POD_NAMESPACE"));
	if (r == 0 && !config->namespace &&
	    kubeconfig_read_text("namespace", path, 1024, &config->namespace, NULL) == 0)
		trim(config->namespace);
	if (r == 0 && !is_given(config->namespace))
		r = kubeconfig_set(&config->namespace, "default");
	return r < 0 ? no_memory(err) : 0;
}

/* --- the whole -------------------------------------------------------------------------- */

static int check_server(struct kube_config *config, struct error *err)
{
	char *with_scheme = NULL;
	const char *host, *end, *at;
	size_t size;

	if (!strstr(config->server, "://")) {
		if (asprintf(&with_scheme, "https://%s", config->server) < 0)
			return no_memory(err);
		free(config->server);
		config->server = with_scheme;
	}
	if (strncasecmp(config->server, "https://", 8) != 0 &&
	    strncasecmp(config->server, "http://", 7) != 0)
		return error_set(err, -EINVAL, "Kubernetes API server \"%s\": not an http(s) URL",
				 config->server);
	for (const char *p = config->server; *p; p++)
		if ((unsigned char)*p <= ' ' || *p == 0x7f || *p == '?' || *p == '#')
			return error_set(err, -EINVAL,
					 "Kubernetes API server: the URL holds a character that "
					 "cannot stand there (0x%02x)",
					 (unsigned char)*p);
	/* "user:password@" may stand in front of it, which is not to be told. */
	host = strstr(config->server, "://") + 3;
	end = strchrnul(host, '/');
	at = memrchr(host, '@', (size_t)(end - host));
	host = at ? at + 1 : host;
	if (host == end || *host == ':')
		return error_set(err, -EINVAL, "Kubernetes API server: the URL names no host");
	for (size = strlen(config->server); config->server[size - 1] == '/'; size--)
		config->server[size - 1] = '\0';
	return 0;
}

static int check_headers(const struct kube_config *config, struct error *err)
{
	const struct {
		const char *name, *value;
	} texts[] = {
		{ "token", config->token },       { "username", config->username },
		{ "password", config->password }, { "as", config->as },
		{ "as-uid", config->as_uid },
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		if (texts[i].value && !kube_config_is_header_safe(texts[i].value))
			return error_set(err, -EINVAL,
					 "Kubernetes API credentials: control character in %s",
					 texts[i].name);
	for (char **group = config->as_groups; group && *group; group++)
		if (!kube_config_is_header_safe(*group))
			return error_set(
				err, -EINVAL,
				"Kubernetes API credentials: control character in as-group");
	if (!config->as && (config->as_uid || config->as_groups))
		return error_set(err, -EINVAL, "--as-uid and --as-group need --as");
	return 0;
}

static int check(struct kube_config *config, struct error *err)
{
	/* A namespace goes into a URL path as it is: RFC 1123 label. */
	for (const char *p = config->namespace; *p; p++)
		if ((!isalnum((unsigned char)*p) && *p != '-') || p - config->namespace >= 63)
			return error_set(err, -EINVAL, "namespace \"%s\" is not a valid name",
					 config->namespace);
	if (!config->client_cert_pem != !config->client_key_pem)
		return error_set(err, -EINVAL,
				 "Kubernetes API credentials: a client %s without its %s",
				 config->client_cert_pem ? "certificate" : "key",
				 config->client_cert_pem ? "key" : "certificate");
	if (check_headers(config, err) < 0)
		return -EINVAL;
	return check_server(config, err);
}

static int load(const struct kube_options *options, struct kube_config *config, struct error *err)
{
	int r = kubeconfig_load(options, config, err);

	if (r < 0)
		return r;
	if (kubeconfig_set(&config->server, options->server) < 0)
		return no_memory(err);
	if (!config->server)
		r = take_service_account(options, config, err);
	else if (config->token_path && !is_given(options->token)) {
		r = read_token(config, err);
		config->token_read_ms = clock_now_ms();
	}
	if (r == 0)
		r = take_options(options, config, err);
	if (r == 0)
		r = take_namespace(options, config, err);
	return r == 0 ? check(config, err) : r;
}

int kube_config_load(const struct kube_options *options, struct kube_config *ret, struct error *err)
{
	int r;

	*ret = (struct kube_config){ .ca_error = ERROR_NONE };
	r = load(options, ret, err);
	if (r < 0)
		kube_config_done(ret);
	return r;
}

void kube_config_done(struct kube_config *config)
{
	char **slots[] = { &config->server,          &config->namespace, &config->proxy_url,
			   &config->tls_server_name, &config->ca_pem,    &config->client_cert_pem,
			   &config->client_key_pem,  &config->token,     &config->token_path,
			   &config->username,        &config->password,  &config->as,
			   &config->as_uid,          &config->ca_path };

	for (size_t i = 0; i < sizeof(slots) / sizeof(*slots); i++)
		kubeconfig_wipe(slots[i]);
	for (char **group = config->as_groups; group && *group; group++)
		free(*group);
	free(config->as_groups);
	for (char **pem = config->old_ca_pems; pem && *pem; pem++)
		free(*pem);
	free(config->old_ca_pems);
	*config = (struct kube_config){ .is_insecure = false };
}
