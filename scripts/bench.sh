#!/usr/bin/env bash
# Measures the bars on this machine and prints them side by side; exit code 1 if one is missed.
# usage: bench.sh [NAME...]      see bench/__main__.py; ONLY="NAME..." does the same
# REFERENCE=/path/to/argoexec runs that binary through the same work.
set -euo pipefail
cd "$(dirname "$0")/.."

read -ra only <<<"${ONLY:-}"
exec /usr/bin/python3 -m bench "$@" "${only[@]}"
