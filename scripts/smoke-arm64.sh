#!/usr/bin/env bash
# Runs the cross-built binary under qemu-user.
# usage: smoke-arm64.sh
set -euo pipefail
cd "$(dirname "$0")/.."

binary=build/arm64/argoexec
say() { printf 'smoke-arm64: %s\n' "$*"; }

readelf -h "$binary" | grep -q AArch64 || {
	say "$binary is not for arm64"
	exit 1
}
version=$(qemu-aarch64-static "$binary" version)
[[ $version == "argoexec: "* && $version == *"Platform: linux/arm64"* ]] || {
	say "unexpected version: $version"
	exit 1
}
say "${version%%$'\n'*}, $(stat -c %s "$binary") bytes"
# Read to its end: a reader that leaves early would end the program by SIGPIPE.
help=$(qemu-aarch64-static "$binary" --help)
[[ $help == *emissary* ]] || {
	say "the help names no subcommand"
	exit 1
}
say "help: ok"
