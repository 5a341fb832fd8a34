/* What is served, and where; control_listener.c has the connections. */
#include "signal/control.h"

#include "executor/base/cleanup.h"
#include "executor/base/clock.h"
#include "signal/control_internal.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

/* --- the unix socket -------------------------------------------------------------------- */

static int listen_at(struct control *control, const char *root)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd;

	if ((size_t)snprintf(address.sun_path, sizeof(address.sun_path), "%s/" CONTROL_SOCKET_NAME,
			     root) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	control->local.listening.fd = fd;
	/* Containers of the pod may run under any user; connecting needs write permission. bind(2)
	 * gives the file the socket's own mode (less the umask), so that no chmod by name is needed,
	 * which user code could lead elsewhere. */
	if (fchmod(fd, 0666) < 0)
		return -errno;
	/* A socket file outlives its process: bind needs the name free. */
	unlink(address.sun_path);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	memcpy(control->path, address.sun_path, sizeof(control->path));
	return control_listener_start(&control->local, control);
}

struct control *control_new(struct event_loop *loop, const char *root,
			    const struct control_model *model, const struct log *log,
			    struct error *err)
{
	struct control *control = calloc(1, sizeof(*control));
	int r;

	if (!control) {
		error_set(err, -ENOMEM, "out of memory");
		return NULL;
	}
	control->loop = loop;
	control->log = log;
	control->model = *model;
	control->statistics.started_ms = clock_now_ms();
	control->local.listening.fd = control->local.service.fd = -1;
	r = listen_at(control, root);
	if (r < 0) {
		error_errno(err, r, "listen on %s/" CONTROL_SOCKET_NAME, root);
		control_free(control);
		return NULL;
	}
	return control;
}

static void free_remote(struct control_listener *listener)
{
	if (!listener)
		return;
	control_listener_stop(listener);
	control_key_pair_free(listener->pair);
	free(listener);
}

void control_free(struct control *control)
{
	if (!control)
		return;
	control_listener_stop(&control->local);
	free_remote(control->remote);
	if (control->path[0])
		unlink(control->path);
	free(control);
}

/* --- TCP -------------------------------------------------------------------------------- */

static const char *variable(const char *name)
{
	const char *value = getenv(name);

	return value && *value ? value : NULL;
}

static int open_key_pair(struct control *control, struct control_listener *listener,
			 const struct sockaddr_storage *address, struct error *err)
{
	const char *certificate = variable(CONTROL_CERTIFICATE_VARIABLE);
	const char *key = variable(CONTROL_KEY_VARIABLE);

	if (!certificate != !key)
		return error_set(err, -EINVAL, "%s is set, and %s is not",
				 certificate ? CONTROL_CERTIFICATE_VARIABLE : CONTROL_KEY_VARIABLE,
				 certificate ? CONTROL_KEY_VARIABLE : CONTROL_CERTIFICATE_VARIABLE);
	if (!certificate && !control_address_is_loopback(address))
		return error_set(err, -EINVAL,
				 CONTROL_CERTIFICATE_VARIABLE
				 ": is not set, and without TLS anybody on the way could read the "
				 "token: only a loopback address may go without");
	if (!certificate)
		return 0;
	listener->pair = control_key_pair_new(certificate, key, control->log, err);
	return listener->pair ? 0 : err->code;
}

static int open_port(struct control_listener *listener, struct sockaddr_storage *address)
{
	socklen_t size = sizeof(*address);
	int on = 1, off = 0;
	int fd = socket(address->ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	listener->listening.fd = fd;
	/* [::] is every address, of IPv4 too, whatever the node's default is. */
	if (address->ss_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)address, control_address_size(address)) < 0 ||
	    getsockname(fd, (struct sockaddr *)address, &size) < 0)
		return -errno;
	return 0;
}

static int start_remote(struct control *control, struct control_listener *listener,
			const char *where, struct error *err)
{
	const char *token = variable(CONTROL_TOKEN_VARIABLE);
	char text[CONTROL_ADDRESS_TEXT_MAX];
	struct sockaddr_storage address;
	int r;

	if (!token)
		return error_set(err, -EINVAL,
				 CONTROL_TOKEN_VARIABLE
				 ": is not set: nobody listens on " CONTROL_LISTEN_VARIABLE
				 " without a token");
	r = control_address_parse(where, &address, err);
	if (r < 0)
		return error_prefix(err, r, CONTROL_LISTEN_VARIABLE);
	r = open_key_pair(control, listener, &address, err);
	if (r == 0)
		r = control_token_open(&control->token, token, CONTROL_TOKEN_VARIABLE, err);
	if (r < 0)
		return r;
	r = open_port(listener, &address);
	if (r == 0)
		r = control_listener_start(listener, control);
	if (r < 0)
		return error_errno(err, r, CONTROL_LISTEN_VARIABLE ": listen on %s", where);
	log_info(control->log, "Listening for control requests",
		 log_string("address", control_address_format(&address, text)),
		 log_bool("tls", listener->pair != NULL));
	return 0;
}

int control_listen(struct control *control, struct error *err)
{
	const char *where = variable(CONTROL_LISTEN_VARIABLE);
	struct control_listener *listener;
	int r;

	if (!where)
		return 0;
	listener = calloc(1, sizeof(*listener));
	if (!listener)
		return error_set(err, -ENOMEM, "out of memory");
	listener->is_tcp = true;
	listener->listening.fd = listener->service.fd = -1;
	r = start_remote(control, listener, where, err);
	if (r < 0)
		free_remote(listener);
	else
		control->remote = listener;
	return r;
}

/* --- watchers --------------------------------------------------------------------------- */

static void tell(struct control *control, size_t item)
{
	control_listener_changed(&control->local, item);
	if (control->remote)
		control_listener_changed(control->remote, item);
}

void control_changed(struct control *control, size_t i)
{
	if (control)
		tell(control, i);
}

void control_artifact_changed(struct control *control, size_t i)
{
	if (control)
		tell(control, control->model.terminator->options.count + i);
}
