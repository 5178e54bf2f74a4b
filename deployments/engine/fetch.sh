#!/usr/bin/env bash
# Puts the library of the embedded ClickHouse engine into the cache folder, once:
#
#   ${XDG_CACHE_HOME:-$HOME/.cache}/midwatch/engine/<version>/libchdb.so
#
# package-lock.json pins its version and checksum, npm fetches and checks it. Nothing is left in
# the checkout or in npm's cache: everything happens in a folder beside the final place, which is
# removed in the end. Nothing is fetched when the library is there or not needed.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
package=@chdb/lib-linux-x64-gnu
other="put a \`clickhouse\` binary on PATH or set MIDWATCH_CLICKHOUSE_URL"

say() { printf 'engine: %s\n' "$*" >&2; }
die() {
	say "$@"
	exit 1
}

# The one version in package.json that belongs to the package, without starting a program.
[[ $(<"$here/package.json") =~ \"$package\":\ *\"([0-9A-Za-z.-]+)\" ]] ||
	die "package.json does not name the version of $package"
version=${BASH_REMATCH[1]}

cache=${XDG_CACHE_HOME:-}
[[ $cache == /* ]] || cache=${HOME:?is not set, so there is no cache folder}/.cache
parent=$cache/midwatch/engine
library=$parent/$version/libchdb.so

if [[ -s $library ]]; then
	exit 0
fi
for variable in MIDWATCH_ENGINE_LIB MIDWATCH_CLICKHOUSE_URL; do
	if [[ -n ${!variable:-} ]]; then
		say "$variable is set, the library is not fetched"
		exit 0
	fi
done
if found=$(type -P clickhouse); then
	say "$found is used, the library is not fetched"
	exit 0
fi

platform=$(uname -sm)
[[ $platform == "Linux x86_64" ]] || die "there is no library for $platform: $other"
getconf GNU_LIBC_VERSION >/dev/null 2>&1 ||
	die "the library needs glibc, which this system does not have: $other"
type -P npm >/dev/null || die "npm is needed to fetch the library: install Node.js, or $other"

mkdir -p "$parent"
# One fetch at a time; whoever waited finds the work done.
exec 9>"$parent/.lock"
if type -P flock >/dev/null && ! flock -n 9; then
	say "another process is fetching the library, waiting for it"
	flock 9
fi
if [[ -s $library ]]; then
	exit 0
fi
rm -rf "$parent"/.fetch.* # of a fetch that was killed

# What is on disk in the end: 170 MB packed in npm's cache, 543 MB unpacked. For a moment npm holds
# the packed file twice.
total_mb=713
peak_mb=900
free_mb=$(df -Pm "$parent" | awk 'NR == 2 { print $4 }')
if [[ $free_mb =~ ^[0-9]+$ ]] && ((free_mb < peak_mb)); then
	die "$parent has $free_mb MB free, fetching the library needs $peak_mb MB and keeps 543 MB"
fi

work=$(mktemp -d "$parent/.fetch.XXXXXX")
npm_pid=
clean() {
	if [[ -n $npm_pid ]]; then
		kill "$npm_pid" 2>/dev/null || true
		wait "$npm_pid" 2>/dev/null || true
	fi
	rm -rf "$work"
}
trap clean EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

say "fetching ClickHouse $version (178 MB, once) into $parent"
cp "$here/package.json" "$here/package-lock.json" "$here/.npmrc" "$work/"
npm ci --prefix "$work" --cache "$work/npm" --ignore-scripts --no-audit --no-fund \
	--no-update-notifier --loglevel=error --logs-max=0 >"$work/log" 2>&1 9>&- &
npm_pid=$!

terminal=
[[ -t 2 ]] && terminal=yes
tick=0
while kill -0 "$npm_pid" 2>/dev/null; do
	sleep 0.5
	tick=$((tick + 1))
	done_mb=$(du -sm "$work" 2>/dev/null | cut -f1) || true # files come and go beneath it
	done_mb=${done_mb:-0}
	((done_mb < total_mb)) || done_mb=$((total_mb - 1))
	percent=$((done_mb * 100 / total_mb))
	if [[ -n $terminal ]]; then
		printf '\rengine: %3d %%  %d of %d MB fetched and unpacked ' "$percent" "$done_mb" "$total_mb" >&2
	elif ((tick % 20 == 0)); then
		say "$percent %, $done_mb of $total_mb MB fetched and unpacked"
	fi
done
[[ -z $terminal ]] || printf '\r\033[K' >&2

status=0
wait "$npm_pid" || status=$?
npm_pid=
if ((status != 0)); then
	cat "$work/log" >&2
	die "npm could not fetch $package $version (see above); try again, or $other"
fi

mkdir -p "$parent/$version"
mv -f "$work/node_modules/$package/libchdb.so" "$library" # the same file system: all or nothing
say "$library is ready"
