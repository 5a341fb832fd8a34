#!/usr/bin/env bash
# Installs what the build needs on Debian 12 or 13, by name, and makes the source packages reachable.
# usage: setup-build.sh [arm64]     arm64 adds the cross compiler and the arm64 libraries
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib/apt.sh
. scripts/lib/apt.sh

own_sources=/etc/apt/sources.list.d/tiphys-src

# Source packages come from wherever this machine gets its Debian packages: each configured entry is
# repeated with deb-src, options and keyring included, because apt refuses two entries for one
# archive that name different keyrings.
# shellcheck disable=SC2016 # $(...) is apt's own notation
debian_entries() {
	apt-get indextargets --format '$(SOURCESENTRY)' 'Created-By: Packages' 'Origin: Debian' |
		sed 's/:[0-9]*$//' | sort -u
}

# shellcheck disable=SC2016 # $(...) is apt's own notation
enable_sources() {
	local file entries
	if [ -n "$(apt-get indextargets --format '$(RELEASE)' 'Created-By: Sources' 'Component: main')" ]; then
		say "source packages: enabled"
		return 0
	fi
	entries=$(debian_entries)
	if [ -z "$entries" ]; then
		apt_update
		entries=$(debian_entries)
	fi
	[ -n "$entries" ] || die "no Debian archive among the apt sources of this machine"
	for file in $entries; do
		case "$file" in
		*.sources)
			awk -v RS= -v ORS='\n\n' '/(^|\n)Types:[^\n]*deb/ {
				gsub(/(^|\n)#[^\n]*/, ""); sub(/^\n+/, "")
				sub(/Types:[^\n]*/, "Types: deb-src"); print
			}' "$file" | as_root tee -a "$own_sources.sources" >/dev/null
			;;
		*)
			sed -n 's/^[[:space:]]*deb[[:space:]]/deb-src /p' "$file" |
				as_root tee -a "$own_sources.list" >/dev/null
			;;
		esac
	done
	say "source packages: enabled in $own_sources.*"
}

# The lists may be absent (container images drop them) or older than the new entry.
refresh_source_lists() {
	if [ -z "$(apt-cache showsrc --only-source curl 2>/dev/null)" ]; then
		apt_update
	fi
}

enable_arm64() {
	if ! dpkg --print-foreign-architectures | grep -qx arm64; then
		say "arm64: added as a foreign architecture"
		as_root dpkg --add-architecture arm64
		apt_update
	fi
}

command -v apt-get >/dev/null 2>&1 || die "this script knows Debian only"
mapfile -t packages < <(package_list scripts/packages/build.txt)
install_packages "build" "${packages[@]}"
enable_sources
refresh_source_lists
if [ "${1:-}" = arm64 ] && [ "$(dpkg --print-architecture)" != arm64 ]; then
	enable_arm64
	mapfile -t packages < <(package_list scripts/packages/arm64.txt)
	install_packages "arm64" "${packages[@]}"
fi
