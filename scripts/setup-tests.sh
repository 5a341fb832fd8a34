#!/usr/bin/env bash
# Installs what demo, lint, tests and image need beside the build, on Debian 12 or 13.
# usage: setup-tests.sh [demo]      demo: only what the demo needs
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib/apt.sh
. scripts/lib/apt.sh

# A server that a package starts by itself would hold the ports and the data of the tests' own.
without_services() {
	local policy=/usr/sbin/policy-rc.d
	if [ -e "$policy" ]; then
		"$@"
		return
	fi
	printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
	as_root chmod 755 "$policy"
	trap 'as_root rm -f /usr/sbin/policy-rc.d' EXIT
	"$@"
	as_root rm -f "$policy"
	trap - EXIT
}

lists=(scripts/packages/demo.txt)
[ "${1:-}" = demo ] || lists+=(scripts/packages/tests.txt)
mapfile -t packages < <(for list in "${lists[@]}"; do package_list "$list"; done)
if [ -z "$(missing_packages "${packages[@]}")" ]; then
	install_packages "${1:-tests}" "${packages[@]}"
else
	without_services install_packages "${1:-tests}" "${packages[@]}"
fi
