/* A kubeconfig: YAML, and what is chosen from it. Required: a document is one that JSON can say, and
 * the same when it comes back; a configuration has a server, and texts that may stand in a header. */
#include "executor/json/json.h"
#include "executor/kube/config.h"
#include "executor/kube/yaml.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/targets.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define PRINTED_BYTES_MAX (16 * 1024 * 1024)

static int check_document(const char *data, size_t size)
{
	_cleanup_json_ struct json_object *value = NULL, *again = NULL;
	_cleanup_buffer_ struct buffer text = BUFFER_INIT(PRINTED_BYTES_MAX);
	struct error err = ERROR_NONE;
	int r = yaml_parse(data, size, "config", &value, &err);

	if (r < 0) {
		fuzz_check_error(r, &err);
		fuzz_require(!value);
		return r;
	}
	fuzz_require(json_print(value, &text, &err) == 0);
	fuzz_require(json_parse(buffer_string(&text), text.size, "again", &again, &err) == 0);
	fuzz_require(json_equal(value, again));
	return 0;
}

static void check_config(struct kube_config *config)
{
	const char *token;

	fuzz_require(strncasecmp(config->server, "https://", 8) == 0 ||
		     strncasecmp(config->server, "http://", 7) == 0);
	fuzz_require(config->server[strlen(config->server) - 1] != '/');
	fuzz_require(kube_config_is_header_safe(config->server));
	fuzz_require(config->namespace && *config->namespace && !strchr(config->namespace, '/'));
	fuzz_require(!config->client_cert_pem == !config->client_key_pem);
	token = kube_config_token(config, false);
	fuzz_require(!token || kube_config_is_header_safe(token));
}

void fuzz_kubeconfig(const char *data, size_t size)
{
	const char *path = fuzz_path("config");
	struct kube_options options = {
		.kubeconfig = path,
		.service_account_directory = fuzz_directory(),
	};
	struct kube_config config = { 0 };
	struct error err = ERROR_NONE;
	int r;

	if (check_document(data, size) < 0)
		return;
	fuzz_write_file(path, data, size);
	r = kube_config_load(&options, &config, &err);
	if (r < 0) {
		fuzz_check_error(r, &err);
		fuzz_require(!config.server && !config.token && !config.client_key_pem);
	} else {
		check_config(&config);
	}
	kube_config_done(&config);
	unlink(path);
}
