/* Every target; fuzz_<name>.c says what it does with its input. */
#pragma once

#include <stddef.h>

void fuzz_archive(const char *data, size_t size);
void fuzz_channel(const char *data, size_t size);
void fuzz_compress(const char *data, size_t size);
void fuzz_control(const char *data, size_t size);
void fuzz_engine(const char *data, size_t size);
void fuzz_entries(const char *data, size_t size);
void fuzz_files(const char *data, size_t size);
void fuzz_gc_task(const char *data, size_t size);
void fuzz_gzip(const char *data, size_t size);
void fuzz_headers(const char *data, size_t size);
void fuzz_ini(const char *data, size_t size);
void fuzz_journal(const char *data, size_t size);
void fuzz_json(const char *data, size_t size);
void fuzz_keys(const char *data, size_t size);
void fuzz_kube_status(const char *data, size_t size);
void fuzz_kubeconfig(const char *data, size_t size);
void fuzz_offers(const char *data, size_t size);
void fuzz_plugin(const char *data, size_t size);
void fuzz_s3_xml(const char *data, size_t size);
void fuzz_span(const char *data, size_t size);
void fuzz_template(const char *data, size_t size);
void fuzz_terminate(const char *data, size_t size);
void fuzz_times(const char *data, size_t size);
void fuzz_url(const char *data, size_t size);
void fuzz_zip(const char *data, size_t size);
