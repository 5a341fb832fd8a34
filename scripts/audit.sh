#!/usr/bin/env bash
# Looks for faults without running anything, and says what the binary is made of: one line per step, and
# before it what is wrong. Some ten minutes on two cores.
# usage: audit.sh      (make audit builds what it looks at)
set -euo pipefail
cd "$(dirname "$0")/.."

python=/usr/bin/python3
failed=0

$python scripts/check/hardening.py build/argoexec || failed=1
$python scripts/check/sbom.py build/argoexec build/argoexec.spdx.json || failed=1
$python scripts/audit/analyze.py gcc || failed=1
$python scripts/audit/analyze.py clang || failed=1
exit "$failed"
