"""What was applied is taken up by worker, API and Dagster without a restart; a mistake in a file stops no other."""

import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

import httpx
import pytest

from streamgauge.apply.execute import apply
from streamgauge.contract.load import load_contract
from streamgauge.producer.producer import EventProducer
from streamgauge.settings import Settings
from streamgauge.stack.control import Stack
from streamgauge.stores.postgres import connect
from tests.integration.dagster_processes import DagsterProcesses
from tests.integration.own_stream import OwnStream, block
from tests.integration.running import Running, events, stored
from tests.integration.serving_client import Served, served
from tests.integration.workers import Workers, wait_for

pytestmark = [pytest.mark.timeout(300)]

TAKEN_UP_SECONDS = 30.0
"""As docs/contracts.md promises."""
_ASSETS = "{ assetNodes { assetKey { path } } }"


def _apply(*own: OwnStream) -> None:
    for stream in own:
        apply(stream.settings(), (stream.contract,))


def _send(own: OwnStream, n: int, start: int) -> None:
    with EventProducer(Settings.for_role("producer"), own.contract) as producer:
        assert not producer.send(events(own.contract, n, start=start))


def _counted(own: OwnStream, text: str | None = None) -> int:
    """By the contract as it stands, or by that of a text where the file is spoilt."""
    if text is None:
        return stored(own.contract)[0][0] or 0
    good = own.folder / "good"
    good.mkdir(exist_ok=True)
    file = good / own.file.name
    file.write_text(text)
    return stored(load_contract(file))[0][0] or 0


def _within(seconds: float, condition: Callable[[], bool], what: str) -> None:
    began = time.monotonic()
    wait_for(condition, what, seconds)
    assert time.monotonic() - began < seconds


def _served(api: Served) -> set[str]:
    return {s["stream"] for s in api.client.get("/v1/streams").raise_for_status().json()["streams"]}


def test_worker_and_api_take_up_what_is_applied_and_go_on_beside_a_mistake(stack: Stack, tmp_path: Path) -> None:
    folder, logs = tmp_path / "contracts", tmp_path / "logs"
    folder.mkdir()
    logs.mkdir()
    first = OwnStream(folder)
    # the servers have everything but this stream's tables
    with Workers([], folder, logs=logs) as workers, served(folder, logs) as api:
        process = workers.start()
        wait_for(lambda: "run `streamgauge apply`" in workers.log(), "the worker says what it waits for")
        assert _served(api) == set()
        assert process.poll() is None
        _apply(first)
        _send(first, 100, 0)
        _within(TAKEN_UP_SECONDS, lambda: _served(api) == {first.name}, "the API has the first stream")
        _within(TAKEN_UP_SECONDS, lambda: _counted(first) == 100, "the worker counts the first stream")

        second = OwnStream(folder)
        document = second.document()
        # the streams share their dimensions, so they must share what describes them
        block(document, "reference")["name"] = first.name
        second.write(document)
        _apply(second)
        _send(second, 50, 0)
        _within(TAKEN_UP_SECONDS, lambda: _served(api) == {first.name, second.name}, "the API has the second stream")
        _within(TAKEN_UP_SECONDS, lambda: _counted(second) == 50, "the worker counts the second stream")
        names = api.client.get("/v1/openapi.json").text
        assert second.name in names

        good = second.file.read_text()
        second.file.write_text(good.replace("timestamp-millis", "timestamp-nothing"))
        wait_for(lambda: f"{second.file.name} is set aside" in workers.log(), "the mistake is logged")
        text = good
        _send_by(good, second, 50, 100)
        _send(first, 100, 1000)
        wait_for(lambda: _counted(first) == 200, "the first goes on")
        wait_for(lambda: _counted(second, text) == 100, "the second goes on by what was read before")
        assert _served(api) == {first.name, second.name}

        workers.stop(process)
        process = workers.start()
        _send(first, 100, 2000)
        wait_for(lambda: _counted(first) == 300, "a new worker works on the first")
        _send_by(good, second, 50, 200)
        time.sleep(5)
        assert _counted(second, text) == 100
        second.file.write_text(good)
        _within(TAKEN_UP_SECONDS, lambda: _counted(second) == 150, "what was put right is taken up by itself")
        assert process.poll() is None


def test_a_worker_that_begins_goes_by_what_was_applied_and_takes_up_the_rest(running: Running) -> None:
    running.apply()
    contract = running.contract
    more = {"name": "more", "source": "schema_version"}
    running.edit(lambda d: block(d, "rollup").setdefault("measures", []).append(more))
    running.workers.start()
    running.send(events(contract, 100))
    wait_for(lambda: stored(contract)[0][0] == 100, "the worker counts by what was applied")
    assert "its file was changed since it was applied" in running.workers.log()
    running.apply()
    numbers = count(1000)

    def measured() -> bool:
        running.send(events(contract, 1, start=next(numbers)))
        return bool(stored(running.contract, "sum(more_sum)")[0][0])

    wait_for(measured, "it takes up the measure")


def _send_by(text: str, own: OwnStream, n: int, start: int) -> None:
    """While the stream's file is spoilt, by its text from before."""
    spoilt = own.file.read_text()
    own.file.write_text(text)
    contract = own.contract
    own.file.write_text(spoilt)
    with EventProducer(Settings.for_role("producer"), contract) as producer:
        assert not producer.send(events(contract, n, start=start))


def test_dagster_loads_what_is_applied_and_alerts_of_a_mistake(stack: Stack, tmp_path: Path) -> None:
    first = OwnStream(tmp_path)
    applicable = first.file.read_text()
    first.file.write_text("schema: [")
    url = f"http://127.0.0.1:{stack.layout.port('dagster')}/graphql"

    def streams() -> set[str]:
        answer = httpx.post(url, json={"query": _ASSETS}, timeout=20).raise_for_status().json()
        return {n["assetKey"]["path"][-1] for n in answer["data"]["assetNodes"]}

    with DagsterProcesses(stack, tmp_path):
        assert f"{first.name}_facts" not in streams()
        wait_for(lambda: _alerts(first.file) == [False], "a mistake in the only contract is an alert", 90)
        first.file.write_text(applicable)
        wait_for(lambda: _alerts(first.file) == [True], "it is resolved", 90)
        _apply(first)
        wait_for(lambda: f"{first.name}_facts" in streams(), "Dagster has the stream", 2 * TAKEN_UP_SECONDS)
        spoilt = tmp_path / "spoilt.yaml"
        spoilt.write_text("schema: [")
        wait_for(lambda: _alerts(spoilt) == [False], "the mistake is an alert", 90)
        assert f"{first.name}_facts" in streams()
        spoilt.unlink()
        wait_for(lambda: _alerts(spoilt) == [True], "the alert is resolved", 90)


def _alerts(file: Path) -> list[bool]:
    """Of each alert about the file, whether it is resolved."""
    with connect(Settings.for_role("reader")) as connection:
        rows = connection.execute(
            "select resolved_at is not null from alerts where cause = %s order by raised_at", (f"contract/{file.name}",)
        )
        return [resolved for (resolved,) in rows]
