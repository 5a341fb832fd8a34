/* Kubeconfig files: reading, merging and choosing. Only config.c needs this. */
#pragma once

#include "executor/kube/config.h"

/* Reads the files that `options` and the environment name and fills what the chosen context says
 * (server, namespace, ca_pem, client_*_pem, token, token_path, username, password, proxy_url,
 * tls_server_name, is_insecure) into *config. No file, or none that names a server, leaves
 * config->server NULL and is no error. A path given by --kubeconfig must exist. */
int kubeconfig_load(const struct kube_options *options, struct kube_config *config,
		    struct error *err);

/* Reads a text file of up to `max` bytes without NUL; `field` names who points there. Caller frees
 * (and wipes). */
int kubeconfig_read_text(const char *field, const char *path, size_t max, char **ret,
			 struct error *err);

/* Sets *slot to a copy of `value`, wiping and freeing what was there. NULL and "" change nothing.
 * 0 or -ENOMEM. */
int kubeconfig_set(char **slot, const char *value);
void kubeconfig_wipe(char **slot);

/* 0 if `pem` holds at least one block with that label ("CERTIFICATE", "PRIVATE KEY" as suffix). */
int kubeconfig_check_pem(const char *field, const char *pem, const char *label, struct error *err);
