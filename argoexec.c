/*
 * argoexec: what runs inside every pod of an Argo workflow. This file is the command line: one
 * table from subcommand to role, and the flags that all of them share.
 */
#include "emissary/emissary.h"
#include "emissary/plugin_sidecar.h"
#include "executor/base/flags.h"
#include "executor/base/role.h"
#include "executor/base/version.h"
#include "executor/kube/config.h"
#include "executor/report/failure.h"
#include "executor/stage/engine_child.h"
#include "executor/stage/engine_process.h"
#include "gc/gc.h"
#include "init/init.h"
#include "init/plugin_init.h"
#include "signal/commands.h"
#include "signal/kill.h"
#include "wait/supervisor.h"
#include "wait/wait.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TERMINATION_LOG "/dev/termination-log"

struct subcommand {
	const char *name;
	const char *arguments; /* for the usage text */
	const char *help; /* NULL: not for people */
	int words_min, words_max; /* -1 = any number */
	int (*main)(const struct role *role); /* NULL: handled here */
	const char *word; /* what its first argument must be; NULL = anything */
};

static const struct subcommand subcommands[] = {
	{ "artifact", "delete", "delete the artifacts of a workflow", 1, 1, gc_main, "delete" },
	{ "artifact-plugin-init", "--plugin-name P -- NAME [ARG...]",
	  "load the inputs of an artifact plugin", 1, -1, plugin_init_main },
	{ "artifact-plugin-sidecar", "-- NAME [ARG...]", "run an artifact plugin", 1, -1,
	  plugin_sidecar_main },
	{ "emissary", "-- NAME [ARG...]", "run a user's command and save its outputs", 0, -1,
	  emissary_main },
	{ "help", "[COMMAND]", "show the help of a command", 0, 1, NULL },
	{ "init", "", "load the inputs of a pod", 0, 0, init_main },
	{ "kill", "SIGNAL PID", "send a signal to a process", 2, 2, kill_main },
	{ "signal", "SIGNAL", "ask the main containers to end, through the control socket", 1, 1,
	  signal_main },
	{ ENGINE_PROCESS_COMMAND, "", NULL, 0, 0, engine_child_main },
	{ "status", "", "show how the main containers are doing", 0, 0, status_main },
	{ "supervisor", "", "load the inputs, then wait and save, in pods without init", 0, 0,
	  supervisor_main },
	{ "version", "", "print version information", 0, 0, NULL },
	{ "wait", "", "wait for the main containers and save their outputs", 0, 0, wait_main },
};
#define SUBCOMMAND_COUNT (sizeof(subcommands) / sizeof(subcommands[0]))

struct options {
	const char *level, *format;
	long long verbosity; /* of Go's Kubernetes client; there is none here to be made talk */
	struct kube_options kube;
	bool disables_compression; /* of API answers; they are never compressed here */
	bool is_short_version;
	bool wants_help;
	const char *container;
	const char *plugin;
	bool wants_watch;
	const char *as_groups[FLAG_LIST_MAX + 1];
};

/* Room for every flag and the end mark. */
#define FLAGS_MAX 32

