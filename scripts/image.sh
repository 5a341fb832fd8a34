#!/usr/bin/env bash
# Builds the executor's two images from the Dockerfile with buildah, and checks them.
# usage: image.sh [--prebuilt BINARY] [--out DIRECTORY]
#   --prebuilt BINARY   put this binary in instead of building one inside Debian 12
#   --out DIRECTORY     where the unpacked images and archives go; build/image by default
# DIRECTORY/NAME/ is an image unpacked (rootfs, config.json); DIRECTORY/NAME.tar is what
# `docker load`, `podman load` and `ctr images import` read. Layers and the Debian base stay in
# build/image for the next run.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib/apt.sh
. scripts/lib/apt.sh

prebuilt=
out=build/image
while [ $# -gt 0 ]; do
	case "$1" in
	--prebuilt) prebuilt=$(realpath "$2") ;;
	--out) out=$2 ;;
	*) die "usage: image.sh [--prebuilt BINARY] [--out DIRECTORY]" ;;
	esac
	shift 2
done

[ "$(id -u)" -eq 0 ] || die "buildah and the pod runner need root here"
command -v buildah >/dev/null 2>&1 || die "buildah is not installed: scripts/setup-tests.sh does it"

base=debian:bookworm-slim
cache=$PWD/build/image
storage_mib_max=4096
mkdir -p "$cache" "$out"
out=$(realpath "$out")
scratch=$(mktemp -d "$cache/.work.XXXXXX")
trap 'rm -rf "$scratch"' EXIT

# An overlay cannot lie on another one.
driver=overlay
[ "$(stat -f -c %T "$cache")" != overlayfs ] || driver=vfs
buildah() { command buildah --root "$cache/storage" --runroot "$cache/run" --storage-driver "$driver" "$@"; }

# The release's own archive, as this machine's apt knows it.
debian_mirror() {
	# shellcheck disable=SC2016 # $(...) is apt's own notation
	apt-get indextargets --format '$(RELEASE) $(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Component: main' |
		awk '$1 !~ /-/ { print $2; exit }'
}

# The Debian base: kept, or from a registry, or made from packages.
provide_base() {
	local mirror container
	if buildah inspect --type image "$base" >/dev/null 2>&1; then
		say "base: $base, kept"
		return
	fi
	if timeout 120 buildah pull -q "$base" >/dev/null 2>&1; then
		say "base: $base, from its registry"
		return
	fi
	mirror=$(debian_mirror)
	[ -n "$mirror" ] || die "no registry in reach, and no Debian archive among the apt sources"
	say "base: no registry in reach, debootstrap bookworm"
	debootstrap --variant=minbase bookworm "$scratch/base" "$mirror" >"$cache/debootstrap.log" 2>&1 || {
		tail -5 "$cache/debootstrap.log" >&2
		die "debootstrap failed, see $cache/debootstrap.log"
	}
	# What this machine needs to reach its packages, the base needs too.
	cp /etc/apt/apt.conf.d/* "$scratch/base/etc/apt/apt.conf.d/"
	container=$(buildah from scratch)
	tar -C "$scratch/base" -cf "$scratch/base.tar" .
	buildah add -q "$container" "$scratch/base.tar" / >/dev/null
	buildah commit -q --rm "$container" "$base" >/dev/null
	rm -rf "$scratch/base" "$scratch/base.tar"
}

# Each build of other sources leaves layers behind.
drop_old_layers() {
	if [ "$(du -sm "$cache/storage" 2>/dev/null | cut -f 1)" -gt "$storage_mib_max" ]; then
		say "dropping the layers of earlier builds"
		buildah rmi --prune >/dev/null
	fi
}

# Libraries once rebuilt inside the base are lent to the next build, which verifies them.
lend_libraries() {
	local own=$cache/deps
	mkdir -p "$own"
	# shellcheck source=/dev/null
	. /etc/os-release
	if [ "${VERSION_ID:-}" = 12 ] && [ -z "$(ls -A "$own")" ] && [ -e build/deps/"$(uname -m)"/stamp ]; then
		cp -a build/deps/. "$own/"
	fi
	volumes=(--volume "$own:/src/build/deps")
}

# build TARGET DOCKERFILE: one image; what it is built from is in "${volumes[@]}".
build() {
	local target=$1 file=$2 log=$cache/$1.log
	say "$target: building"
	buildah bud --isolation chroot --network host --layers --timestamp "$epoch" \
		--build-arg ARGOEXEC_VERSION="${ARGOEXEC_VERSION:-}" "${volumes[@]}" \
		--target "$target" --tag "tiphys/$target:latest" --file "$file" . >"$log" 2>&1 || {
		tail -20 "$log" >&2
		die "$target: buildah failed, see $log"
	}
}

config_of='import json, sys; json.dump(json.load(sys.stdin)["OCIv1"]["config"], sys.stdout, indent=1)'

# unpack TARGET: root, config and archive, where others can use them.
unpack() {
	local target=$1 image=tiphys/$1:latest container root
	rm -rf "${out:?}/$target" "$out/$target.tar"
	mkdir -p "$out/$target"
	container=$(buildah from --pull-never "$image")
	root=$(buildah mount "$container")
	cp -a "$root" "$out/$target/rootfs"
	buildah umount "$container" >/dev/null
	buildah rm "$container" >/dev/null
	buildah inspect --type image "$image" | /usr/bin/python3 -c "$config_of" >"$out/$target/config.json"
	buildah push -q "$image" "docker-archive:$out/$target.tar:$image"
}

epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || stat -c %Y Makefile)}
if [ -n "$prebuilt" ]; then
	# The final stages as they are; their build stage is a folder laid out here.
	sed -n '/^FROM scratch/,$p' Dockerfile >"$scratch/Dockerfile"
	scripts/image/root.sh "$prebuilt" "$scratch/stage/image" >/dev/null
	volumes=(--build-context "build=$scratch/stage")
	file=$scratch/Dockerfile
else
	provide_base
	drop_old_layers
	lend_libraries
	file=Dockerfile
fi
for target in argoexec argoexec-nonroot; do
	build "$target" "$file"
	unpack "$target"
	/usr/bin/python3 scripts/image/check.py "$out/$target"
done
say "images: $out/argoexec.tar, $out/argoexec-nonroot.tar"
