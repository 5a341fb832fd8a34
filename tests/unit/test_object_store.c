/*
 * A store of objects as a whole. Without arguments: what can be tested without a server. With arguments
 * it is the driver of tests/store_driver.py, one operation of the store per run:
 *
 *	test_object_store TYPE LOCATION-JSON SECRETS-DIRECTORY OPERATION ARGUMENT…
 *
 * get FILE [PAUSE-MS]	PAUSE-MS between reads of 128 KiB
 * get-below RELATIVE FILE
 * list			prints "SIZE RELATIVE" lines
 * put-file FILE NAME RELATIVE
 * put-directory RELATIVE
 * put-stream FILE NAME	FILE read in one go
 * drop-stream FILE	the same, not finished
 * remove RELATIVE
 * get-each FILE KEY…	each through a store of its own, as artifacts are
 *
 * STALL_MS in the environment is how long a transfer may move no byte.
 *
 * LOST_FROM is when a process began (seconds since 1970) that has died and that this one goes on for.
 *
 * Prints "stored SIZE ETAG CHECKSUM" of an upload and "seconds N cpu N peak_kib N", and exits 0, or
 * prints "CLASS: MESSAGE" to stderr and exits 1.
 */
#include "executor/artifact/budget.h"
#include "executor/artifact/cache.h"
#include "executor/artifact/store.h"
#include "executor/base/cleanup.h"
#include "executor/base/clock.h"
#include "executor/base/fd.h"
#include "executor/base/path.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <cmocka.h>

struct bench {
	struct event_loop *loop;
	struct http_client *http;
	struct log log;
	struct transfer_budget *budget;
	struct pool *pool;
	struct store_stored stored;
	struct store_context context;
	struct json_object *location;
	struct store *store;
};

static int bench_open(struct bench *bench, const char *type, const char *location_text,
		      const char *secrets, struct error *err)
{
	const char *stall = getenv("STALL_MS"), *lost = getenv("LOST_FROM");
	const struct http_client_options options = {
		.user_agent = "test", .stall_timeout_ms = stall ? strtol(stall, NULL, 10) : 0
	};
	int r;

	*bench = (struct bench){ .log = { .fd = 2, .level = LOG_DEBUG } };
	bench->loop = event_loop_new();
	bench->http = http_client_new(bench->loop, &options, err);
	if (!bench->http)
		return err->code;
	bench->pool = pool_new(bench->loop);
	bench->budget = budget_new(BUDGET_CONNECTIONS, BUDGET_BYTES);
	bench->context = (struct store_context){
		.loop = bench->loop,
		.http = bench->http,
		.budget = bench->budget,
		.pool = bench->pool,
		.stored = &bench->stored,
		.log = &bench->log,
		.secret_directory = secrets,
		.lost_from_s = lost ? strtol(lost, NULL, 10) : 0,
		.cache = store_cache_new(),
	};
	r = json_parse(location_text, strlen(location_text), "location", &bench->location, err);
	return r < 0 ? r :
		       store_find(type)->open(&bench->context, bench->location, &bench->store, err);
}

static void bench_close(struct bench *bench)
{
	if (bench->store)
		bench->store->operations->close(bench->store);
	store_stored_done(&bench->stored);
	budget_free(bench->budget);
	json_free(bench->location);
	store_cache_free(bench->context.cache);
	pool_free(bench->pool);
	http_client_free(bench->http);
	event_loop_free(bench->loop);
}

static const struct store_operations *operations_of(const struct bench *bench)
{
	if (!bench->store)
		abort();
	return bench->store->operations;
}

/* --- Driver -------------------------------------------------------------------------------- */

struct slow_reader {
	struct reader reader;
	struct reader *source;
	struct event_loop *loop;
	int64_t pause_ms;
};

static ssize_t slow_read(struct reader *base, void *data, size_t size, struct error *err)
{
	struct slow_reader *self = (struct slow_reader *)base;

	event_loop_pause(self->loop, self->pause_ms);
	return self->source->read(self->source, data, size, err);
}

static int receive(struct bench *bench, const char *relative, const char *path, int64_t pause_ms,
		   struct error *err)
{
	const struct store_operations *operations = operations_of(bench);
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	struct fd_writer writer;
	struct slow_reader slow = { .reader.read = slow_read,
				    .loop = bench->loop,
				    .pause_ms = pause_ms };
	unsigned long long bytes;
	int64_t size;
	int r;

	if (fd < 0)
		return error_errno(err, -errno, "open %s", path);
	r = relative ? operations->get_below(bench->store, relative, &slow.source, &size, err) :
		       operations->get(bench->store, &slow.source, &size, err);
	if (r < 0)
		return r;
	fd_writer_init(&writer, fd, path);
	r = stream_copy(pause_ms > 0 ? &slow.reader : slow.source, &writer.writer, &bytes, err);
	operations->get_done(bench->store, slow.source);
	if (r == 0 && size >= 0 && bytes != (unsigned long long)size)
		return error_set(err, -EIO, "%llu bytes instead of %lld", bytes, (long long)size);
	return r;
}

