/* Where the API is: options, kubeconfigs, the pod's service account. */
#include "executor/base/fd.h"
#include "executor/base/path.h"
#include "executor/http/digest.h"
#include "executor/kube/config.h"
#include "executor/kube/kubeconfig.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define PEM "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
#define PEM_BASE64 \
	"LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCkFBQUEKLS0tLS1FTkQgQ0VSVElGSUNBVEUtLS0tLQo="
#define KEY "-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n"

struct fixture {
	char directory[64];
	struct kube_options options;
	struct kube_config config;
	struct error err;
	char path[256];
};

static const char *in(struct fixture *f, const char *name)
{
	snprintf(f->path, sizeof(f->path), "%s/%s", f->directory, name);
	return f->path;
}

static void write_file(struct fixture *f, const char *name, const char *text)
{
	struct error err = ERROR_NONE;

	path_make_parents(in(f, name), 0755, &err);
	assert_int_equal(file_replace(in(f, name), text, strlen(text), 0600, &err), 0);
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	unsetenv("KUBECONFIG");
	unsetenv("KUBERNETES_SERVICE_HOST");
	unsetenv("KUBERNETES_SERVICE_PORT");
	unsetenv("POD_NAMESPACE");
	snprintf(f->directory, sizeof(f->directory), "/tmp/test_kube_config.XXXXXX");
	if (!mkdtemp(f->directory))
		return -1;
	setenv("HOME", f->directory, 1);
	f->options.service_account_directory = f->directory;
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	kube_config_done(&f->config);
	path_remove_tree(f->directory, NULL);
	free(f);
	return 0;
}

static void load(struct fixture *f)
{
	kube_config_done(&f->config);
	if (kube_config_load(&f->options, &f->config, &f->err) < 0)
		fail_msg("%s", f->err.message);
}

static void load_badly(struct fixture *f, const char *part)
{
	kube_config_done(&f->config);
	if (kube_config_load(&f->options, &f->config, &f->err) == 0)
		fail_msg("loaded, without \"%s\"", part);
	if (!strstr(f->err.message, part))
		fail_msg("\"%s\" is not in \"%s\"", part, f->err.message);
	assert_null(strchr(f->err.message, '\n'));
	assert_null(f->config.server);
}

static void make_service_account(struct fixture *f)
{
	setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1", 1);
	setenv("KUBERNETES_SERVICE_PORT", "443", 1);
	write_file(f, "token", " tok-1\n");
	write_file(f, "ca.crt", PEM);
	write_file(f, "namespace", "argo\n");
}

static void test_service_account(void **state)
{
	struct fixture *f = *state;

	make_service_account(f);
	load(f);
	assert_string_equal(f->config.server, "https://10.0.0.1:443");
	assert_string_equal(f->config.token, "tok-1");
	assert_string_equal(f->config.ca_pem, PEM);
	assert_string_equal(f->config.namespace, "argo");
	assert_true(f->config.is_in_cluster);
	assert_int_equal(f->config.ca_error.code, 0);
}

static void test_service_account_over_ipv6(void **state)
{
	make_service_account(*state);
	setenv("KUBERNETES_SERVICE_HOST", "fd00::1", 1);
	load(*state);
	assert_string_equal(((struct fixture *)*state)->config.server, "https://[fd00::1]:443");
}

static void test_nothing_at_all(void **state)
{
	struct fixture *f = *state;

	load_badly(f, "KUBERNETES_SERVICE_HOST or KUBERNETES_SERVICE_PORT is not set");
	make_service_account(f);
	unlink(in(f, "token"));
	load_badly(f, "mount the service account token or give --server or --kubeconfig");
	write_file(f, "token", " \n");
	load_badly(f, "not a token");
	write_file(f, "token", "a\nX-Evil: 1");
	load_badly(f, "not a token");
}

static void test_missing_ca_means_the_systems(void **state)
{
	struct fixture *f = *state;

	make_service_account(f);
	unlink(in(f, "ca.crt"));
	load(f);
	assert_null(f->config.ca_pem);
	assert_int_equal(f->config.ca_error.code, -ENOENT);
	assert_non_null(strstr(f->config.ca_error.message, "ca.crt"));
	write_file(f, "ca.crt", "no certificate");
	load(f);
	assert_null(f->config.ca_pem);
	assert_non_null(strstr(f->config.ca_error.message, "no PEM block"));
}

