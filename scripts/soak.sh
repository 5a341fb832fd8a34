#!/usr/bin/env bash
# Runs the long counts: random pods under random faults, and outages that outlast every retry.
# usage: soak.sh      SOAK_SEEDS=500 SOAK_FIRST=1 in the environment; resumes what was interrupted
set -euo pipefail
cd "$(dirname "$0")/.."
python=/usr/bin/python3

if [ "$(id -u)" -ne 0 ]; then
	echo "soak.sh: pods need namespaces and mounts: run as root" >&2
	exit 1
fi
$python -m pytest -q -p no:cacheprovider tests/soak
$python -m tests.soak
