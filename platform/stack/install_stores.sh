#!/usr/bin/env bash
# Fetches the store of traces into the cache that install.sh keeps. It is big, and no number needs it: install.sh does
# without it. Where all is there, it sees so in a moment and does nothing.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
if [ "$(id -u)" = 0 ]; then
  cache=/var/lib/streamgauge/cache
else
  cache=${XDG_CACHE_HOME:-$HOME/.cache}/streamgauge
fi
version() { sed -n "/^\[versions\]/,/^\[base/s/^$1 = \"\(.*\)\"/\1/p" "$here/stack.toml"; }

zipkin=$cache/zipkin-$(version zipkin)
zipkin_sha256=981b1de6139b4f8f787a909c308028732f9713ae5284353d2a5aa404d1094775

all_there() { [ -e "$zipkin/zipkin.jar" ]; }

fetch_zipkin() { # one chain: `set -e` has no force behind `||`
  local artifact
  artifact=io.zipkin:zipkin-server:$(version zipkin):jar:slim
  mvn -B -ntp -Dstyle.color=never org.apache.maven.plugins:maven-dependency-plugin:3.9.0:copy \
    "-Dartifact=$artifact" "-DoutputDirectory=$work" -Dmdep.stripVersion=true &&
    mv "$work/zipkin-server-slim.jar" "$work/zipkin.jar" &&
    echo "$zipkin_sha256  $work/zipkin.jar" | sha256sum -c &&
    mkdir -p "$zipkin" && mv "$work/zipkin.jar" "$zipkin/zipkin.jar"
}

all_there && exit 0
mkdir -p "$cache"
exec 9>"$cache/stores.lock" # a demo and a test may want them together
flock 9
all_there && exit 0

work=$(mktemp -d "$cache/stores.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
printf 'Zipkin %s: fetching it\n' "$(version zipkin)"
fetch_zipkin >"$cache/stores.log" 2>&1 || {
  tail -n 15 "$cache/stores.log" >&2
  printf 'install_stores: that failed; its last lines are above\n  the whole log: %s\n' "$cache/stores.log" >&2
  exit 1
}
