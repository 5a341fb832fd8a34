/*
 * What an attacker would do who runs code of his own in the staging process. This file is linked into a
 * build of the tests only (make planted), in front of the function that opens an artifact's store: one
 * whose name is "planted-ACTION" runs that action instead.
 *
 * An action that ends the process says nothing, of course. One that the kernel merely refuses fails the
 * artifact with "planted ACTION: <reason>", one that succeeds with "planted ACTION: SUCCEEDED".
 */
#include "executor/base/buffer.h"
#include "executor/base/cleanup.h"
#include "executor/stage/stage.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* And one that lies about where it has stored an artifact named "planted-place". */
int __real_save_artifact(const struct stage *stage, const struct template_artifact *artifact,
			 struct json_object **ret, struct error *err);
int __wrap_save_artifact(const struct stage *stage, const struct template_artifact *artifact,
			 struct json_object **ret, struct error *err);

int __real_stage_open_store(const struct stage *stage, struct json_object *artifact,
			    const char *name, struct ledger_entry *entry, struct store **ret,
			    struct error *err);
int __wrap_stage_open_store(const struct stage *stage, struct json_object *artifact,
			    const char *name, struct ledger_entry *entry, struct store **ret,
			    struct error *err);

#define PREFIX "planted-"
#define TOKEN "/var/run/secrets/kubernetes.io/serviceaccount/token"

/* --- reading and writing ------------------------------------------------------------------- */

static int read_token(void)
{
	return open(TOKEN, O_RDONLY | O_CLOEXEC);
}

static int read_secrets(void)
{
	return open("/argo/secret", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static int read_shadow(void)
{
	return open("/etc/shadow", O_RDONLY | O_CLOEXEC);
}

static int read_program(void)
{
	return open("/bin/argoexec", O_RDONLY | O_CLOEXEC);
}

static int open_of_parent(const char *file)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", getppid(), file);
	return open(path, O_RDONLY | O_CLOEXEC);
}

static int read_parent_memory(void)
{
	return open_of_parent("mem");
}

static int read_parent_environment(void)
{
	return open_of_parent("environ");
}

static int write_shared(void)
{
	return open("/var/run/argo/planted", O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
}

static int write_volume(void)
{
	return open("/mainctrfs/v/planted", O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
}

static int remove_from_volume(void)
{
	return unlink("/mainctrfs/v/good");
}

static int link_into_shared(void)
{
	return symlink("/etc/shadow", "/var/run/argo/planted");
}

/* --- becoming more ------------------------------------------------------------------------- */

static int execute(void)
{
	char name[] = "argoexec", word[] = "version", *const argv[] = { name, word, NULL };

	return execv("/bin/argoexec", argv);
}

static int execute_memory(void)
{
	char name[] = "x", *const argv[] = { name, NULL };
	int fd = memfd_create("x", 0);

	return (int)syscall(SYS_execveat, fd, "", argv, NULL, AT_EMPTY_PATH);
}

static int map_code(void)
{
	return mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		    0) == MAP_FAILED ?
		       -1 :
		       0;
}

static int fork_off(void)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	return pid;
}

static int new_namespace(void)
{
	return unshare(CLONE_NEWUSER | CLONE_NEWNS);
}

static int become_root(void)
{
	return (int)syscall(SYS_setresuid, 0, 0, 0);
}

static int mount_something(void)
{
	return mount("none", "/tmp", "tmpfs", 0, NULL);
}

static int change_root(void)
{
	return chroot("/tmp");
}

static int make_device(void)
{
	return mknod("/tmp/planted", S_IFBLK | 0600, 0x800);
}

static int raw_socket(void)
{
	return socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, 1);
}

static int packet_socket(void)
{
	return socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
}

static int netlink_socket(void)
{
	return socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0);
}

