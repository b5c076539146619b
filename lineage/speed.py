"""The stream worker as OpenLineage runs: it never ends, so each hour of its life is one."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from openlineage.client.event_v2 import RunEvent, RunState

from lineage.datasets import Dataset, Key
from lineage.openlineage import Step, Stores, child_run_id, step_event
from streamgauge.contract.model import Contract
from streamgauge.dagster import keys as asset_keys
from streamgauge.dagster.hours import HOUR, hour_start
from streamgauge.stores.postgres import Connection
from streamgauge.stores.progress import read_progress


@dataclass(frozen=True)
class Observed:
    """The hour (ISO) whose start was reported, and what was counted by then."""

    hour: str
    counted: int


def read_counts(connection: Connection, contracts: Iterable[Contract]) -> dict[str, int]:
    """By stream, the events that its minute rollups have. A stream that no worker has read is left out."""
    streams = {c.topic: c.stream for c in contracts}
    progress = read_progress(connection, streams)
    return {streams[topic]: sum(p.counted for p in parts) for topic, parts in progress.items() if parts}


def speed_events(
    counts: Mapping[str, int],
    before: Mapping[str, Observed],
    now: datetime,
    contracts: Iterable[Contract],
    known: Mapping[Key, Dataset],
    stores: Stores,
) -> tuple[list[RunEvent], dict[str, Observed]]:
    """The ends of the hours that are over, the starts of those that began, and what to remember."""
    hour = hour_start(now)
    events: list[RunEvent] = []
    observed: dict[str, Observed] = {}
    for contract in contracts:
        stream = contract.stream
        if stream not in counts:
            continue
        last = before.get(stream)
        if last is not None and datetime.fromisoformat(last.hour) == hour:
            observed[stream] = last
            continue
        dataset = known[asset_keys.minutes(contract)]
        if last is not None:
            began = datetime.fromisoformat(last.hour)
            ended = _step(stream, began, RunState.COMPLETE, hour, counts[stream] - last.counted)
            events.append(step_event(dataset, known, stores, ended))
        events.append(step_event(dataset, known, stores, _step(stream, hour, RunState.START, now, None)))
        observed[stream] = Observed(hour.isoformat(), counts[stream])
    return events, observed


def _step(stream: str, hour: datetime, state: RunState, at: datetime, rows: int | None) -> Step:
    run_id = child_run_id(f"speed/{stream}", hour.astimezone(UTC).isoformat())
    return Step(run_id, state, at, (hour, hour + HOUR), rows)