static void test_token_is_read_again(void **state)
{
	struct fixture *f = *state;

	make_service_account(f);
	load(f);
	assert_string_equal(kube_config_token(&f->config, false), "tok-1");
	/* At once if it is another file; a file that is none, or is gone, leaves what is held. */
	write_file(f, "token", "tok-2");
	assert_string_equal(kube_config_token(&f->config, false), "tok-2");
	write_file(f, "token", "");
	assert_string_equal(kube_config_token(&f->config, false), "tok-2");
	write_file(f, "token", "tok-3");
	assert_string_equal(kube_config_token(&f->config, false), "tok-3");
	unlink(in(f, "token"));
	assert_string_equal(kube_config_token(&f->config, false), "tok-3");
	assert_string_equal(kube_config_token(&f->config, true), "tok-3");
	write_file(f, "token", "tok-4");
	assert_string_equal(kube_config_token(&f->config, true), "tok-4");
}

/* One whose change does not show is read again when it is old, and when a fresh one is wanted. */
static void test_token_is_read_again_without_a_sign(void **state)
{
	struct fixture *f = *state;

	make_service_account(f);
	load(f);
	free(f->config.token);
	f->config.token = strdup("held");
	assert_string_equal(kube_config_token(&f->config, false), "held");
	f->config.token_read_ms -= KUBE_TOKEN_AGE_MAX_MS - 10000;
	assert_string_equal(kube_config_token(&f->config, false), "held");
	f->config.token_read_ms -= 10000;
	assert_string_equal(kube_config_token(&f->config, false), "tok-1");
	free(f->config.token);
	f->config.token = strdup("held");
	assert_string_equal(kube_config_token(&f->config, true), "tok-1");
}

/* As a kubelet renews them: files in a directory behind a link, which is replaced. */
static void test_both_behind_a_link(void **state)
{
	struct fixture *f = *state;
	const char *lent;
	char link[256];

	setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1", 1);
	setenv("KUBERNETES_SERVICE_PORT", "443", 1);
	write_file(f, "..1/token", "tok-1");
	write_file(f, "..1/ca.crt", PEM);
	write_file(f, "..2/token", "tok-2");
	write_file(f, "..2/ca.crt", "# new\n" PEM);
	assert_int_equal(symlink("..1", in(f, "..data")), 0);
	assert_int_equal(symlink("..data/token", in(f, "token")), 0);
	assert_int_equal(symlink("..data/ca.crt", in(f, "ca.crt")), 0);
	load(f);
	lent = f->config.ca_pem;
	kube_config_follow_ca(&f->config);
	assert_ptr_equal(f->config.ca_pem, lent);
	assert_string_equal(kube_config_token(&f->config, false), "tok-1");
	snprintf(link, sizeof(link), "%s", in(f, "..link"));
	assert_int_equal(symlink("..2", link), 0);
	assert_int_equal(rename(link, in(f, "..data")), 0);
	assert_string_equal(kube_config_token(&f->config, false), "tok-2");
	kube_config_follow_ca(&f->config);
	assert_string_equal(f->config.ca_pem, "# new\n" PEM);
	assert_string_equal(lent, PEM);
}

static void test_ca_is_read_again(void **state)
{
	struct fixture *f = *state;
	const char *lent;

	make_service_account(f);
	load(f);
	lent = f->config.ca_pem;
	assert_false(kube_config_refresh_ca(&f->config));
	assert_ptr_equal(f->config.ca_pem, lent);
	write_file(f, "ca.crt", "# new\n" PEM);
	assert_true(kube_config_refresh_ca(&f->config));
	assert_string_equal(f->config.ca_pem, "# new\n" PEM);
	assert_string_equal(lent, PEM);
	assert_false(kube_config_refresh_ca(&f->config));
	write_file(f, "ca.crt", "half a certif");
	assert_false(kube_config_refresh_ca(&f->config));
	unlink(in(f, "ca.crt"));
	assert_false(kube_config_refresh_ca(&f->config));
	assert_string_equal(f->config.ca_pem, "# new\n" PEM);
	write_file(f, "ca.crt", PEM);
	assert_true(kube_config_refresh_ca(&f->config));
	assert_string_equal(f->config.ca_pem, PEM);
	/* Only what is another file is looked at before each request. */
	kubeconfig_set(&f->config.ca_pem, "held");
	kube_config_follow_ca(&f->config);
	assert_string_equal(f->config.ca_pem, "held");
	write_file(f, "ca.crt", "half a certif");
	kube_config_follow_ca(&f->config);
	assert_string_equal(f->config.ca_pem, "held");
	write_file(f, "ca.crt", PEM);
	kube_config_follow_ca(&f->config);
	assert_string_equal(f->config.ca_pem, PEM);
}

