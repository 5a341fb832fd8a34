# shellcheck shell=bash
# Helpers of the set-up scripts: what is missing is found without apt, so that a second run is free.
# Sourced, not run.

say() { printf '%s: %s\n' "${0##*/}" "$*"; }

die() {
	printf '%s: error: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

# Runs a command as root: as it is, or through sudo.
as_root() {
	if [ "$(id -u)" -eq 0 ]; then
		env DEBIAN_FRONTEND=noninteractive "$@"
	elif command -v sudo >/dev/null 2>&1; then
		sudo -n env DEBIAN_FRONTEND=noninteractive "$@"
	else
		die "needs root or sudo to run: $*"
	fi
}

# Waits for another apt or dpkg instead of failing beside it.
apt() { as_root apt-get -qq -o DPkg::Lock::Timeout=600 -o Dpkg::Use-Pty=0 "$@" </dev/null; }

# apt-get update takes no lock option for the lists, so a second one beside us is waited for here.
apt_update() {
	local lock=/var/lib/apt/lists/lock
	say "refreshing the package lists"
	if [ "$(id -u)" -eq 0 ] && [ -e "$lock" ] && command -v flock >/dev/null 2>&1; then
		flock -w 600 "${TMPDIR:-/tmp}/tiphys-apt-update.lock" apt-get -qq update </dev/null
	else
		apt update
	fi
}

# package_list FILE: the names in FILE, one a line; what follows a '#' is the reason.
package_list() { sed -e 's/#.*//' -e 's/[[:space:]]//g' -e '/^$/d' "$1"; }

native=$(dpkg --print-architecture)

# missing_packages NAME...: those of the names that are not fully installed.
missing_packages() {
	local name status
	local -A have=()
	while read -r status name; do
		if [ "$status" = ii ]; then
			have[${name%:"$native"}]=1
			have[$name]=1
		fi
	done < <(dpkg-query -W -f '${db:Status-Abbrev} ${binary:Package}\n' 2>/dev/null)
	for name in "$@"; do
		[ -n "${have[$name]:-}" ] || printf '%s\n' "$name"
	done
}

# install_packages WHAT NAME...: installs what is missing; the lists are refreshed only if they do not know it.
install_packages() {
	local what=$1 name
	local -a missing=()
	shift
	mapfile -t missing < <(missing_packages "$@")
	if [ "${#missing[@]}" -eq 0 ]; then
		say "$what: all $# packages are installed"
		return 0
	fi
	for name in "${missing[@]}"; do
		if ! apt-cache show --no-all-versions "$name" >/dev/null 2>&1; then
			apt_update
			break
		fi
	done
	say "$what: installing ${missing[*]}"
	if ! apt install -y --no-install-recommends "${missing[@]}" >/dev/null; then
		# A list older than the mirror names files that are gone.
		apt_update
		apt install -y --no-install-recommends "${missing[@]}" >/dev/null
	fi
}
