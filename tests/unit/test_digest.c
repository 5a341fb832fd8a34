#include "executor/base/cleanup.h"
#include "executor/base/fd.h"
#include "executor/http/digest.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#define EMPTY_SHA256 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define ABC_SHA256 "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
/* FIPS 180-2, B.3: a million times "a". */
#define MILLION_SHA256 "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"

static void check(enum digest_kind kind, const char *text, const char *expected)
{
	uint8_t out[DIGEST_BYTES_MAX];
	char hex[2 * DIGEST_BYTES_MAX + 1];
	size_t size = kind == DIGEST_MD5 ? DIGEST_MD5_BYTES : DIGEST_SHA256_BYTES;

	assert_int_equal(digest_of(kind, text, strlen(text), out), 0);
	assert_string_equal(digest_hex(out, size, hex), expected);
}

static void test_known_values(void **state)
{
	(void)state;
	check(DIGEST_SHA256, "", EMPTY_SHA256);
	check(DIGEST_SHA256, "abc", ABC_SHA256);
	check(DIGEST_MD5, "", "d41d8cd98f00b204e9800998ecf8427e");
	check(DIGEST_MD5, "message digest", "f96b697d7cb7938d525a2f31aaf161d0");
}

static void test_incremental(void **state)
{
	_cleanup_(digest_freep) struct digest *digest = digest_new(DIGEST_SHA256);
	uint8_t out[DIGEST_SHA256_BYTES];
	char hex[2 * DIGEST_SHA256_BYTES + 1];

	(void)state;
	assert_non_null(digest);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(digest_update(digest, "a", 1), 0);
		assert_int_equal(digest_update(digest, "", 0), 0);
		assert_int_equal(digest_update(digest, "bc", 2), 0);
		assert_int_equal(digest_finish(digest, out), 0);
		assert_string_equal(digest_hex(out, sizeof(out), hex), ABC_SHA256);
		assert_int_equal(digest_reset(digest), 0);
	}
	assert_int_equal(digest_finish(digest, out), 0);
	assert_string_equal(digest_hex(out, sizeof(out), hex), EMPTY_SHA256);
}

static void test_file_range(void **state)
{
	_cleanup_close_ int fd = memfd_create("digest", MFD_CLOEXEC);
	_cleanup_free_ char *data = malloc(1000000);
	uint8_t out[DIGEST_SHA256_BYTES];
	char hex[2 * DIGEST_SHA256_BYTES + 1];
	struct error err = ERROR_NONE;

	(void)state;
	memset(data, 'a', 1000000);
	assert_int_equal(fd_write_all(fd, "xyz", 3), 0);
	assert_int_equal(fd_write_all(fd, data, 1000000), 0);
	assert_int_equal(lseek(fd, 1, SEEK_SET), 1);
	assert_int_equal(digest_of_file(DIGEST_SHA256, fd, 3, 1000000, out, &err), 0);
	assert_string_equal(digest_hex(out, sizeof(out), hex), MILLION_SHA256);
	assert_int_equal(lseek(fd, 0, SEEK_CUR), 1);
	assert_int_equal(digest_of_file(DIGEST_SHA256, fd, 3, 0, out, &err), 0);
	assert_string_equal(digest_hex(out, sizeof(out), hex), EMPTY_SHA256);
	assert_int_equal(digest_of_file(DIGEST_SHA256, fd, 3, 1000001, out, &err), -ESTALE);
	assert_non_null(strstr(err.message, "became shorter: it has 1000000 of 1000001"));
	assert_int_equal(digest_of_file(DIGEST_SHA256, 9999, 0, 1, out, &err), -EBADF);
}

static void test_hmac(void **state)
{
	/* RFC 4231, 4.2, 4.3 and 4.7. */
	uint8_t key1[20], key6[131], out[DIGEST_SHA256_BYTES];
	char hex[2 * DIGEST_SHA256_BYTES + 1];
	const char *data6 = "Test Using Larger Than Block-Size Key - Hash Key First";

	(void)state;
	memset(key1, 0x0b, sizeof(key1));
	memset(key6, 0xaa, sizeof(key6));
	assert_int_equal(digest_hmac_sha256(key1, sizeof(key1), "Hi There", 8, out), 0);
	assert_string_equal(digest_hex(out, sizeof(out), hex),
			    "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
	assert_int_equal(digest_hmac_sha256("Jefe", 4, "what do ya want for nothing?", 28, out), 0);
	assert_string_equal(digest_hex(out, sizeof(out), hex),
			    "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
	assert_int_equal(digest_hmac_sha256(key6, sizeof(key6), data6, strlen(data6), out), 0);
	assert_string_equal(digest_hex(out, sizeof(out), hex),
			    "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
	assert_int_equal(digest_hmac_sha256(NULL, 0, "", 0, out), 0);
	assert_string_equal(digest_hex(out, sizeof(out), hex),
			    "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

static void test_base64(void **state)
{
	/* RFC 4648, 10. */
	static const char *const pairs[][2] = {
		{ "", "" },
		{ "f", "Zg==" },
		{ "fo", "Zm8=" },
		{ "foo", "Zm9v" },
		{ "foob", "Zm9vYg==" },
		{ "fooba", "Zm9vYmE=" },
		{ "foobar", "Zm9vYmFy" },
		{ "\xff\xfe\xfb", "//77" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(pairs) / sizeof(*pairs); i++) {
		_cleanup_buffer_ struct buffer encoded = BUFFER_INIT(100),
					       decoded = BUFFER_INIT(100);

		assert_int_equal(digest_base64_encode(pairs[i][0], strlen(pairs[i][0]), &encoded),
				 0);
		assert_string_equal(buffer_string(&encoded), pairs[i][1]);
		assert_int_equal(digest_base64_decode(pairs[i][1], strlen(pairs[i][1]), &decoded),
				 0);
		assert_string_equal(buffer_string(&decoded), pairs[i][0]);
		assert_int_equal(decoded.size, strlen(pairs[i][0]));
	}
}

static void test_base64_malformed(void **state)
{
	static const char *const wrong[] = { "Z",    "Zg",      "Zg=",      "Zg===",
					     "=",    "====",    "Zg==Zg==", "Zm9v=",
					     "Zm9-", "Zm\x80v", "Zm9vZ",    "Z=g=" };
	_cleanup_buffer_ struct buffer out = BUFFER_INIT(100), small = BUFFER_INIT(5);

	(void)state;
	buffer_append_string(&out, "kept");
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		assert_int_equal(digest_base64_decode(wrong[i], strlen(wrong[i]), &out), -EINVAL);
		assert_string_equal(buffer_string(&out), "kept");
	}
	assert_int_equal(digest_base64_decode(" Zm9v\r\n Yg==\n", 13, &out), 0);
	assert_string_equal(buffer_string(&out), "keptfoob");
	assert_int_equal(digest_base64_decode("Zm9vYmFy", 8, &small), -EMSGSIZE);
	assert_int_equal(small.size, 0);
	assert_int_equal(digest_base64_encode("foobar", 6, &small), -EMSGSIZE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_known_values), cmocka_unit_test(test_incremental),
		cmocka_unit_test(test_file_range),   cmocka_unit_test(test_hmac),
		cmocka_unit_test(test_base64),       cmocka_unit_test(test_base64_malformed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
