#include "emissary/directory.h"

#include "executor/base/text.h"
#include "executor/process/files.h"
#include "executor/process/record.h"

#include <errno.h>
#include <sys/stat.h>

#define ROOT FILES_VAR_RUN_ARGO

int directory_make(struct directory *directory, const struct role *role, const char *container,
		   struct error *err)
{
	int r;

	directory->role = role;
	directory->container = container;
	umask(0);
	if (!text_is_dns_label(container))
		return error_set(err, -EINVAL,
				 "ARGO_CONTAINER_NAME \"%.64s\" is not a container name",
				 container);
	r = files_make_container_directory(ROOT, container, err);
	if (r < 0)
		return r;
	files_container_path(ROOT, container, "", directory->path, sizeof(directory->path));
	if (files_reserve_exit_code(ROOT, container, err) < 0)
		log_warn(&role->log, "No room for the exit code", log_error_field(err));
	if (record_leave(ROOT, container, err) < 0)
		log_warn(&role->log, "Left no record of this process", log_error_field(err));
	return 0;
}

void directory_write_exit_code(const struct directory *directory, int code)
{
	struct error err = ERROR_NONE;

	if (!directory->path[0])
		return;
	/* User code may have removed it; without its directory the code is lost. */
	(void)files_make_container_directory(ROOT, directory->container, &err);
	if (files_write_exit_code(ROOT, directory->container, code, &err) < 0)
		log_error(&directory->role->log, "Failed to write exit code",
			  log_error_field(&err));
}
