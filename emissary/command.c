#include "emissary/command.h"

#include "executor/base/cleanup.h"
#include "executor/base/fd.h"
#include "executor/json/json.h"
#include "executor/process/child.h"
#include "executor/template/environment.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* MAX_ARG_STRLEN of Linux, less the NUL. */
#define ARGUMENT_BYTES_MAX 131072

/* The file lies in a ConfigMap, which holds 1 MiB. */
#define ARGUMENTS_FILE_MAX (4 * 1024 * 1024)

static int add(struct command *command, const char *text, struct error *err)
{
	char **grown = reallocarray(command->argv, (size_t)command->argc + 2, sizeof(char *));
	char *copy = strdup(text);

	if (grown)
		command->argv = grown;
	if (!grown || !copy) {
		free(copy);
		return error_set(err, -ENOMEM, "out of memory");
	}
	command->argv[command->argc++] = copy;
	command->argv[command->argc] = NULL;
	return 0;
}

static int add_from_file(struct command *command, const char *path, struct error *err)
{
	_cleanup_buffer_ struct buffer text = BUFFER_INIT(ARGUMENTS_FILE_MAX);
	_cleanup_json_ struct json_object *list = NULL;
	int r = file_read(path, &text, err);

	if (r == 0)
		r = json_parse(buffer_string(&text), text.size, path, &list, err);
	if (r == 0 && !json_is_array(list))
		r = error_set(err, -EINVAL, "%s: expected an array of strings", path);
	for (size_t i = 0; r == 0 && i < json_length(list); i++) {
		size_t size = 0;
		const char *argument = json_string(json_at(list, i), &size);

		if (!argument)
			r = error_set(err, -EINVAL, "%s: element %zu is not a string", path, i);
		else if (strlen(argument) != size)
			r = error_set(err, -EINVAL, "%s: element %zu has a NUL in it", path, i);
		else
			r = add(command, argument, err);
	}
	return r < 0 ? error_prefix(err, r, "failed to read container args") : 0;
}

/* Index i counts the arguments, the command itself left out. */
static int offload(struct command *command, int i, struct error *err)
{
	char **slot = &command->argv[i + 1];
	char path[64], *reference = NULL;
	int r;

	if (strlen(*slot) <= ARGUMENT_BYTES_MAX)
		return 0;
	snprintf(path, sizeof(path), "/tmp/argo_arg_%d.txt", i);
	r = file_replace(path, *slot, strlen(*slot), 0644, err);
	if (r < 0)
		return r;
	if (asprintf(&reference, "@%s", path) < 0)
		return error_set(err, -ENOMEM, "out of memory");
	free(*slot);
	*slot = reference;
	return 0;
}

int command_build(const struct role *role, struct command *command, struct error *err)
{
	const char *file = environment_get("ARGO_CONTAINER_ARGS_FILE");
	int r = 0;

	*command = (struct command){ .argc = 0 };
	for (int i = 0; r == 0 && i < role->argc; i++)
		r = add(command, role->argv[i], err);
	if (r == 0 && *file) {
		r = add_from_file(command, file, err);
		for (int i = 0; r == 0 && i + 1 < command->argc; i++)
			r = offload(command, i, err);
	}
	if (r == 0 && command->argc == 0)
		r = error_set(err, -EINVAL,
			      "no command to run: neither the pod nor its image names one");
	return r;
}

int command_resolve(struct command *command, struct error *err)
{
	char *path = NULL;
	int r = child_find_program(command->argv[0], getenv("PATH"), &path, err);

	if (r < 0)
		return error_prefix(err, r, "failed to find name in PATH");
	free(command->argv[0]);
	command->argv[0] = path;
	return 0;
}

void command_done(struct command *command)
{
	for (int i = 0; i < command->argc; i++)
		free(command->argv[i]);
	free(command->argv);
	*command = (struct command){ .argc = 0 };
}
