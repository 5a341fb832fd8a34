#!/usr/bin/env bash
# Lays out what the executor's images hold: DIRECTORY/base is their root without the binary,
# DIRECTORY/bin has the binary, so that each image can copy it with the owner it needs.
# usage: root.sh BINARY DIRECTORY
set -euo pipefail

binary=$1
directory=$2
# The CA bundle is where every TLS client on Debian looks for it.
bundle=/etc/ssl/certs/ca-certificates.crt

rm -rf "$directory"
install -d -m 755 "$directory" "$directory/bin" "$directory/base" "$directory/base/bin" "$directory/base/etc"
# Init containers get no volume at /tmp; any user may have to write there.
install -d -m 1777 "$directory/base/tmp"
install -m 555 "$binary" "$directory/bin/argoexec"
install -D -m 644 "$bundle" "$directory/base$bundle"

put() {
	cat >"$directory/base/etc/$1"
	chmod 644 "$directory/base/etc/$1"
}
put nsswitch.conf <<<'hosts: files dns'
# No row for 8737: its group would then differ from what the same user has in other images.
put passwd <<'EOF'
root:x:0:0:root:/:/sbin/nologin
nobody:x:65534:65534:nobody:/:/sbin/nologin
EOF
put group <<'EOF'
root:x:0:
nobody:x:65534:
EOF
printf '%s: laid out in %s\n' "${0##*/}" "$directory"
