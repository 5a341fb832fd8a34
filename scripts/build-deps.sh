#!/usr/bin/env bash
# Rebuilds, from the distribution's source packages, the libraries that have no usable static build.
# usage: build-deps.sh [x86_64|arm64|fuzz]
# fuzz: for this machine, by clang, with what libFuzzer and AddressSanitizer want to see inside of those
# libraries that parse for us; the others must have been built before.
# Result: build/deps/ARCH/{include,lib} and build/deps/ARCH/stamp. A library is built again only when
# its source version, its recipe, the flags or the compiler changed.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib/apt.sh
. scripts/lib/apt.sh

arch=${1:-$(uname -m)} variant=
if [ "$arch" = fuzz ]; then
	variant=fuzz arch=$(uname -m)
fi
case "$arch" in
x86_64) triplet=x86_64-linux-gnu harden=-fcf-protection=full ;;
arm64 | aarch64) arch=arm64 triplet=aarch64-linux-gnu harden=-mbranch-protection=standard ;;
*) die "unknown architecture '$arch' (x86_64, arm64 or fuzz)" ;;
esac

cc=$triplet-gcc
ar=$triplet-gcc-ar
root=$PWD/build/deps
output=${variant:-$arch}
prefix=$root/$output
jobs=$(nproc)
debian_arch=${arch/x86_64/amd64}
dev_packages=()
for name in libssl zlib1g libzstd libc-ares libnghttp2 libexpat1 libpcre2 libjson-c libyaml libargon2 libc6; do
	dev_packages+=("$name-dev:$debian_arch")
done
# Used by the program alone: no library is built against them.
program_packages=("libcap-dev:$debian_arch" "libseccomp-dev:$debian_arch")
cppflags="-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2"
cflags="-Os -g0 -ffunction-sections -fdata-sections -fPIE -fstack-protector-strong -fstack-clash-protection $harden"
if [ -n "$variant" ]; then
	cc=clang
	cppflags=-U_FORTIFY_SOURCE
	cflags="-O1 -g -fPIE -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,address"
fi
export PKG_CONFIG_LIBDIR=$root/$arch/lib/pkgconfig:/usr/lib/$triplet/pkgconfig:/usr/share/pkgconfig

# configure_in DIR SOURCE OPTION...: an out-of-tree configure, quiet unless it fails.
configure_in() {
	local dir=$1 source=$2
	shift 2
	rm -rf "$dir"
	mkdir -p "$dir"
	(
		cd "$dir"
		"$source/configure" -q --host="$triplet" --prefix="$prefix" --libdir="$prefix/lib" \
			--disable-shared --enable-static --disable-dependency-tracking \
			CC="$cc" AR="$ar" CPPFLAGS="$cppflags" CFLAGS="$cflags -ffile-prefix-map=$root=deps" "$@"
	)
}

# TLS 1.2 and later, certificates, hashes. From 3.2 on the distribution's own brings QUIC, HPKE and
# post-quantum signatures into every program, 2.5 MiB that nothing here uses. Key exchange keeps ML-KEM.
build_openssl() {
	local source=$1 work=$2 target
	case "$triplet" in
	x86_64*) target=linux-x86_64 ;;
	*) target=linux-aarch64 ;;
	esac
	rm -rf "$work"
	mkdir -p "$work"
	cd "$work"
	CC=$cc AR=$ar CPPFLAGS=$cppflags CFLAGS="$cflags -ffile-prefix-map=$root=deps" "$source/Configure" \
		"$target" --prefix="$prefix" --libdir=lib --openssldir=/usr/lib/ssl \
		no-shared no-module no-legacy no-dso no-engine no-apps no-docs no-tests no-ui-console \
		no-async no-comp no-filenames no-http no-ocsp no-cms no-cmp no-ts no-ct no-rfc3779 \
		no-quic no-dtls no-srtp no-srp no-psk no-nextprotoneg no-multiblock no-ssl3 no-tls1 no-tls1_1 \
		no-weak-ssl-ciphers no-gost no-sm2 no-sm3 no-sm4 no-aria no-camellia no-seed no-idea no-cast \
		no-bf no-des no-rc2 no-rc4 no-rc5 no-md4 no-mdc2 no-whirlpool no-rmd160 no-blake2 no-scrypt \
		no-argon2 no-siphash no-siv no-ocb no-dsa no-ec2m no-ml-dsa no-slh-dsa
	make -s build_generated
	make -s -j"$jobs" libcrypto.a libssl.a
	make -s install_dev
}

