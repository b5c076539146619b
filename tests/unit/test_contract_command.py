"""`streamgauge contract check`, and how many changes are summed up."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from streamgauge.apply.changes import Described
from streamgauge.cli import build
from streamgauge.cli.contracts import summed_up
from streamgauge.project.make import make_project


@pytest.fixture
def contract(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    make_project(tmp_path)
    monkeypatch.setenv("STREAMGAUGE_CONTRACTS_DIR", str(tmp_path / "contracts"))
    return tmp_path / "contracts" / "orders.yaml"


def check(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(build("contract"), ["contract", "check", *arguments])
    return done.exit_code, done.output


def test_what_is_right_is_reported_as_right(contract: Path) -> None:
    assert check() == (0, "1 contract: no mistake.\n")
    assert check(str(contract)) == (0, "1 contract: no mistake.\n")
    assert check("--json") == (0, "[]\n")


def test_every_mistake_is_reported_with_its_line(contract: Path) -> None:
    text = contract.read_text().replace("physicalType: double", "physicalType: decimal")
    text = text.replace("source: state", "source: stat")
    contract.write_text(text)
    lines = text.splitlines()
    wanted = [
        1 + next(i for i, line in enumerate(lines) if w in line) for w in ("physicalType: decimal", "source: stat ")
    ]
    code, output = check()
    assert code == 1 and output.splitlines()[-1] == "2 mistakes in 1 of 1 contract."
    for line, what in zip(wanted, ("decimal", "stat"), strict=True):
        assert any(
            reported.startswith(f"orders.yaml:{line} ") and what in reported for reported in output.splitlines()
        ), output
    code, output = check(str(contract), "--json")
    assert (code, [m["line"] for m in json.loads(output)]) == (1, wanted)


def test_contracts_that_contradict_each_other_are_reported(contract: Path) -> None:
    (contract.parent / "again.yaml").write_text(contract.read_text())
    code, output = check()
    assert code == 1 and "orders.yaml:" in output
    assert check(str(contract))[0] == 0


def test_many_changes_are_summed_up_by_kind() -> None:
    steps = [Described("create", f"topic t{i}", "") for i in range(6)]
    steps += [Described("allow", "topic t1", "worker: read"), Described("allow", "topic t1", "batch: read")]
    assert summed_up(steps) == [
        Described("create", "topic: 6", "t0, t1, t2, t3 and 2 more"),
        Described("allow", "topic: 2", "t1"),
    ]
