#!/usr/bin/env bash
# Runs the pods of a two-step workflow against servers on loopback, and shows what they did.
# usage: demo.sh [POD.json]      a pod of your own instead
set -euo pipefail
pod=${1:+$(realpath "$1")}
cd "$(dirname "$0")/.."

if [ "$(id -u)" -ne 0 ]; then
	echo "demo.sh: pods need namespaces and mounts: run as root" >&2
	exit 1
fi
exec /usr/bin/python3 -m tests.demo ${pod:+"$pod"}