/* That nobody listens to, either. */
static int connect_to_other_port(void)
{
	const struct sockaddr_in address = { .sin_family = AF_INET,
					     .sin_port = htons(7),
					     .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	return connect(fd, (const struct sockaddr *)&address, sizeof(address));
}

static int vm_socket(void)
{
	return socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

/* --- others -------------------------------------------------------------------------------- */

static int trace_parent(void)
{
	return (int)ptrace(PTRACE_ATTACH, getppid(), NULL, NULL);
}

static int copy_parent(void)
{
	char byte;
	struct iovec here = { .iov_base = &byte, .iov_len = 1 };

	return (int)process_vm_readv(getppid(), &here, 1, &here, 1, 0);
}

static int stop_parent(void)
{
	return kill(getppid(), SIGSTOP);
}

static int stop_all(void)
{
	return kill(-1, SIGSTOP);
}

static int add_key(void)
{
	return (int)syscall(SYS_add_key, "user", "planted", "x", 1, -2);
}

static int load_program(void)
{
	return (int)syscall(SYS_bpf, 5, NULL, 0);
}

static int handle_faults(void)
{
	return (int)syscall(SYS_userfaultfd, 1);
}

static int queue_calls(void)
{
	char parameters[128] = "";

	return (int)syscall(425 /* io_uring_setup */, 8, parameters);
}

static int take_descriptor(void)
{
	return (int)syscall(438 /* pidfd_getfd */, 0, 0, 0);
}

static int write_to_terminal(void)
{
	return ioctl(STDERR_FILENO, TIOCSTI, "x");
}

static int become_dumpable(void)
{
	return prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
}

static int listen_for_others(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	return listen(fd, 1);
}

/* --- the table ----------------------------------------------------------------------------- */

static const struct {
	const char *name;
	int (*run)(void); /* as a system call: negative and errno is a failure */
} actions[] = {
	{ "token", read_token },
	{ "secrets", read_secrets },
	{ "shadow", read_shadow },
	{ "program", read_program },
	{ "parent-memory", read_parent_memory },
	{ "parent-environment", read_parent_environment },
	{ "write-shared", write_shared },
	{ "write-volume", write_volume },
	{ "remove", remove_from_volume },
	{ "link", link_into_shared },
	{ "exec", execute },
	{ "exec-memory", execute_memory },
	{ "code", map_code },
	{ "fork", fork_off },
	{ "namespace", new_namespace },
	{ "root", become_root },
	{ "mount", mount_something },
	{ "chroot", change_root },
	{ "device", make_device },
	{ "raw", raw_socket },
	{ "packet", packet_socket },
	{ "netlink", netlink_socket },
	{ "vsock", vm_socket },
	{ "port", connect_to_other_port },
	{ "ptrace", trace_parent },
	{ "copy", copy_parent },
	{ "stop", stop_parent },
	{ "stop-all", stop_all },
	{ "key", add_key },
	{ "bpf", load_program },
	{ "userfaultfd", handle_faults },
	{ "io-uring", queue_calls },
	{ "pidfd", take_descriptor },
	{ "terminal", write_to_terminal },
	{ "dumpable", become_dumpable },
	{ "listen", listen_for_others },
};

/* Not by itself: by its role. */
static int ask_for(const struct stage *stage, const char *path, struct error *err)
{
	_cleanup_buffer_ struct buffer text = BUFFER_INIT(65536);
	int r = stage->store.read_file(stage->store.read_file_context, path, &text, err);

	return r < 0 ? r : error_set(err, -EIO, "planted: SUCCEEDED");
}

static int run_action(const char *name, struct error *err)
{
	for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++) {
		if (strcmp(actions[i].name, name) != 0)
			continue;
		if (actions[i].run() < 0)
			return error_errno(err, -errno, "planted %s", name);
		return error_set(err, -EIO, "planted %s: SUCCEEDED", name);
	}
	return error_set(err, -EINVAL, "planted %s: there is no such action", name);
}

int __wrap_stage_open_store(const struct stage *stage, struct json_object *artifact,
			    const char *name, struct ledger_entry *entry, struct store **ret,
			    struct error *err)
{
	if (strncmp(name, PREFIX, strlen(PREFIX)) != 0)
		return __real_stage_open_store(stage, artifact, name, entry, ret, err);
	if (strcmp(name, PREFIX "ask") == 0)
		return ask_for(stage, TOKEN, err);
	return run_action(name + strlen(PREFIX), err);
}

int __wrap_save_artifact(const struct stage *stage, const struct template_artifact *artifact,
			 struct json_object **ret, struct error *err)
{
	struct template_artifact honest = *artifact;
	int r;

	if (strcmp(artifact->name, "planted-place") != 0)
		return __real_save_artifact(stage, artifact, ret, err);
	honest.name = "place";
	r = __real_save_artifact(stage, &honest, ret, err);
	return r < 0 ? r : json_set_string(json_get(*ret, "s3"), "key", "another");
}