static int print_entry(void *context, const char *relative, int64_t size, struct error *err)
{
	(void)context;
	(void)err;
	printf("%lld %s\n", (long long)size, relative);
	return 0;
}

static int send_stream(struct bench *bench, const char *path, const char *name, bool want_finish,
		       struct error *err)
{
	const struct store_operations *operations = operations_of(bench);
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct fd_reader reader;
	struct writer *writer;
	int r;

	if (fd < 0)
		return error_errno(err, -errno, "open %s", path);
	fd_reader_init(&reader, fd, path);
	r = operations->put_stream(bench->store, name, &writer, err);
	if (r < 0)
		return r;
	r = stream_copy(&reader.reader, writer, NULL, err);
	if (r == 0 && want_finish)
		r = writer->finish(writer, err);
	operations->put_stream_done(bench->store, writer);
	return r;
}

static int send_file(struct bench *bench, const char *path, const char *name, const char *relative,
		     struct error *err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return error_errno(err, -errno, "open %s", path);
	return operations_of(bench)->put_file(bench->store, relative, fd, (uint64_t)st.st_size,
					      name, err);
}

static int receive_each(struct bench *bench, const char *path, int count, char **keys,
			struct error *err)
{
	const struct store_operations *operations = operations_of(bench);
	struct store *first = bench->store;
	int r = 0;

	for (int i = 0; i < count && r == 0; i++) {
		_cleanup_json_ struct json_object *place = json_copy(bench->location);

		r = json_set_string(place, "key", keys[i]);
		if (r == 0)
			r = operations->open(&bench->context, place, &bench->store, err);
		if (r < 0)
			break;
		r = receive(bench, NULL, path, 0, err);
		operations->close(bench->store);
	}
	bench->store = first;
	return r;
}

static int drive(struct bench *bench, int argc, char **argv, struct error *err)
{
	const char *operation = argv[0];

	if (strcmp(operation, "get") == 0 && argc >= 2)
		return receive(bench, NULL, argv[1], argc > 2 ? strtol(argv[2], NULL, 10) : 0, err);
	if (strcmp(operation, "get-below") == 0 && argc == 3)
		return receive(bench, argv[1], argv[2], 0, err);
	if (strcmp(operation, "list") == 0 && argc == 1)
		return operations_of(bench)->list(bench->store, print_entry, NULL, err);
	if (strcmp(operation, "put-file") == 0 && argc == 4)
		return send_file(bench, argv[1], argv[2], argv[3], err);
	if (strcmp(operation, "put-directory") == 0 && argc == 2)
		return operations_of(bench)->put_directory(bench->store, argv[1], err);
	if (strcmp(operation, "put-stream") == 0 && argc == 3)
		return send_stream(bench, argv[1], argv[2], true, err);
	if (strcmp(operation, "remove") == 0 && argc == 2)
		return operations_of(bench)->remove(bench->store, argv[1], err);
	if (strcmp(operation, "get-each") == 0 && argc > 2)
		return receive_each(bench, argv[1], argc - 2, argv + 2, err);
	if (strcmp(operation, "drop-stream") == 0 && argc == 2)
		return send_stream(bench, argv[1], "x", false, err);
	return error_set(err, -EINVAL, "no such operation: %s", operation);
}

/* Not ru_maxrss, which begins with the memory of whoever forked us. */
static long peak_kib(void)
{
	_cleanup_buffer_ struct buffer status = BUFFER_INIT(64 * 1024);
	const char *line;

	if (file_read("/proc/self/status", &status, NULL) < 0)
		return -1;
	line = strstr(buffer_string(&status), "VmHWM:");
	return line ? strtol(line + 6, NULL, 10) : -1;
}