/* Fills the table of flags that write into *o; it serves parsing and the help. */
static void describe_flags(struct options *o, struct flag table[static FLAGS_MAX])
{
	const struct flag flags[] = {
		{ "as", 0, FLAG_STRING, &o->kube.as, "user to impersonate" },
		{ "as-group", 0, FLAG_LIST, o->as_groups, "group to impersonate; may be repeated" },
		{ "as-uid", 0, FLAG_STRING, &o->kube.as_uid, "UID to impersonate" },
		{ "certificate-authority", 0, FLAG_STRING, &o->kube.certificate_authority,
		  "file with the API server's CA certificates" },
		{ "client-certificate", 0, FLAG_STRING, &o->kube.client_certificate,
		  "file with our certificate" },
		{ "client-key", 0, FLAG_STRING, &o->kube.client_key, "file with its key" },
		{ "cluster", 0, FLAG_STRING, &o->kube.cluster, "cluster of the kubeconfig" },
		{ "container", 0, FLAG_STRING, &o->container,
		  "signal: only this main container (default: all)" },
		{ "context", 0, FLAG_STRING, &o->kube.context, "context of the kubeconfig" },
		{ "disable-compression", 0, FLAG_BOOL, &o->disables_compression,
		  "accepted; answers are never compressed" },
		{ "gloglevel", 0, FLAG_INT, &o->verbosity,
		  "accepted for Argo's controller; has no effect" },
		{ "help", 'h', FLAG_BOOL, &o->wants_help, "show this help" },
		{ "insecure-skip-tls-verify", 0, FLAG_BOOL, &o->kube.is_insecure,
		  "accept any certificate of the API server" },
		{ "kubeconfig", 0, FLAG_STRING, &o->kube.kubeconfig, "kubeconfig file" },
		{ "log-format", 0, FLAG_STRING, &o->format, "text or json (default text)" },
		{ "loglevel", 0, FLAG_STRING, &o->level,
		  "debug, info, warn or error (default info)" },
		{ "namespace", 'n', FLAG_STRING, &o->kube.namespace, "namespace of the workflow" },
		{ "password", 0, FLAG_STRING, &o->kube.password, "for basic authentication" },
		{ "plugin-name", 0, FLAG_STRING, &o->plugin,
		  "artifact-plugin-init: the artifact plugin that is run" },
		{ "proxy-url", 0, FLAG_STRING, &o->kube.proxy_url, "proxy to the API server" },
		{ "request-timeout", 0, FLAG_STRING, &o->kube.request_timeout,
		  "of one API request, for example 30s (default 0: none)" },
		{ "server", 0, FLAG_STRING, &o->kube.server, "address of the API server" },
		{ "short", 0, FLAG_BOOL, &o->is_short_version, "version: print only the version" },
		{ "tls-server-name", 0, FLAG_STRING, &o->kube.tls_server_name,
		  "name expected in the API server's certificate" },
		{ "token", 0, FLAG_STRING, &o->kube.token, "bearer token for the API server" },
		{ "user", 0, FLAG_STRING, &o->kube.user, "user of the kubeconfig" },
		{ "username", 0, FLAG_STRING, &o->kube.username, "for basic authentication" },
		{ "watch", 0, FLAG_BOOL, &o->wants_watch,
		  "status: print every change until the pod ends" },
		{ NULL, 0, FLAG_BOOL, NULL, NULL },
	};

	memcpy(table, flags, sizeof(flags));
}

static const struct subcommand *find(const char *name)
{
	for (size_t i = 0; i < SUBCOMMAND_COUNT; i++)
		if (strcmp(subcommands[i].name, name) == 0)
			return &subcommands[i];
	return NULL;
}

static void print_usage(int fd, const struct subcommand *subcommand)
{
	struct options unused = { .verbosity = 0 };
	struct flag table[FLAGS_MAX];

	if (subcommand) {
		dprintf(fd, "%s\n\nUsage:\n  argoexec %s [flags] %s\n",
			subcommand->help ? subcommand->help : "what argoexec itself executes",
			subcommand->name, subcommand->arguments);
	} else {
		dprintf(fd, "argoexec runs inside the pods of Argo workflows\n\nUsage:\n"
			    "  argoexec [flags] COMMAND\n\nCommands:\n");
		for (size_t i = 0; i < SUBCOMMAND_COUNT; i++)
			if (subcommands[i].help)
				dprintf(fd, "  %-24s %s\n", subcommands[i].name,
					subcommands[i].help);
	}
	dprintf(fd, "\nFlags:\n");
	describe_flags(&unused, table);
	flags_print(fd, table);
}

/* Wrong usage: what is wrong, how it is right, and 64. */
static int refuse(const struct role *role, const struct subcommand *subcommand,
		  const struct error *err)
{
	failure_report(role, err);
	print_usage(STDERR_FILENO, subcommand);
	return ROLE_FAILED;
}

