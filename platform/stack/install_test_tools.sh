#!/usr/bin/env bash
# Brings what only the tests need: a browser, a builder of images, and an S3-compatible server and Helm, each built once
# into the cache that install.sh keeps.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
if [ "$(id -u)" = 0 ]; then
  cache=/var/lib/streamgauge/cache
else
  cache=${XDG_CACHE_HOME:-$HOME/.cache}/streamgauge
fi
# shellcheck source=go_install.sh
. "$here/go_install.sh"
# Go programs: their version and what `go install` calls them
declare -A tools=(
  [versitygw]="1.8.0 github.com/versity/versitygw/cmd/versitygw"
  [helm]="3.22.0 helm.sh/helm/v3/cmd/helm"
)

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

built() { # TOOL: its file
  local version=${tools[$1]%% *}
  printf '%s/%s-%s' "$cache" "$1" "$version"
}
not_built() {
  local tool
  for tool in "${!tools[@]}"; do [ -x "$(built "$tool")" ] || printf '%s ' "$tool"; done
}
[ -n "$(not_built)" ] || exit 0
mkdir -p "$cache"
exec 9>"$cache/test-tools.lock"
flock 9
read -ra wanted <<<"$(not_built)"
[ ${#wanted[@]} != 0 ] || exit 0

printf '%s, for tests: building\n' "${wanted[*]}"
work=$(mktemp -d "$cache/go.XXXXXX")
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
build() {
  local version package
  read -r version package <<<"${tools[$1]}"
  go_install "$work" "$package@v$version" && mv "$work/bin/$1" "$(built "$1")"
}
all() {
  go_toolchain "$work" || return
  for tool in "${wanted[@]}"; do build "$tool" || return; done
}
all >"$cache/test-tools.log" 2>&1 || {
  tail -n 15 "$cache/test-tools.log" >&2
  printf 'install_test_tools: that failed; its last lines are above\n  the whole log: %s\n' "$cache/test-tools.log" >&2
  exit 1
}
