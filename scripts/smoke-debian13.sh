#!/usr/bin/env bash
# Builds the tree in a fresh Debian 13 and runs the result there.
# usage: smoke-debian13.sh      the root is kept in build/debian13 for the next run
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib/apt.sh
. scripts/lib/apt.sh

[ "$(id -u)" -eq 0 ] || die "debootstrap and chroot need root"
release=trixie
most=$((8 << 20))
root=$PWD/build/debian13

# The archive that this machine's own Debian comes from.
# shellcheck disable=SC2016 # $(...) is apt's own notation
mirror=$(apt-get indextargets --format '$(RELEASE) $(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Component: main' |
	awk '$1 !~ /-/ { print $2; exit }')
[ -n "$mirror" ] || die "no Debian archive among the apt sources of this machine"

if [ ! -e "$root/.complete" ]; then
	say "debootstrap $release"
	rm -rf "$root"
	mkdir -p build
	debootstrap --variant=minbase --include=make "$release" "$root" "$mirror" >build/debian13.log 2>&1 || {
		tail -5 build/debian13.log >&2
		die "debootstrap failed, see build/debian13.log"
	}
	printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: %s\n' "$mirror" "$release" \
		/usr/share/keyrings/debian-archive-keyring.gpg >"$root/etc/apt/sources.list.d/debian.sources"
	rm -f "$root/etc/apt/sources.list"
	cp /etc/apt/apt.conf.d/* "$root/etc/apt/apt.conf.d/"
	touch "$root/.complete"
	refresh=:
else
	# A root that was kept knows the archive as it was then.
	refresh="apt-get -qq update"
fi
cp /etc/resolv.conf /etc/hosts "$root/etc/"

say "copying the sources"
mkdir -p "$root/src/build"
find "$root/src" -mindepth 1 -maxdepth 1 ! -name build -exec rm -rf {} +
git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' name; do
	if [ -e "$name" ]; then printf '%s\0' "$name"; fi
done | tar --null -T - -cf - | tar -C "$root/src" -xf -

say "make in Debian $(cat "$root/etc/debian_version")"
# Mounts vanish with their namespace.
# shellcheck disable=SC2016 # expanded by the inner shell
unshare --mount --propagation private bash -euc '
	mount -t proc proc "$1/proc"
	mount --rbind /dev "$1/dev"
	unset MAKEFLAGS MFLAGS MAKELEVEL
	chroot "$1" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
		sh -euc "$2; cd /src && make && build/argoexec version && build/argoexec --help >/dev/null"
' bash "$root" "$refresh"
bytes=$(stat -c %s "$root/src/build/argoexec")
[ "$bytes" -le "$most" ] || die "Debian 13: $bytes bytes, more than $most"
say "Debian 13: $bytes bytes, runs"
