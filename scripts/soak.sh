#!/usr/bin/env bash
# Runs the long counts: random schedules in bare namespaces, random pods under random faults, and
# outages of stores and of the API server, and transfers that are cut; and what can happen to a report. Resumes what was interrupted.
# usage: soak.sh      SCHEDULES_COUNT=10000 SCHEDULES_FIRST=1 SOAK_SEEDS=500 SOAK_FIRST=1 in the environment
set -euo pipefail
cd "$(dirname "$0")/.."
python=/usr/bin/python3

if [ "$(id -u)" -ne 0 ]; then
	echo "soak.sh: pods need namespaces and mounts: run as root" >&2
	exit 1
fi
build/tests/test_report_model 'test_all*'
$python -m tests.schedules --soak
$python -m pytest -q -s -p no:cacheprovider tests/soak
$python -m tests.soak