static void test_namespace_order(void **state)
{
	struct fixture *f = *state;

	make_service_account(f);
	unlink(in(f, "namespace"));
	load(f);
	assert_string_equal(f->config.namespace, "default");
	write_file(f, "namespace", "from-file\n");
	load(f);
	assert_string_equal(f->config.namespace, "from-file");
	setenv("POD_NAMESPACE", "from-env", 1);
	load(f);
	assert_string_equal(f->config.namespace, "from-env");
	write_file(f, ".kube/config",
		   "clusters: [{name: c, cluster: {server: 'https://h'}}]\n"
		   "contexts: [{name: x, context: {cluster: c, namespace: from-context}}]\n"
		   "current-context: x\n");
	load(f);
	assert_string_equal(f->config.namespace, "from-context");
	f->options.namespace = "from-option";
	load(f);
	assert_string_equal(f->config.namespace, "from-option");
	f->options.namespace = "../x";
	load_badly(f, "namespace \"../x\" is not a valid name");
}

static const char kubeconfig[] = "apiVersion: v1\n"
				 "kind: Config\n"
				 "clusters:\n"
				 "- name: one\n"
				 "  cluster:\n"
				 "    server: https://one:6443/\n"
				 "    certificate-authority-data: " PEM_BASE64 "\n"
				 "    tls-server-name: kubernetes\n"
				 "    proxy-url: http://proxy:3128\n"
				 "- name: two\n"
				 "  cluster:\n"
				 "    server: https://two\n"
				 "    insecure-skip-tls-verify: true\n"
				 "users:\n"
				 "- name: token\n"
				 "  user: {token: 12345}\n"
				 "- name: file\n"
				 "  user: {token: old, tokenFile: sub/token}\n"
				 "- name: cert\n"
				 "  user: {client-certificate: c.pem, client-key: k.pem}\n"
				 "- name: basic\n"
				 "  user: {username: u, password: p, as: admin}\n"
				 "- name: plugin\n"
				 "  user: {exec: {command: aws}}\n"
				 "contexts:\n"
				 "- name: main\n"
				 "  context: {cluster: one, user: token, namespace: ns}\n"
				 "- name: other\n"
				 "  context: {cluster: two, user: basic}\n"
				 "current-context: main\n";

static void test_kubeconfig(void **state)
{
	struct fixture *f = *state;

	make_service_account(f);
	write_file(f, ".kube/config", kubeconfig);
	load(f);
	assert_string_equal(f->config.server, "https://one:6443");
	assert_string_equal(f->config.ca_pem, PEM);
	assert_string_equal(f->config.tls_server_name, "kubernetes");
	assert_string_equal(f->config.proxy_url, "http://proxy:3128");
	assert_string_equal(f->config.token, "12345");
	assert_string_equal(f->config.namespace, "ns");
	assert_false(f->config.is_in_cluster);
	assert_false(f->config.is_insecure);

	f->options.context = "other";
	load(f);
	assert_string_equal(f->config.server, "https://two");
	assert_string_equal(f->config.username, "u");
	assert_string_equal(f->config.password, "p");
	assert_string_equal(f->config.as, "admin");
	assert_true(f->config.is_insecure);
	assert_null(f->config.token);
}

