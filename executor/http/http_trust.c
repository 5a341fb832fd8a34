#include "executor/base/cleanup.h"
#include "executor/base/fd.h"
#include "executor/base/path.h"
#include "executor/http/http_internal.h"

#include <dirent.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <string.h>

/* The bundles of distributions are 200 to 300 KiB. */
#define BUNDLE_BYTES_MAX (8 * 1024 * 1024)

/* Where the distributions have it; the first one that exists counts, as in Go's crypto/x509. */
static const char *const bundles[] = {
	"/etc/ssl/certs/ca-certificates.crt",
	"/etc/pki/tls/certs/ca-bundle.crt",
	"/etc/ssl/ca-bundle.pem",
	"/etc/pki/tls/cacert.pem",
	"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
	"/etc/ssl/cert.pem",
};
#define DIRECTORIES "/etc/ssl/certs:/etc/pki/tls/certs"

static void close_directory(DIR **directory)
{
	if (*directory)
		closedir(*directory);
}

/* Adds every certificate of a PEM file; false if the file has none or cannot be read. */
static bool add_file(X509_STORE *store, const char *path)
{
	_cleanup_buffer_ struct buffer pem = BUFFER_INIT(BUNDLE_BYTES_MAX);
	bool is_any = false;
	X509 *certificate;
	BIO *bio;

	if (file_read(path, &pem, NULL) < 0 || pem.size == 0)
		return false;
	bio = BIO_new_mem_buf(pem.data, (int)pem.size);
	if (!bio)
		return false;
	while ((certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL))) {
		is_any = X509_STORE_add_cert(store, certificate) == 1 || is_any;
		X509_free(certificate);
	}
	BIO_free(bio);
	ERR_clear_error(); /* "no start line": the end of the file */
	return is_any;
}

/* True if `file` lies directly in `directory`. */
static bool is_inside(const char *file, const char *directory)
{
	size_t size = strlen(directory);

	return file && strncmp(file, directory, size) == 0 && file[size] == '/' &&
	       !strchr(file + size + 1, '/');
}

/* Links inside the directory are names by hash of files that are there anyway. Absolute ones are
 * the distribution's, and in the bundle beside them; a mounted volume's files are links, too, but
 * relative ones. */
static bool is_wanted(DIR *directory, const struct dirent *entry, const char *bundle)
{
	char target[PATH_MAX_BYTES];
	ssize_t n;

	if (entry->d_name[0] == '.' ||
	    (bundle && strcmp(entry->d_name, path_basename(bundle)) == 0))
		return false;
	n = readlinkat(dirfd(directory), entry->d_name, target, sizeof(target) - 1);
	if (n <= 0)
		return true;
	target[n] = '\0';
	return strchr(target, '/') && !(bundle && target[0] == '/');
}

static void add_directory(X509_STORE *store, const char *path, const char *bundle)
{
	_cleanup_(close_directory) DIR *directory = opendir(path);
	struct dirent *entry;

	if (!is_inside(bundle, path))
		bundle = NULL;
	while (directory && (entry = readdir(directory))) {
		_cleanup_free_ char *file = NULL;

		if (is_wanted(directory, entry, bundle) &&
		    asprintf(&file, "%s/%s", path, entry->d_name) >= 0)
			add_file(store, file);
	}
}

static void add_directories(X509_STORE *store, const char *list, const char *bundle)
{
	_cleanup_free_ char *copy = strdup(list);
	char *rest = copy, *path;

	while (copy && (path = strsep(&rest, ":")))
		if (*path)
			add_directory(store, path, bundle);
}

static X509_STORE *load_system_trust(void)
{
	const char *bundle = getenv("SSL_CERT_FILE");
	const char *directories = getenv("SSL_CERT_DIR");
	X509_STORE *store = X509_STORE_new();

	if (!store)
		return NULL;
	if (bundle && *bundle) {
		if (!add_file(store, bundle))
			bundle = NULL;
	} else {
		bundle = NULL;
		for (size_t i = 0; !bundle && i < sizeof(bundles) / sizeof(*bundles); i++)
			if (add_file(store, bundles[i]))
				bundle = bundles[i];
	}
	add_directories(store, directories && *directories ? directories : DIRECTORIES, bundle);
	/* As libcurl does for a store of its own: an intermediate authority is enough. */
	X509_STORE_set_flags(store, X509_V_FLAG_TRUSTED_FIRST | X509_V_FLAG_PARTIAL_CHAIN);
	return store;
}

CURLcode http_trust_on_context(CURL *easy, void *ssl_context, void *context)
{
	struct http_transfer *transfer = context;
	struct http_client *client = transfer->client;

	(void)easy;
	transfer->has_tls_begun = true;
	if (transfer->request.tls.ca_pem || transfer->request.tls.is_insecure)
		return CURLE_OK;
	if (!client->trust_store)
		client->trust_store = load_system_trust();
	if (!client->trust_store)
		return CURLE_OUT_OF_MEMORY;
	SSL_CTX_set1_cert_store(ssl_context, client->trust_store);
	return CURLE_OK;
}

void http_trust_free(void *trust_store)
{
	X509_STORE_free(trust_store);
}
