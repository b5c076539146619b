"""Another Python than the one here: compiled, installed from the lock, and held to the tests that need no server."""

import os
from pathlib import Path

import pytest

from streamgauge.settings import CHECKOUT
from tests.integration.image import debian

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="installing in a chroot needs root")

# Debian 13's, beside Debian 12's 3.11 that everything else is tested on.
_SUITE, _VERSION = "trixie", "3.13"
_NEED_PROGRAMS = ("test_page.py", "test_observability.py", "test_stack_config.py", "test_compose.py", "test_helm.py")
_INSTALL = """
set -eu
cd /src
sed -n '/^uv==/,/^ *# via/p' requirements.lock >/uv.lock
python3 -m venv /venv
/venv/bin/pip install -q --require-hashes -r /uv.lock
export VIRTUAL_ENV=/venv
/venv/bin/uv pip sync -q --require-hashes requirements.lock
/venv/bin/uv pip install -q --no-deps --no-build-isolation -e .
"""


def test_the_lock_installs_and_the_unit_tests_pass(tmp_path: Path) -> None:
    with debian(tmp_path, _SUITE, ("gcc", "libc6-dev", "libpython3-dev")) as container:
        copied = [path for path in CHECKOUT.iterdir() if path.name not in (".git", ".venv")]
        container.add("/src", *copied)
        container.run("bash", "-c", _INSTALL)
        assert container.run("/venv/bin/python", "--version").startswith(f"Python {_VERSION}.")
        left_out = [f"--ignore=tests/unit/{name}" for name in _NEED_PROGRAMS]
        text = container.run("/venv/bin/python", "-m", "pytest", "-q", "tests/unit", *left_out, folder="/src")
        assert " passed" in text