static void test_relative_files(void **state)
{
	struct fixture *f = *state;

	write_file(f, "k/config", kubeconfig);
	write_file(f, "k/c.pem", PEM);
	write_file(f, "k/k.pem", KEY);
	write_file(f, "k/sub/token", "from-file\n");
	f->options.kubeconfig = strdup(in(f, "k/config"));
	f->options.user = "file";
	load(f);
	assert_string_equal(f->config.token, "from-file");
	f->options.user = "cert";
	load(f);
	assert_string_equal(f->config.client_cert_pem, PEM);
	assert_string_equal(f->config.client_key_pem, KEY);
	unlink(in(f, "k/k.pem"));
	load_badly(f, "users[cert].client-key: open");
	write_file(f, "k/k.pem", PEM);
	load_badly(f, "no PEM block \"PRIVATE KEY\"");
	free((char *)f->options.kubeconfig);
}

static void test_list_of_files(void **state)
{
	struct fixture *f = *state;
	char *list;

	write_file(f, "a", "current-context: second\n");
	write_file(f, "b",
		   "clusters: [{name: c, cluster: {server: 'https://b'}}]\n"
		   "contexts: [{name: second, context: {cluster: c}}]\ncurrent-context: no\n");
	write_file(f, "c", "clusters: [{name: c, cluster: {server: 'https://c'}}]\n");
	assert_true(asprintf(&list, "%s/a:%s/missing:%s/b:%s/c", f->directory, f->directory,
			     f->directory, f->directory) > 0);
	setenv("KUBECONFIG", list, 1);
	free(list);
	load(f);
	assert_string_equal(f->config.server, "https://b");
}

static void test_options_win(void **state)
{
	struct fixture *f = *state;
	const char *const groups[] = { "g1", "g2", NULL };

	write_file(f, ".kube/config", kubeconfig);
	write_file(f, "ca", PEM PEM);
	f->options.server = "https://opt:1";
	f->options.token = "opt-token";
	f->options.certificate_authority = strdup(in(f, "ca"));
	f->options.tls_server_name = "sni";
	f->options.as = "me";
	f->options.as_groups = groups;
	f->options.is_insecure = true;
	f->options.request_timeout = "1m30s";
	load(f);
	assert_string_equal(f->config.server, "https://opt:1");
	assert_string_equal(f->config.token, "opt-token");
	assert_string_equal(f->config.ca_pem, PEM PEM);
	assert_string_equal(f->config.tls_server_name, "sni");
	assert_string_equal(f->config.as_groups[1], "g2");
	assert_true(f->config.is_insecure);
	assert_int_equal(f->config.request_timeout_ms, 90000);
	f->options.request_timeout = "5";
	load(f);
	assert_int_equal(f->config.request_timeout_ms, 5000);
	free((char *)f->options.certificate_authority);
}

static void test_server_alone_is_enough(void **state)
{
	struct fixture *f = *state;

	f->options.server = "example:6443/k8s/";
	load(f);
	assert_string_equal(f->config.server, "https://example:6443/k8s");
	assert_null(f->config.token);
	kube_config_done(&f->config);
	f->options.server = "https://:p@example/";
	load(f);
	assert_string_equal(f->config.server, "https://:p@example");
}

static void test_bad_options(void **state)
{
	struct fixture *f = *state;

	f->options.server = "ftp://x";
	load_badly(f, "not an http(s) URL");
	f->options.server = "http://";
	load_badly(f, "the URL names no host");
	f->options.server = "https:///k8s";
	load_badly(f, "the URL names no host");
	f->options.server = "https://:6443";
	load_badly(f, "the URL names no host");
	f->options.server = "https://user:secret@/k8s";
	load_badly(f, "Kubernetes API server: the URL names no host");
	f->options.server = "https://x/ y";
	load_badly(f, "a character that cannot stand there (0x20)");
	f->options.server = "https://x";
	f->options.request_timeout = "soon";
	load_badly(f, "--request-timeout");
	f->options.request_timeout = NULL;
	f->options.token = "a\r\nb";
	load_badly(f, "control character in token");
	f->options.token = NULL;
	f->options.as_uid = "1";
	load_badly(f, "need --as");
	f->options.as_uid = NULL;
	f->options.certificate_authority = "/nonexistent";
	load_badly(f, "--certificate-authority: open /nonexistent: no such file");
	f->options.certificate_authority = NULL;
	f->options.kubeconfig = "/nonexistent";
	load_badly(f, "kubeconfig: open /nonexistent: no such file");
	f->options.kubeconfig = "/dev/zero";
	load_badly(f, "/dev/zero");
}