static int run_driver(int argc, char **argv)
{
	struct error err = ERROR_NONE;
	char checksum[STORE_CHECKSUM_MAX];
	struct bench bench;
	struct rusage usage;
	int64_t begin_ms = clock_now_ms();
	int r = bench_open(&bench, argv[1], argv[2], argv[3], &err);

	if (r == 0)
		r = drive(&bench, argc - 4, argv + 4, &err);
	if (r == 0 && bench.stored.objects > 0)
		printf("stored %llu %s %s\n", (unsigned long long)bench.stored.size,
		       bench.stored.etag, store_stored_checksum(&bench.stored, checksum));
	bench_close(&bench);
	getrusage(RUSAGE_SELF, &usage);
	if (r < 0)
		fprintf(stderr, "%s: %s\n", error_class_name(err.class), err.message);
	else
		printf("seconds %.3f cpu %.3f peak_kib %ld\n",
		       (double)(clock_now_ms() - begin_ms) / 1000,
		       (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
			       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6,
		       peak_kib());
	return r < 0 ? 1 : 0;
}

/* --- Without a server ----------------------------------------------------------------------- */

#define CANCEL_AFTER_MS 50
#define CANCELLED_WITHIN_MS 1000

static char secrets[] = "/tmp/test_object_store.XXXXXX";
/* Accepts connections, in the kernel's queue, and never says a word. */
static int silent_fd = -1;
static char location[512];

static int set_up(void **state)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	socklen_t size = sizeof(address);
	char path[64];

	(void)state;
	assert_non_null(mkdtemp(secrets));
	snprintf(path, sizeof(path), "%s/cred/key", secrets);
	assert_int_equal(path_make_parents(path, 0700, NULL), 0);
	assert_int_equal(file_replace(path, "k", 1, 0600, NULL), 0);
	silent_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(silent_fd, (struct sockaddr *)&address, size), 0);
	assert_int_equal(listen(silent_fd, 8), 0);
	assert_int_equal(getsockname(silent_fd, (struct sockaddr *)&address, &size), 0);
	snprintf(location, sizeof(location),
		 "{\"endpoint\":\"127.0.0.1:%d\",\"insecure\":true,\"bucket\":\"bbb\","
		 "\"region\":\"us-east-1\",\"key\":\"a/b\","
		 "\"accessKeySecret\":{\"name\":\"cred\",\"key\":\"key\"},"
		 "\"secretKeySecret\":{\"name\":\"cred\",\"key\":\"key\"}}",
		 ntohs(address.sin_port));
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	close(silent_fd);
	return path_remove_tree(secrets, NULL);
}

static struct event_loop *loop_to_cancel;

static void cancel(struct event_timer *timer)
{
	(void)timer;
	event_loop_cancel(loop_to_cancel);
}

/* Runs `operation` against the silent server and cancels it. */
static void check_cancelled_as(const char *type,
			       int (*operation)(struct bench *bench, struct error *err))
{
	struct error err = ERROR_NONE;
	struct event_timer timer;
	struct bench bench;
	int64_t begin_ms = clock_now_ms();

	if (bench_open(&bench, type, location, secrets, &err) < 0)
		fail_msg("%s", err.message);
	loop_to_cancel = bench.loop;
	assert_int_equal(event_timer_init(&timer, bench.loop, cancel), 0);
	event_timer_set(&timer, CANCEL_AFTER_MS);
	assert_int_equal(operation(&bench, &err), -ECANCELED);
	assert_int_equal(err.class, ERROR_CANCELLED);
	event_timer_done(&timer);
	bench_close(&bench);
	assert_true(clock_now_ms() - begin_ms < CANCELLED_WITHIN_MS);
}

static void check_cancelled(int (*operation)(struct bench *bench, struct error *err))
{
	check_cancelled_as("s3", operation);
	check_cancelled_as("oss", operation);
}

static int do_get(struct bench *bench, struct error *err)
{
	return receive(bench, NULL, "/dev/null", 0, err);
}

static int do_list(struct bench *bench, struct error *err)
{
	return operations_of(bench)->list(bench->store, print_entry, NULL, err);
}

static int do_put_file(struct bench *bench, struct error *err)
{
	_cleanup_close_ int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

	return operations_of(bench)->put_file(bench->store, "", fd, 1024, "x", err);
}

static int do_put_stream(struct bench *bench, struct error *err)
{
	return send_stream(bench, "/dev/null", "x", true, err);
}

static void test_cancel(void **state)
{
	(void)state;
	check_cancelled(do_get);
	check_cancelled(do_list);
	check_cancelled(do_put_file);
	check_cancelled(do_put_stream);
}

static void test_key_is_required(void **state)
{
	struct error err = ERROR_NONE;
	struct bench bench;
	char *key = strstr(location, "a/b");
	char copy[sizeof(location)];

	(void)state;
	snprintf(copy, sizeof(copy), "%.*s%s", (int)(key - location), location, key + 3);
	if (bench_open(&bench, "s3", copy, secrets, &err) < 0)
		fail_msg("%s", err.message);
	assert_int_equal(do_get(&bench, &err), -EINVAL);
	assert_string_equal(err.message, "s3: key: is required");
	assert_int_equal(do_put_file(&bench, &err), -EINVAL);
	assert_int_equal(do_put_stream(&bench, &err), -EINVAL);
	bench_close(&bench);
}

static void test_names_that_leave(void **state)
{
	struct error err = ERROR_NONE;
	struct bench bench;

	(void)state;
	if (bench_open(&bench, "s3", location, secrets, &err) < 0)
		fail_msg("%s", err.message);
	assert_int_equal(receive(&bench, "../x", "/dev/null", 0, &err), -EINVAL);
	assert_string_equal(err.message, "illegal object key '../x'");
	assert_int_equal(err.class, ERROR_PERMANENT);
	bench_close(&bench);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_key_is_required),
		cmocka_unit_test(test_names_that_leave),
	};

	if (argc > 4)
		return run_driver(argc, argv);
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
