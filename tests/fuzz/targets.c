#include "tests/fuzz/targets.h"

#include "tests/fuzz/fuzz.h"

const struct fuzz_target fuzz_targets[] = {
	{ "archive", fuzz_archive },
	{ "channel", fuzz_channel },
	{ "compress", fuzz_compress },
	{ "control", fuzz_control },
	{ "engine", fuzz_engine },
	{ "entries", fuzz_entries },
	{ "files", fuzz_files },
	{ "gc_task", fuzz_gc_task },
	{ "gzip", fuzz_gzip },
	{ "headers", fuzz_headers },
	{ "ini", fuzz_ini },
	{ "journal", fuzz_journal },
	{ "json", fuzz_json },
	{ "keys", fuzz_keys },
	{ "kube_status", fuzz_kube_status },
	{ "kubeconfig", fuzz_kubeconfig },
	{ "offers", fuzz_offers },
	{ "plugin", fuzz_plugin },
	{ "s3_xml", fuzz_s3_xml },
	{ "span", fuzz_span },
	{ "template", fuzz_template },
	{ "terminate", fuzz_terminate },
	{ "times", fuzz_times },
	{ "url", fuzz_url },
	{ "zip", fuzz_zip },
	{ NULL, NULL },
};
