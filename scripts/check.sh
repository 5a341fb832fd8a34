#!/usr/bin/env bash
# Builds everything and runs every test. The last line is 'N passed, N failed, N skipped'.
# usage: check.sh [STAGE...]      stages: binary unit integration sanitizer (all of them by default)
# Results are left in build/check, as JUnit XML and logs.
set -euo pipefail
cd "$(dirname "$0")/.."

# The build below is a make of its own, also when `make check` runs this script.
unset MAKEFLAGS MFLAGS MAKELEVEL
python=/usr/bin/python3
results=$PWD/build/check
failed=0

# Prints what starts now, and when.
stage() { printf 'check: %s (at %d s)\n' "$*" "$SECONDS"; }

export ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1:detect_stack_use_after_return=1:color=never
export UBSAN_OPTIONS=print_stacktrace=1
export LSAN_OPTIONS=report_objects=1

build() {
	stage "build"
	nice make all probes planted
	nice make SAN=address,undefined all unit-tests fuzz-replay
}

# The API server of tests/integration/test_apiserver.py takes minutes the first time, and lies in a cache
# from then on. Without it those tests are skipped, except in CI, where they fail.
cluster() {
	nice $python -m tests.servers.kubernetes_build >"$results/kubernetes.log" 2>&1 || true
	stage "kubernetes: $(tail -n 1 "$results/kubernetes.log")"
}

# run_again NAME BINARY: the few tests that failed, alone; 0 if all of them pass now.
run_again() {
	local name=$1 binary=$2 ids
	mapfile -t ids < <($python scripts/check/again.py list "$results/$name.xml")
	[ "${#ids[@]}" -gt 0 ] || return 1
	stage "$name: again, alone: ${ids[*]}"
	ARGOEXEC=$PWD/$binary $python -m pytest -q -p no:cacheprovider --junitxml="$scratch/again.xml" \
		--basetemp="$scratch/$name-again" "${ids[@]}" </dev/null || true
	[ -f "$scratch/again.xml" ] || return 1
	$python scripts/check/again.py merge "$results/$name.xml" "$scratch/again.xml"
}

# pytest_stage NAME BINARY PYTEST-OPTION...: the integration tests with one binary.
pytest_stage() {
	local name=$1 binary=$2 status=0
	shift 2
	stage "$name: integration tests with $binary"
	ARGOEXEC=$PWD/$binary $python -m pytest -q -p no:cacheprovider -o junit_suite_name="$name" \
		--junitxml="$results/$name.xml" --basetemp="$scratch/$name" "$@" tests/integration </dev/null ||
		status=$?
	if [ "$status" -eq 1 ] && run_again "$name" "$binary"; then
		status=0
	fi
	if [ "$status" -ne 0 ]; then
		failed=1
		[ -f "$results/$name.xml" ] || $python scripts/check/junit.py "$results/$name.xml" "$name" "pytest exit $status"
	fi
}

# A report of a sanitizer in a log that no test looked at counts as a failure.
scan_reports() {
	local reports report='^==[0-9]+==ERROR: (Address|Leak)Sanitizer|[0-9]: runtime error: '
	# Not in binaries: a copy of the sanitizers' build holds these words, too.
	reports=$(grep -rlIE "$report" "$scratch/sanitizer" 2>/dev/null || true)
	if [ -n "$reports" ]; then
		mkdir -p "$results/reports"
		while read -r file; do
			grep -E -A 20 "$report" "$file" | head -40
			cp "$file" "$results/reports/"
		done <<<"$reports"
		$python scripts/check/junit.py "$results/reports.xml" sanitizer-reports "see build/check/reports"
		failed=1
	fi
}

run_stage() {
	case "$1" in
	binary)
		stage "binary: build/argoexec"
		$python scripts/check/binary.py build/argoexec "$results/binary.xml" || failed=1
		;;
	unit)
		stage "unit tests with sanitizers"
		$python scripts/check/unit.py build/san/tests "$results/unit" || failed=1
		$python scripts/check/corpus.py build/san/fuzz/replay "$results/corpus" || failed=1
		;;
	integration) pytest_stage integration build/argoexec ;;
	sanitizer)
		# Left out: tests of the tests' own servers and runner, of the image and of what is
		# around the binary. They would run the same code again.
		pytest_stage sanitizer build/san/argoexec -m "not bar" \
			--ignore-glob='*/test_servers*.py' --ignore-glob='*/test_pod_runner*.py' \
			--ignore-glob='*/test_s3_store.py' --ignore-glob='*/test_oss_store.py' --ignore-glob='*/test_image.py' \
			--ignore-glob='*/test_apiserver.py' --ignore-glob='*/test_demo.py' --ignore-glob='*/test_deploy.py'
		scan_reports
		;;
	*)
		echo "check: no such stage: $1" >&2
		exit 64
		;;
	esac
}

rm -rf "$results"
mkdir -p "$results/unit"
# Short, because sockets live below it and their paths end at 107 bytes.
scratch=$(mktemp -d "${TMPDIR:-/tmp}/tiphys.XXXXXX")
trap 'rm -rf "$scratch"' EXIT

stages=("$@")
[ "${#stages[@]}" -gt 0 ] || stages=(binary unit integration sanitizer)
cluster=
case " ${stages[*]} " in
*" integration "* | *" sanitizer "*)
	cluster &
	cluster=$!
	;;
esac
if build; then
	# Tests that measure time want the machine for themselves.
	[ -z "$cluster" ] || wait "$cluster"
	for name in "${stages[@]}"; do
		run_stage "$name"
	done
else
	failed=1
	$python scripts/check/junit.py "$results/build.xml" build "the build failed"
fi
stage "done, results in build/check"
$python scripts/check/total.py "$results" || failed=1
exit "$failed"
