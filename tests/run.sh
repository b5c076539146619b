#!/usr/bin/env bash
# All tests, so that two cores are seldom idle. What needs no server runs in the background at a lower priority; beside it
# first what kills workers under load, which must not share the machine with other servers; then the rest, two files at a
# time, each with servers of its own. With three, what waits for a server waits for the processor.
set -euo pipefail
cd "$(dirname "$0")/.."

alone=(tests/integration/test_exactly_once.py tests/integration/test_worker_outages.py)
without_servers=(tests/integration/test_pythons.py tests/unit)

log=$(mktemp)
nice .venv/bin/pytest "${without_servers[@]}" >"$log" 2>&1 &
background=$!
trap 'kill "$background" 2>/dev/null || true; rm -f "$log"' EXIT

failed=0
# Of the stack's parts the ones that it fetches behind all else: beside other tests their building would take too long.
platform/stack/install_stores.sh || failed=1
.venv/bin/pytest "${alone[@]}" || failed=1
left_out=("${alone[@]}" "${without_servers[@]}")
.venv/bin/pytest -n 2 --dist loadfile --no-loadscope-reorder "${left_out[@]/#/--ignore=}" || failed=1
wait "$background" || failed=1
cat "$log"
exit "$failed"
