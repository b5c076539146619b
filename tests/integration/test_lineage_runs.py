"""What the OpenLineage sensor reports of real runs of the batch layer, one of which fails."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets import facts, lake, reconciliation, rollups
from assets.jobs import event_hours_job
from assets.partitions import ALL, Partitions
from assets.resources import BatchResource
from lineage.emit import events_folder
from lineage.sensor import make_openlineage_sensor
from streamgauge.apply.execute import apply
from streamgauge.contract.model import Contract
from streamgauge.dagster import keys as asset_keys
from streamgauge.dagster.hours import hour_key, hour_start
from streamgauge.settings import PREFIX, Settings
from streamgauge.stack.control import Stack
from streamgauge.stores.lake import lake_table
from tests.integration.own_stream import OwnStream

HOUR = hour_start(datetime.now(UTC))


def every_hour(contract: Contract) -> Partitions:
    del contract
    return ALL


class Reported:
    """Runs of one stream's hours, and the events that a tick of the sensor sends after each."""

    def __init__(self, own: OwnStream, instance: dg.DagsterInstance) -> None:
        self.contract, self.settings, self._instance = own.contract, own.settings(), instance
        contracts = [own.contract]
        self._definitions = dg.Definitions.merge(
            *(part.definitions(contracts, every_hour) for part in (lake, facts, rollups, reconciliation)),
            dg.Definitions(
                jobs=[event_hours_job(own.contract)],
                sensors=[make_openlineage_sensor(contracts)],
                resources={"batch": BatchResource()},
            ),
        )
        self._cursor: str | None = None
        self._seen = 0
        self.tick()

    def run(self, *, succeeds: bool) -> str:
        job = self._definitions.resolve_job_def(asset_keys.event_hours_job(self.contract))
        done = job.execute_in_process(instance=self._instance, partition_key=hour_key(HOUR), raise_on_error=False)
        assert done.success is succeeds
        return done.run_id

    def tick(self) -> dict[tuple[str, str], dict[str, Any]]:
        """The events of this stream, by job and type."""
        sensor = self._definitions.resolve_sensor_def("openlineage")
        with dg.build_sensor_context(self._instance, cursor=self._cursor, definitions=self._definitions) as context:
            self._cursor = sensor.evaluate_tick(context).cursor
        events = list(self._events())
        new, self._seen = events[self._seen :], len(events)
        return {(e["job"]["name"], e["eventType"]): e for e in new}

    def _events(self) -> Iterator[dict[str, Any]]:
        for file in sorted(events_folder(self.settings).glob("events-*.ndjson")):
            for line in file.read_text().splitlines():
                event = json.loads(line)
                if self.contract.stream in event["job"]["name"]:
                    yield event


@pytest.fixture
def reported(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reported]:
    own = OwnStream(tmp_path)
    apply(own.settings(), (own.contract,))
    monkeypatch.setenv(f"{PREFIX}CONTRACTS_DIR", str(own.folder))
    with dg.instance_for_test() as instance:
        yield Reported(own, instance)


def test_a_failed_run_keeps_every_edge_and_names_the_error_of_the_code(reported: Reported) -> None:
    paths = ["/".join(p) for p in asset_keys.event_hours_assets(reported.contract)]
    reported.run(succeeds=True)
    whole = reported.tick()
    broken = _break_lake(reported.settings, reported.contract)
    run_id = reported.run(succeeds=False)
    failed = reported.tick()
    broken.unlink()
    for path in paths:
        assert whole[path, "COMPLETE"]["outputs"]
        before, event = whole[path, "COMPLETE"], failed[path, "FAIL"]
        assert [d["name"] for d in event["inputs"]] == [d["name"] for d in before["inputs"]] != []
        assert [d["name"] for d in event["outputs"]] == [d["name"] for d in before["outputs"]]
        message = event["run"]["facets"]["errorMessage"]["message"]
        assert message.startswith(f"{reported.contract.stream}_facts: LakeError;"), message
    job = asset_keys.event_hours_job(reported.contract)
    assert failed[job, "FAIL"]["run"]["runId"] == run_id


def test_a_run_that_began_and_ended_between_two_ticks_has_its_start(reported: Reported) -> None:
    reported.run(succeeds=True)
    events = reported.tick()
    jobs = {job for job, kind in events if kind == "COMPLETE" and not job.endswith("/checks")}
    assert asset_keys.event_hours_job(reported.contract) in jobs
    for job in jobs:
        start, end = events[job, "START"], events[job, "COMPLETE"]
        assert start["run"]["runId"] == end["run"]["runId"]
        assert start["eventTime"] <= end["eventTime"]
    assert reported.tick() == {}


def _break_lake(settings: Settings, contract: Contract) -> Path:
    """A commit of the lake's table that nobody can read."""
    log = Path(lake_table(settings.lake, contract).url) / "_delta_log"
    log.mkdir(parents=True, exist_ok=True)
    commit = log / f"{len(list(log.glob('*.json'))):020}.json"
    commit.write_text("no commit\n")
    return commit
