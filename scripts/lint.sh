#!/usr/bin/env bash
# Runs every static check; prints one line per step, and what is wrong before it.
# usage: lint.sh      LINT_ALL=1 gives clang-tidy every file instead of the changed ones
set -euo pipefail
cd "$(dirname "$0")/.."

python=/usr/bin/python3
failed=0

# Tracked and new files that match the patterns.
files() { git ls-files --cached --others --exclude-standard -- "$@" | while read -r f; do [ ! -f "$f" ] || echo "$f"; done; }

# step NAME COUNT COMMAND...: runs one check.
step() {
	local name=$1 count=$2 status=0
	shift 2
	"$@" || status=$?
	if [ "$status" -eq 0 ]; then
		echo "lint: $name: ok ($count files)"
	else
		echo "lint: $name: failed"
		failed=1
	fi
}

# Files that differ from the commit before HEAD, with the sources of changed headers. A tree without
# such a commit is all new, and new rules concern every file.
changed_sources() {
	local all=$1 changed
	if [ -n "${LINT_ALL:-}" ] || ! git rev-parse --verify -q HEAD~ >/dev/null ||
		! git diff --quiet HEAD~ -- .clang-tidy; then
		printf '%s\n' "$all"
		return
	fi
	changed=$(git diff --name-only HEAD~ -- '*.c' '*.h' && git ls-files --others --exclude-standard -- '*.c' '*.h')
	grep -Fx -f <(printf '%s\n' "${changed//.h/.c}") <<<"$all" || true
}

# shellcheck disable=SC2317 # called through step
format() {
	clang-format --dry-run -Werror "$@" 2>&1 | sed -n 's/^\([^:]*\):[0-9:]* error: .*/\1/p' | sort | uniq -c |
		sed 's/^ *\([0-9]*\) \(.*\)/\2: \1 places to format: clang-format -i \2/'
	return "${PIPESTATUS[0]}"
}

# One line per finding; `clang-tidy -p . FILE` tells the path that leads to it.
# shellcheck disable=SC2016,SC2317 # expanded by the inner shell; called through step
tidy() {
	local status=0
	printf '%s\0' "$@" | xargs -0 -n 1 -P "$(nproc)" nice bash -c '
		clang-tidy --quiet -p . "$1" 2>/dev/null | grep -aE --line-buffered ": (error|warning): "
		exit "${PIPESTATUS[0]}"' bash >build/clang-tidy.log || status=$?
	sed "s|^$PWD/||; s|^\./||" build/clang-tidy.log | sort -u
	return "$status"
}

mapfile -t c_files < <(files '*.c' '*.h')
mapfile -t tidy_files < <(changed_sources "$(files '*.c')" | sed '/^$/d')
mapfile -t shell_files < <(
	files '*.sh' '.ci/run'
	files 'scripts' 'tests' 'bench' 'deploy' | grep -v '\.[a-z0-9]*$' | while read -r f; do
		if head -c 64 "$f" | grep -aq '^#!.*\(bash\|/sh\)'; then echo "$f"; fi
	done || true
)
mapfile -t python_files < <(files '*.py')

step clang-format "${#c_files[@]}" format "${c_files[@]}"
$python scripts/lint/layers.py || failed=1
$python scripts/lint/budgets.py || failed=1
$python scripts/store_docs.py || failed=1
step shellcheck "${#shell_files[@]}" shellcheck -x "${shell_files[@]}"
step pyflakes "${#python_files[@]}" $python -m pyflakes "${python_files[@]}"
if [ "${#tidy_files[@]}" -gt 0 ]; then
	step clang-tidy "${#tidy_files[@]}" tidy "${tidy_files[@]}"
else
	echo "lint: clang-tidy: ok (no C file changed)"
fi
exit "$failed"
