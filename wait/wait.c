#include "wait/wait.h"

#include "wait/auxiliary.h"

int wait_main(const struct role *role)
{
	struct auxiliary self;
	int code = auxiliary_set_up(&self, role, "wait");

	if (code == ROLE_OK)
		code = auxiliary_run(&self, true);
	auxiliary_release(&self);
	return code;
}
