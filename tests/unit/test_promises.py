"""Every promise of docs/promises.md names tests that are there."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_PROMISE = re.compile(r"^\| (?!promise|---)(?P<promise>.+?) \| (?P<tests>.+) \|$", re.MULTILINE)
PROMISES = [m.groupdict() for m in _PROMISE.finditer((ROOT / "docs/promises.md").read_text())]


def test_there_are_promises() -> None:
    assert len(PROMISES) > 20


@pytest.mark.parametrize("tests", [p["tests"] for p in PROMISES], ids=[p["promise"][:40] for p in PROMISES])
def test_the_named_tests_are_there(tests: str) -> None:
    named = re.findall(r"`(tests/[^`]+)`", tests)
    assert named
    for node in named:
        file, _, test = node.partition("::")
        found = [f.name for f in ast.walk(ast.parse((ROOT / file).read_text())) if isinstance(f, ast.FunctionDef)]
        assert [f for f in found if f.startswith("test_")]
        assert not test or test in found, node
