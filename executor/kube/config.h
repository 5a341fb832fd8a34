/*
 * Where the Kubernetes API is and who we are there: kubectl's options, kubeconfig files and the
 * service account of a pod, resolved once into one struct.
 *
 * Order, as Argo 4.1's executor has it: --kubeconfig, the files of $KUBECONFIG, $HOME/.kube/config,
 * then the pod's service account. The service account is used when those files name no server and
 * --server was not given either. Kubeconfig format:
 * https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/
 * Service account: https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/
 */
#pragma once

#include "executor/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KUBE_SERVICE_ACCOUNT_DIRECTORY "/var/run/secrets/kubernetes.io/serviceaccount"

/* Largest kubeconfig, CA bundle, certificate or key; real ones have 1 to 300 KB. */
#define KUBE_CONFIG_BYTES_MAX (1024 * 1024)
/* Largest token file; a bound service account token has about 1.2 KB. */
#define KUBE_TOKEN_BYTES_MAX (64 * 1024)
/* A kubelet renews a token at 80 % of its life, minutes before the old one ends. */
#define KUBE_TOKEN_AGE_MAX_MS 50000

/* What the command line says. Strings are borrowed for the call; NULL and "" mean not given. */
struct kube_options {
	const char *kubeconfig, *context, *cluster, *user, *namespace;
	const char *server, *certificate_authority, *tls_server_name, *proxy_url;
	const char *client_certificate, *client_key;
	const char *token, *username, *password;
	const char *as, *as_uid;
	const char *const *as_groups; /* NULL terminated, or NULL */
	const char *request_timeout; /* "0" = none; "30" = seconds; or a Go duration */
	bool is_insecure; /* --insecure-skip-tls-verify */
	const char *service_account_directory; /* NULL = KUBE_SERVICE_ACCOUNT_DIRECTORY */
};

/* What tells a file from what it was, through all links: a kubelet swaps the link to a directory. */
struct kube_file_mark {
	uint64_t device, inode;
	int64_t size_bytes, changed_s, changed_ns;
};

/* Text that is wiped when it is freed. */
struct kube_config {
	char *server; /* "https://10.0.0.1:443", no slash at the end */
	char *namespace;
	char *proxy_url; /* NULL = as the environment says */
	char *tls_server_name;
	char *ca_pem; /* NULL = the system's roots */
	char *ca_path; /* with a path it may be read again */
	char **old_ca_pems; /* replaced, but requests under way may hold them; NULL terminated */
	char *client_cert_pem, *client_key_pem; /* both or neither */
	char *token, *token_path; /* with a path the token is read again now and then */
	int64_t token_read_ms;
	struct kube_file_mark token_mark, ca_mark; /* of what was read last */
	char *username, *password;
	char *as, *as_uid, **as_groups;
	int64_t request_timeout_ms; /* 0 = none */
	bool is_insecure;
	bool is_in_cluster;
	/* In a pod without a readable CA file the system's roots are trusted: .code is not 0 then,
	 * and whoever loads the configuration tells the user. */
	struct error ca_error;
};

/* Fills *ret (to be released with kube_config_done) or err: one line that names the option, file
 * or field. ret is empty after a failure. */
int kube_config_load(const struct kube_options *options, struct kube_config *ret,
		     struct error *err);
void kube_config_done(struct kube_config *config);

/* The token to send, or NULL if there is none. Reads token_path again when it is another file than it
 * was, when what is held is older than KUBE_TOKEN_AGE_MAX_MS, or is_fresh_wanted; the old one stays if
 * that fails. Lent until the next call. */
const char *kube_config_token(struct kube_config *config, bool is_fresh_wanted);

/* Reads ca_path again. True if it holds another CA than before: ca_pem is that one now, and what was
 * lent of the old one stays valid. */
bool kube_config_refresh_ca(struct kube_config *config);

/* The same, if ca_path is another file than it was: before each request, at the cost of a stat(). */
void kube_config_follow_ca(struct kube_config *config);

/* True if `s` may stand in a header line: no control characters (RFC 9110, 5.5). */
bool kube_config_is_header_safe(const char *s);