# HTTP(S) and proxies, nothing else. Cookies stay: load balancers in front of stores pin sessions with
# them. No CA path is compiled in: the caller names one, or OpenSSL's SSL_CERT_FILE and SSL_CERT_DIR do.
# One fault of 7.88 is corrected, found by a plugin's answer of 4 MiB: whether HTTP/2 frames are left in
# its buffer is compared the wrong way round, and a transfer whose socket is empty by then never ends.
build_curl() {
	local source=$1 work=$2
	sed -i 's/ctx->nread_inbuf > ctx->inbuflen/ctx->nread_inbuf < ctx->inbuflen/' "$source/lib/http2.c"
	[ -f "$source/configure" ] || (cd "$source" && autoreconf -fi)
	configure_in "$work" "$source" \
		--with-openssl --with-zlib --with-nghttp2 --enable-ares \
		--without-ca-bundle --without-ca-path --with-ca-fallback \
		--without-zstd --without-brotli --without-libpsl --without-libidn2 --without-librtmp \
		--without-libssh2 --without-libssh --without-gssapi --without-libgsasl --without-nghttp3 \
		--without-ngtcp2 --disable-ldap --disable-ldaps --disable-dict --disable-file --disable-ftp \
		--disable-gopher --disable-imap --disable-mqtt --disable-pop3 --disable-rtsp --disable-smb \
		--disable-smtp --disable-telnet --disable-tftp --disable-manual --disable-libcurl-option \
		--disable-ntlm --disable-tls-srp --disable-alt-svc --disable-hsts \
		--disable-netrc --disable-doh --disable-aws --disable-kerberos-auth --disable-negotiate-auth \
		--disable-form-api --disable-mime --disable-socketpair --disable-websockets --disable-ipfs --disable-versioned-symbols
	make -C "$work/lib" -s -j"$jobs"
	make -C "$work/lib" -s install
	make -C "$work/include" -s install
	install -m 755 "$work/curl-config" "$prefix/bin/curl-config"
}

# tar and zip, gzip and zstd; reads and writes streams, never a disk, so neither ACLs nor xattrs.
build_libarchive() {
	local source=$1 work=$2
	# The shipped configure was made by a libtool that is not the distribution's.
	(cd "$source" && autoreconf -fi)
	configure_in "$work" "$source" \
		--with-zlib --with-zstd --without-bz2lib --without-lzma --without-lz4 --without-lzo2 \
		--without-libb2 --without-iconv --without-xml2 --without-expat --without-nettle \
		--without-openssl --disable-acl --disable-xattr --disable-bsdtar --disable-bsdcpio \
		--disable-bsdcat --disable-bsdunzip
	make -C "$work" -s -j"$jobs" libarchive.la
	make -C "$work" -s install-libLTLIBRARIES install-includeHEADERS
}

# deflate and inflate at several times zlib's speed. A program takes from it what it uses: igzip, CRC.
build_libisal() {
	local source=$1 work=$2
	(cd "$source" && autoreconf -fi)
	configure_in "$work" "$source"
	make -C "$work" -s -j"$jobs" libisal.la
	make -C "$work" -s install-libLTLIBRARIES install-pkgincludeHEADERS install-nobase_includeHEADERS
}

