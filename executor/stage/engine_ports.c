#include "executor/stage/engine_ports.h"

#include "executor/json/json.h"
#include "executor/template/location.h"

#include <stdlib.h>
#include <string.h>

/* Long answers of name servers; endpoints without a port, and the regions that S3 sends to. */
static const uint16_t usual[] = { 53, 80, 443 };

static const char *const proxies[] = { "http_proxy",  "HTTP_PROXY", "https_proxy",
				       "HTTPS_PROXY", "all_proxy",  "ALL_PROXY" };

static bool has_proxy(void)
{
	for (size_t i = 0; i < sizeof(proxies) / sizeof(proxies[0]); i++) {
		const char *value = getenv(proxies[i]);

		if (value && *value)
			return true;
	}
	return false;
}

static bool add(struct engine_ports *ports, uint16_t port)
{
	for (size_t i = 0; i < ports->count; i++)
		if (ports->items[i] == port)
			return true;
	if (ports->count == ENGINE_PORTS_MAX)
		return false;
	ports->items[ports->count++] = port;
	return true;
}

/* Of "host:port"; one without a port has a usual one. */
static bool add_endpoint(struct engine_ports *ports, const char *endpoint)
{
	const char *colon = strrchr(endpoint, ':');
	unsigned long port;
	char *end;

	if (!colon || strchr(colon, ']'))
		return true;
	port = strtoul(colon + 1, &end, 10);
	return strspn(end, "/") == strlen(end) && port > 0 && port <= UINT16_MAX &&
	       add(ports, (uint16_t)port);
}

/* A selector that names nothing is none: then keys are looked for elsewhere. */
static bool names_secret(struct json_object *location, const char *field)
{
	return *json_get_string(json_get(location, field), "name", "") != '\0';
}

/* The key and the secret are in the pod: nobody is asked for them. */
static bool has_keys(struct json_object *location)
{
	return names_secret(location, "accessKeySecret") &&
	       names_secret(location, "secretKeySecret") &&
	       !json_get_bool(location, "useSDKCreds", json_get(location, "useSDKCreds")) &&
	       !*json_get_string(location, "roleARN", "");
}

/* false: it may be anywhere. */
static bool add_location(struct engine_ports *ports, struct json_object *artifact)
{
	const char *type = location_type(artifact);
	struct json_object *location = location_get(artifact);
	const char *endpoint = json_get_string(location, "endpoint", "");

	if (!type || strcmp(type, "raw") == 0)
		return true;
	if (strcmp(type, "s3") != 0 && strcmp(type, "oss") != 0)
		return false;
	/* Without an endpoint it is where the archive is. */
	return !*endpoint || (has_keys(location) && add_endpoint(ports, endpoint));
}

static bool add_locations(struct engine_ports *ports, const struct template_artifact *artifacts,
			  size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!add_location(ports, artifacts[i].json))
			return false;
	return true;
}

void engine_ports_find(const struct template *template, struct engine_ports *ret)
{
	bool is_known = !has_proxy();

	ret->count = 0;
	for (size_t i = 0; i < sizeof(usual) / sizeof(usual[0]); i++)
		add(ret, usual[i]);
	is_known = is_known && add_location(ret, template_archive_location(template)) &&
		   add_locations(ret, template->inputs, template->input_count) &&
		   add_locations(ret, template->outputs, template->output_count);
	if (!is_known)
		ret->count = 0;
}
