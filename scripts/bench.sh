#!/usr/bin/env bash
# Measures the bars on this machine and prints them side by side; exit code 1 if one is missed.
# usage: bench.sh [NAME...]      see bench/__main__.py; ROWS=NAME,... does the same
# QUICK=1 is for trying: a sixteenth of every size.
# REFERENCE=/path/to/argoexec runs that binary through the same work.
set -euo pipefail
cd "$(dirname "$0")/.."

exec /usr/bin/python3 -m bench "$@"
