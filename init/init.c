#include "init/init.h"

#include "executor/base/cleanup.h"
#include "executor/base/fd.h"
#include "executor/base/version.h"
#include "executor/confine/confine.h"
#include "executor/process/child.h"
#include "executor/process/files.h"
#include "executor/stage/load.h"
#include "init/loading.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

/* The other containers run this very binary from the shared volume. */
static int install_binary(struct error *err)
{
	_cleanup_close_ int fd = open(child_own_program(), O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return error_errno(err, -errno, "open our own binary");
	return file_replace_from(FILES_VAR_RUN_ARGO "/argoexec", fd, 0555, err);
}

static int work(struct loading *loading, struct error *err)
{
	struct stage stage = loading_stage(loading);
	struct confinement unused;
	int r = loading_begin(loading, &stage, err);

	if (r == 0)
		r = confine_role(CONFINE_INIT, loading->role, NULL, &unused, err);
	if (r == 0)
		r = install_binary(err);
	if (r == 0)
		r = template_install(loading->template, FILES_VAR_RUN_ARGO, err);
	if (r == 0)
		r = load_files(&stage, err);
	if (r == 0)
		r = loading_inputs(loading, &stage, err);
	return r < 0 ? r : loading_check(loading, err);
}

int init_main(const struct role *role)
{
	struct loading loading;
	struct error err = ERROR_NONE;
	int code;

	umask(0);
	code = loading_set_up(&loading, role);
	if (code == ROLE_OK) {
		log_info(&role->log, "Starting init", log_string("version", version_text()),
			 log_string("podName", loading.environment.pod_name));
		if (work(&loading, &err) < 0)
			code = loading_fail(&loading, &err);
	}
	loading_release(&loading);
	return code;
}