static void test_bad_kubeconfigs(void **state)
{
	static const struct {
		const char *text, *part;
	} cases[] = {
		{ "- a\n", "must be a mapping, not of kind array" },
		{ "a: [\n", "not valid YAML" },
		{ "current-context: gone\n", "no entry \"gone\" in contexts" },
		{ "contexts: [{name: x, context: {cluster: c}}]\ncurrent-context: x\n",
		  "no entry \"c\" in clusters" },
		{ "contexts: [{name: x, context: {user: u}}]\ncurrent-context: x\n",
		  "no entry \"u\" in users" },
		{ "contexts: [{name: x, context: {cluster: c}}]\ncurrent-context: x\n"
		  "clusters: [{name: c, cluster: {server: [a]}}]\n",
		  "clusters[c].server must be a string, not of kind array" },
		{ "contexts: [{name: x, context: {cluster: c}}]\ncurrent-context: x\n"
		  "clusters: [{name: c, cluster: {server: a, certificate-authority-data: '*'}}]\n",
		  "certificate-authority-data is not PEM in base 64" },
		{ "contexts: [{name: x, context: {user: u}}]\ncurrent-context: x\n"
		  "users: [{name: u, user: {exec: {command: aws}}}]\n",
		  "users[u].exec needs a credential plugin" },
		{ "contexts: [{name: x, context: {user: u}}]\ncurrent-context: x\n"
		  "users: [{name: u, user: {auth-provider: {name: gcp}}}]\n",
		  "users[u].auth-provider needs a credential plugin" },
		/* Odd, but no entry is meant by it. */
		{ "clusters: {a: b}\nusers: 1\ncontexts: [x, [y], {name: [z]}]\n",
		  "no Kubernetes API is configured" },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		write_file(f, ".kube/config", cases[i].text);
		load_badly(f, cases[i].part);
	}
}

static void test_large_kubeconfig(void **state)
{
	struct fixture *f = *state;
	char *path;

	write_file(f, ".kube/config", "");
	path = strdup(in(f, ".kube/config"));
	assert_int_equal(truncate(path, 100 * 1024 * 1024), 0);
	load_badly(f, path);
	free(path);
}

static void test_base64(void **state)
{
	static const char *const bad[] = {
		"A", "AA", "AAA", "A===", "AA=A", "AA==AA==", "AA*=", "="
	};
	struct buffer out = BUFFER_INIT(1000), back = BUFFER_INIT(1000);

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(digest_base64_decode(bad[i], strlen(bad[i]), &out), -EINVAL);
	for (size_t size = 0; size < 64; size++) {
		unsigned char data[64];

		for (size_t i = 0; i < size; i++)
			data[i] = (unsigned char)(i * 37 + 200);
		buffer_reset(&out);
		buffer_reset(&back);
		assert_int_equal(digest_base64_encode(data, size, &out), 0);
		assert_int_equal(out.size, (size + 2) / 3 * 4);
		assert_int_equal(digest_base64_decode(buffer_string(&out), out.size, &back), 0);
		assert_int_equal(back.size, size);
		assert_memory_equal(buffer_string(&back), data, size);
	}
	/* RFC 4648, section 10 */
	buffer_reset(&out);
	assert_int_equal(digest_base64_encode("foobar", 6, &out), 0);
	assert_string_equal(buffer_string(&out), "Zm9vYmFy");
	buffer_done(&out);
	buffer_done(&back);
}

#define test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(test_service_account),
		test(test_service_account_over_ipv6),
		test(test_nothing_at_all),
		test(test_missing_ca_means_the_systems),
		test(test_token_is_read_again),
		test(test_ca_is_read_again),
		test(test_token_is_read_again_without_a_sign),
		test(test_both_behind_a_link),
		test(test_namespace_order),
		test(test_kubeconfig),
		test(test_relative_files),
		test(test_list_of_files),
		test(test_options_win),
		test(test_server_alone_is_enough),
		test(test_bad_options),
		test(test_bad_kubeconfigs),
		test(test_large_kubeconfig),
		cmocka_unit_test(test_base64),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
