#!/usr/bin/env bash
# The compiled parts with AddressSanitizer and UndefinedBehaviorSanitizer, warnings as errors, and the tests that call them: in a
# copy of the checkout, so that the library in use stays as it is.
set -euo pipefail

checkout=$(cd "$(dirname "$0")/.." && pwd)
python=$checkout/.venv/bin/python
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
cd "$checkout"
git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -t "$copy" 2>/dev/null || true # deleted ones
cd "$copy"

export PYTHONPATH=$copy/platform:$copy
"$python" - <<'PYTHON'
from streamgauge.native import build

build.compile_library(build.LIBRARY, "-O1", "-g", "-Werror", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
PYTHON

compiler=${CC:-cc}
# Python frees much at its end or never: what it leaks says nothing. Its own allocator would hide what goes past a block's end, and
# pytest what the sanitizers say before they end the process.
export ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 PYTHONMALLOC=malloc
LD_PRELOAD="$("$compiler" -print-file-name=libasan.so) $("$compiler" -print-file-name=libubsan.so)" \
  "$python" -m pytest -q -p no:cacheprovider --capture=sys "$@" \
  tests/unit/test_accumulate.py tests/unit/test_avro_reader.py tests/unit/test_decode.py tests/unit/test_groups.py \
  tests/unit/test_json_reader.py \
  tests/unit/test_native.py tests/unit/test_partitioner.py tests/unit/test_pg_binary.py tests/unit/test_seen.py tests/unit/test_sketches.py
