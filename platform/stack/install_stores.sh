#!/usr/bin/env bash
# Fetches the store of traces and builds that of logs, or the one that is named, into the cache that install.sh keeps. It
# takes minutes, and no number needs them: install.sh does without it. Where all is there, it sees so in a moment.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=go_install.sh
. "$here/go_install.sh"
if [ "$(id -u)" = 0 ]; then
  cache=/var/lib/streamgauge/cache
else
  cache=${XDG_CACHE_HOME:-$HOME/.cache}/streamgauge
fi
version() { sed -n "/^\[versions\]/,/^\[base/s/^$1 = \"\(.*\)\"/\1/p" "$here/stack.toml"; }

zipkin_sha256=981b1de6139b4f8f787a909c308028732f9713ae5284353d2a5aa404d1094775

fetch_zipkin() { # one chain: `set -e` has no force behind `||`
  mvn -B -ntp -Dstyle.color=never org.apache.maven.plugins:maven-dependency-plugin:3.9.0:copy \
    "-Dartifact=io.zipkin:zipkin-server:$(version zipkin):jar:slim" "-DoutputDirectory=$work" -Dmdep.stripVersion=true &&
    echo "$zipkin_sha256  $work/zipkin-server-slim.jar" | sha256sum -c &&
    mkdir "$work/new" && mv "$work/zipkin-server-slim.jar" "$work/new/zipkin.jar" && mv "$work/new" "$1"
}

build_victoria_logs() {
  # Go checks the module against its checksum database
  go_toolchain "$work" &&
    go_install "$work" "github.com/VictoriaMetrics/VictoriaLogs/app/victoria-logs@v$(version victoria-logs)" &&
    mv "$work/bin/victoria-logs" "$1"
}

bring() { # NAME COMMAND
  local place log
  place=$cache/$1-$(version "$1") log=$cache/$1.log
  [ ! -e "$place" ] || return 0
  printf '%s %s: fetching and building it\n' "$1" "$(version "$1")"
  work=$(mktemp -d "$cache/$1.XXXXXX")
  trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
  "$2" "$place" >"$log" 2>&1 || {
    tail -n 15 "$log" >&2
    printf 'install_stores: that failed; its last lines are above\n  the whole log: %s\n' "$log" >&2
    exit 1
  }
  chmod -R u+w "$work"
  rm -rf "$work"
  trap - EXIT
}

trap 'exit 1' INT TERM
mkdir -p "$cache"
[ $# != 0 ] || set -- zipkin victoria-logs
for name in "$@"; do
  exec 9>"$cache/$name.lock" # a demo and a test may want it together
  flock 9
  case $name in
    zipkin) bring zipkin fetch_zipkin ;;
    victoria-logs) bring victoria-logs build_victoria_logs ;;
    *) printf 'install_stores: there is no store %s\n' "$name" >&2 && exit 2 ;;
  esac
done