# HTTP/1.1, WebSocket and TLS for the control socket: server side only, on our own loop.
# One fault is corrected, found by `make fuzz T=control`: a pipelined request with a body is read
# from a buffer that its own headers still fill. The loop that empties it, meant for HTTP/2, would take
# the headers for the body, and never end.
# libcap is not asked for: where it happens to be installed, nothing here needs its users and groups.
build_libwebsockets() {
	local source=$1 work=$2 server=$1/lib/roles/http/server/server.c
	sed -i '/At this point we have transitioned from deferred/,/while (1)/s/while (1)/while (wsi->mux_substream)/' "$server"
	grep -q 'while (wsi->mux_substream)' "$server"
	rm -rf "$work"
	cmake -S "$source" -B "$work" -DCMAKE_BUILD_TYPE=None -DCMAKE_SYSTEM_NAME=Linux \
		-DCMAKE_C_COMPILER="$cc" -DCMAKE_AR="$(command -v "$ar")" \
		-DCMAKE_C_FLAGS="$cppflags $cflags -ffile-prefix-map=$root=deps" \
		-DLWS_WITH_EXTERNAL_POLL=ON -DLWS_AVOID_SIGPIPE_IGN=ON -DDISABLE_WERROR=ON \
		-DLWS_WITH_SHARED=OFF -DLWS_WITHOUT_CLIENT=ON -DLWS_WITHOUT_TESTAPPS=ON -DLWS_WITH_SSL=ON \
		-DLWS_WITH_HTTP2=OFF -DLWS_WITH_HTTP_BASIC_AUTH=OFF -DLWS_WITH_LEJP=OFF \
		-DLWS_WITH_LEJP_CONF=OFF -DLWS_WITH_LWSAC=OFF -DLWS_WITH_SYS_SMD=OFF \
		-DLWS_WITH_SYS_STATE=OFF -DLWS_WITH_UDP=OFF -DLWS_WITH_DIR=OFF \
		-DLWS_WITH_CUSTOM_HEADERS=OFF -DLWS_ROLE_RAW_FILE=OFF -DLWS_WITH_NO_LOGS=ON \
		-DLWS_HAVE_LIBCAP=OFF
	make -C "$work" -s -j"$jobs" websockets
	install -m 644 "$work/lib/libwebsockets.a" "$prefix/lib/libwebsockets.a"
	install -m 644 "$source/include/libwebsockets.h" "$prefix/include/libwebsockets.h"
	find "$work" -name lws_config.h -exec install -m 644 {} "$prefix/include/lws_config.h" \;
	rm -rf "$prefix/include/libwebsockets"
	cp -r "$source/include/libwebsockets" "$prefix/include/libwebsockets"
}

source_version() {
	apt-cache showsrc --only-source "$1" 2>/dev/null | sed -n 's/^Version: //p' | sort -V | tail -1
}

# distribution_libraries PACKAGE...: the static libraries that are used as the distribution ships them.
distribution_libraries() {
	dpkg-query -W -f '${Package} ${Version}\n' "$@"
}

# recipe NAME: everything but the source version that decides what the library becomes.
recipe() {
	{
		declare -f "build_$1" configure_in
		printf '%s\n' "$cppflags" "$cflags"
		if [ "$cc" = clang ]; then clang -dumpversion; else "$cc" -dumpfullversion; fi
		distribution_libraries "${dev_packages[@]}"
		if [ "$1" != openssl ]; then cat "$root/$arch/.openssl" 2>/dev/null || true; fi
	} | sha256sum | cut -c1-16
}

get_source() { apt-get -qq -o APT::Sandbox::User=root source --only-source "$@" </dev/null; }

# unpack_parts NAME=VERSION: as dpkg-source does it, for a mirror that has lost the package's .dsc. The
# signed index, which apt goes by, vouches for each part.
unpack_parts() {
	local patch
	get_source --tar-only "$1"
	get_source --diff-only "$1"
	mkdir tree
	tar -C tree --strip-components=1 -xf ./*.orig.tar.*
	tar -C tree -xf ./*.debian.tar.*
	while read -r patch _; do
		patch -d tree -s -p1 <"tree/debian/patches/$patch"
	done < <(sed -e 's/#.*//' -e '/^[[:space:]]*$/d' tree/debian/patches/series)
}

