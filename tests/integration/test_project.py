"""A project of one's own, from `init` in an empty folder to a number that the API answers with."""

import json
import subprocess
import sys
import uuid
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from quality.cli.sample import read_sample
from streamgauge.contract.load import load_contracts
from streamgauge.settings import Settings
from tests.integration.free_port import free_port
from tests.integration.program import running_program
from tests.integration.workers import wait_for, wait_until_read

pytestmark = [pytest.mark.usefixtures("stack"), pytest.mark.timeout(240)]


def streamgauge(project: Path, *arguments: str, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "streamgauge.cli", *arguments],
        cwd=project,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def going_on(project: Path, *arguments: str) -> AbstractContextManager[None]:
    command = [sys.executable, "-m", "streamgauge.cli", *arguments]
    return running_program(command, project / f"{arguments[0]}.log", project)


def test_from_an_empty_folder_to_a_number(stack: Any, tmp_path: Path) -> None:
    name = f"t{uuid.uuid4().hex[:10]}"
    streamgauge(tmp_path, "init", "shop")
    project = tmp_path / "shop"
    text = (project / "contracts" / "orders.yaml").read_text()
    (project / "contracts" / "orders.yaml").unlink()
    contract_file = project / "contracts" / f"{name}.yaml"
    edited = text.replace("orders", name)
    contract_file.write_text(edited.replace("source: amount", "source: amuont"))
    assert f"{name}.yaml:" in streamgauge(project, "contract", "check", code=1)
    contract_file.write_text(edited)
    streamgauge(project, "contract", "check")

    assert f"{name}, {name}-dead-letters" in streamgauge(project, "plan", code=2)
    streamgauge(project, "apply")
    assert "nothing to change" in streamgauge(project, "plan")
    key = json.loads(streamgauge(project, "api-keys", "create", "me", "--scope", f"write:{name}", "--json"))["key"]

    port = free_port()
    url = f"http://127.0.0.1:{port}/v1/streams/{name}"
    with going_on(project, "worker"), going_on(project, "api", "--port", str(port)):
        wait_for(lambda: _answers(url), "the API serves the project's stream")
        now = datetime.now(UTC).isoformat()
        orders: list[dict[str, Any]] = [
            {"event_id": f"{i}", "happened_at": now, "customer": f"c{i % 3}", "state": "placed", "country": "AT"}
            | ({"amount": 12.5} if i % 2 else {})
            for i in range(10)
        ]
        headers = {"Authorization": f"Bearer {key}"}
        answer = httpx.post(f"{url}/events", json=orders, headers=headers, timeout=20)
        assert answer.status_code == 202 and answer.json()["accepted"] == 10, answer.text
        (contract,) = load_contracts(project / "contracts")
        wait_until_read(contract)
        wait_for(lambda: bool(_rows(url)), "the API has the number")
        (row,) = _rows(url)
        assert (row["count"], row["amount_n"], row["amount_sum"]) == (10, 5, 62.5)

    found = read_sample(Settings.for_role("batch"), contract, 4)
    assert [s.verdict for s in found] == ["right"] * 4
    assert {s.fields["country"] for s in found} == {"AT"}
    assert all(s.fields["customer"].startswith("masked") for s in found)
    shown = streamgauge(project, "sample", name)
    assert "placed" in shown and not any(f" c{i} " in shown for i in range(3))


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def _rows(url: str) -> list[dict[str, Any]]:
    return httpx.get(f"{url}/rollups?window=1d", timeout=10).json()["rows"]
