#!/usr/bin/env bash
# Prints, as a compiler response file, what executor/base/version.c reports.
# usage: version.sh BASE_VERSION [VERSION]
# The version of a clean tagged commit is its tag, else BASE+COMMIT[.dirty], else BASE+unknown. The
# date is SOURCE_DATE_EPOCH or the commit's, so that one commit always gives one binary.
set -euo pipefail
cd "$(dirname "$0")/.."

base=$1
version=${2:-}
tag=
state=clean
if commit=$(git rev-parse --verify -q HEAD 2>/dev/null); then
	tag=$(git describe --exact-match --tags --match 'v*' 2>/dev/null || true)
	[ -z "$(git status --porcelain 2>/dev/null)" ] || state=dirty
	epoch=$(git log -1 --format=%ct)
	if [ -n "$tag" ] && [ "$state" = clean ]; then
		text=$tag
	else
		text=$base+${commit:0:7}
		[ "$state" = clean ] || text=$text.dirty
	fi
else
	commit=unknown
	state=unknown
	epoch=$(stat -c %Y Makefile)
	text=$base+unknown
fi
epoch=${SOURCE_DATE_EPOCH:-$epoch}

printf "'-D%s=\"%s\"'\n" \
	VERSION "${version:-$text}" \
	GIT_COMMIT "$commit" \
	GIT_TREE_STATE "$state" \
	GIT_TAG "$tag" \
	BUILD_DATE "$(date -u -d "@$epoch" +%Y-%m-%dT%H:%M:%SZ)"