static int set_up_log(struct role *role, const struct options *options)
{
	if (log_parse_level(options->level, &role->log.level) < 0) {
		dprintf(STDERR_FILENO, "Error: --loglevel \"%s\": use debug, info, warn or error\n",
			options->level);
		return -EINVAL;
	}
	if (log_parse_format(options->format, &role->log.is_json) < 0) {
		dprintf(STDERR_FILENO, "Error: --log-format \"%s\": use text or json\n",
			options->format);
		return -EINVAL;
	}
	return 0;
}

static int print_version(const struct options *options)
{
	dprintf(STDOUT_FILENO, "argoexec: %s\n", version_text());
	if (!options->is_short_version)
		version_print_details(STDOUT_FILENO);
	return ROLE_OK;
}

/* What is wrong with the words behind a subcommand. */
static int check_words(const struct subcommand *subcommand, int words, char **argv,
		       struct error *err)
{
	if (words < subcommand->words_min ||
	    (subcommand->words_max >= 0 && words > subcommand->words_max))
		return error_set(err, -EINVAL, "%s: %d argument%s given, usage: argoexec %s %s",
				 subcommand->name, words, words == 1 ? "" : "s", subcommand->name,
				 subcommand->arguments);
	if (subcommand->word && strcmp(argv[0], subcommand->word) != 0)
		return error_set(err, -EINVAL, "unknown command \"%.100s\" for \"argoexec %s\"",
				 argv[0], subcommand->name);
	return 0;
}

static int run(struct role *role, const struct options *options)
{
	const struct subcommand *subcommand = role->argc > 0 ? find(role->argv[0]) : NULL;
	struct error err = ERROR_NONE;

	if (role->argc > 0 && !subcommand) {
		error_set(&err, -EINVAL, "unknown command \"%.100s\" for \"argoexec\"",
			  role->argv[0]);
		return refuse(role, NULL, &err);
	}
	if (subcommand && strcmp(subcommand->name, "help") == 0 && !options->wants_help) {
		print_usage(STDOUT_FILENO, role->argc > 1 ? find(role->argv[1]) : NULL);
		return ROLE_OK;
	}
	if (!subcommand || options->wants_help) {
		print_usage(STDOUT_FILENO, subcommand);
		return ROLE_OK;
	}
	role->argc--;
	role->argv++;
	if (check_words(subcommand, role->argc, role->argv, &err) < 0)
		return refuse(role, subcommand, &err);
	role->container = options->container;
	role->plugin = options->plugin;
	role->wants_watch = options->wants_watch;
	if (set_up_log(role, options) < 0)
		return ROLE_BAD_START;
	return subcommand->main ? subcommand->main(role) : print_version(options);
}

/* A descriptor of ours must not become 0, 1 or 2 because somebody closed those. */
static void open_standard_streams(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

/* What is as large as a part's buffer is mapped alone and goes back to the kernel when it is freed, or
 * grows without a copy. Left to itself glibc keeps such memory on its heap after the first one was freed,
 * with holes: twice what is in use. */
#define MAPPED_BYTES_MIN (256 << 10)

int main(int argc, char **argv)
{
	struct options options = { .level = "info", .format = "text" };
	struct role role = {
		.log = { .fd = STDERR_FILENO, .level = LOG_INFO },
		.kube = &options.kube,
		.termination_log = TERMINATION_LOG,
	};
	struct error err = ERROR_NONE;
	struct flag table[FLAGS_MAX];
	char **words = calloc((size_t)argc + 1, sizeof(char *));
	int code;

	mallopt(M_MMAP_THRESHOLD, MAPPED_BYTES_MIN);
	open_standard_streams();
	if (!words)
		return ROLE_BAD_SETUP;
	describe_flags(&options, table);
	options.kube.as_groups = options.as_groups;
	role.argc = flags_parse(argc, argv, table, words, &err);
	role.argv = words;
	code = role.argc < 0 ? refuse(&role, NULL, &err) : run(&role, &options);
	free(words);
	return code;
}