# fetch NAME VERSION: unpacks a source package, once for all architectures; 1 if it cannot be had.
fetch() {
	local name=$1 version=$2 dir=$root/src/$1-$2
	[ ! -e "$dir/.complete" ] || return 0
	rm -rf "$dir"
	mkdir -p "$dir"
	(cd "$dir" && get_source "$name=$version") >"$dir/log" 2>&1 ||
		(cd "$dir" && bash -c "$fetch_parts" fetch "$name=$version") >>"$dir/log" 2>&1 || return 1
	touch "$dir/.complete"
}

# tree_of NAME VERSION: prints the unpacked source tree.
tree_of() {
	local dir=$root/src/$1-$2 tree
	tree=$(find "$dir" -mindepth 1 -maxdepth 1 -type d)
	[ -f "$tree/debian/control" ] || die "unexpected content of $dir"
	printf '%s\n' "$tree"
}

# build NAME LIBRARY: brings one library up to date.
build() {
	local name=$1 library=$2 version key stamp=$prefix/.$1 tree
	version=$(source_version "$name")
	if [ -z "$version" ]; then
		# Without package lists a library that was built before is as good as it gets.
		version=$(cut -d' ' -f1 "$stamp" 2>/dev/null) || die "no source package '$name': run scripts/setup-build.sh"
	fi
	key=$(recipe "$name")
	if [ -f "$prefix/lib/$library" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$version $key" ]; then
		say "$output: $name $version is up to date"
		return 0
	fi
	if ! fetch "$name" "$version"; then
		# A list older than the mirror names a version that is gone.
		apt_update
		version=$(source_version "$name")
		fetch "$name" "$version" || {
			tail -5 "$root/src/$name-$version/log" >&2
			die "cannot get the source package $name $version"
		}
	fi
	say "$output: building $name $version"
	rm -f "$stamp"
	tree=$(tree_of "$name" "$version")
	nice -n 5 bash -c "$build_one" build "build_$name" "$tree" "$root/work/$output-$name" \
		>"$root/work/$output-$name.log" 2>&1 || {
		tail -20 "$root/work/$output-$name.log" >&2
		die "$name failed to build, see build/deps/work/$output-$name.log"
	}
	printf '%s\n' "$version $key" >"$stamp"
}

# Proves that every library links into a static-PIE program and has the features that we rely on.
verify() {
	local work=$root/work/$arch-verify feature features
	features=$("$prefix/bin/curl-config" --features)
	for feature in SSL libz AsynchDNS HTTP2 UnixSockets; do
		grep -qx "$feature" <<<"$features" || die "libcurl lacks $feature"
	done
	mkdir -p "$work"
	cat >"$work/verify.c" <<-'PROGRAM'
		#define PCRE2_CODE_UNIT_WIDTH 8
		#include <archive.h>
		#include <curl/curl.h>
		#include <isa-l.h>
		#include <libwebsockets.h>
		#include <expat.h>
		#include <json-c/json.h>
		#include <openssl/evp.h>
		#include <pcre2.h>
		#include <seccomp.h>
		#include <stdio.h>
		#include <string.h>
		#include <sys/capability.h>

		int main(void)
		{
			const curl_version_info_data *v = curl_version_info(CURLVERSION_NOW);
			struct archive *a = archive_write_new();
			struct json_object *json = json_tokener_parse("{\"a\":1}");
			XML_Parser xml = XML_ParserCreate(NULL);
			int n;

			for (n = 0; v->protocols[n]; n++)
				if (strcmp(v->protocols[n], "http") && strcmp(v->protocols[n], "https"))
					return 2;
			if (n != 2 || !v->ares || !(v->features & CURL_VERSION_HTTP2))
				return 3;
			if (archive_write_add_filter_gzip(a) || archive_write_add_filter_zstd(a) ||
			    archive_write_set_format_pax_restricted(a))
				return 4;
			if (!json || !xml || !EVP_sha256() || pcre2_config(PCRE2_CONFIG_UNICODE, &n) < 0)
				return 5;
			if (crc32_gzip_refl(0, (const unsigned char *)"123456789", 9) != 0xcbf43926)
				return 6;
			if (!seccomp_version() || cap_max_bits() <= CAP_SYS_ADMIN)
				return 7;
			printf("ISA-L %d.%d, libcurl %s, c-ares %s, %s, nghttp2 %s, %s, json-c %s, %s, libwebsockets %s\n",
			       ISAL_MAJOR_VERSION, ISAL_MINOR_VERSION, v->version, v->ares, v->ssl_version, v->nghttp2_version,
			       archive_version_string(), json_c_version(), XML_ExpatVersion(),
			       lws_get_library_version());
			json_object_put(json);
			XML_ParserFree(xml);
			archive_write_free(a);
			return 0;
		}
	PROGRAM
	# shellcheck disable=SC2086 # the flags are lists
	"$cc" $cflags -static-pie -I"$prefix/include" "$work/verify.c" -o "$work/verify" -L"$prefix/lib" \
		-Wl,--gc-sections -lwebsockets -lcurl -larchive -lnghttp2 -lcares -lssl -lcrypto -lexpat \
		-lpcre2-8 -ljson-c -lyaml -lzstd -lz -lisal -lseccomp -lcap >"$work/link.log" 2>&1 || {
		tail -20 "$work/link.log" >&2
		die "the libraries do not link into a static program"
	}
	if [ "$arch" = "$(uname -m)" ]; then
		"$work/verify" >"$work/versions" || die "the libraries lack a feature (code $?)"
		say "$arch: verified $(cat "$work/versions")"
	else
		say "$arch: verified that all libraries link"
	fi
}

mkdir -p "$root/src" "$root/work" "$prefix/lib" "$prefix/include" "$prefix/bin"
# Two builds at once, from two terminals, must not unpack over each other.
exec 9>"$root/.lock"
flock 9

libraries="curl:libcurl.a libarchive:libarchive.a libisal:libisal.a libwebsockets:libwebsockets.a"
if dpkg --compare-versions "$(dpkg-query -W -f '${Version}' "libssl-dev:$debian_arch")" ge 3.2; then
	libraries="openssl:libcrypto.a $libraries"
	cppflags+=" -isystem $root/$arch/include"
fi
[ -z "$variant" ] || libraries="libarchive:libarchive.a libwebsockets:libwebsockets.a"
# Shells of their own, because errexit is off wherever a failure is looked at.
fetch_parts=$(
	declare -f get_source unpack_parts
	# shellcheck disable=SC2016 # expanded by the inner shell
	printf '%s\n' 'set -euo pipefail' 'unpack_parts "$1"'
)
build_one=$(
	declare -f build_openssl build_curl build_libarchive build_libisal build_libwebsockets configure_in
	declare -p arch triplet cc ar root prefix jobs cppflags cflags
	# shellcheck disable=SC2016 # expanded by the inner shell
	printf '%s\n' 'set -euo pipefail' '"$@"'
)
for item in $libraries; do
	build "${item%%:*}" "${item##*:}"
done
stamp=$(
	for item in $libraries; do
		printf '%s %s\n' "${item%%:*}" "$(cat "$prefix/.${item%%:*}")"
	done
	distribution_libraries "${dev_packages[@]}" "${program_packages[@]}"
)
# Objects depend on the stamp: it keeps its time while nothing changed.
if [ "$(cat "$prefix/stamp" 2>/dev/null)" != "$stamp" ]; then
	[ -n "$variant" ] || verify
	printf '%s\n' "$stamp" >"$prefix/stamp"
fi
