"""A data set's file as events of a stream, and the lines that aren't any."""

import gzip
import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from streamgauge.contract.model import Contract
from streamgauge.errors import UserError
from streamgauge.producer.frame import breaches, frame_of
from streaming.replay.mapping import DataMapping, MappingFault


@dataclass(frozen=True)
class BadLine:
    line: int
    reason: str


@dataclass(frozen=True)
class Dataset:
    """`events` in the order of event time; equal times in the order of the file."""

    events: pl.DataFrame
    bad_lines: list[BadLine]


def read_dataset(path: Path, mapping: DataMapping, contract: Contract) -> Dataset:
    """Reads JSON Lines, gzipped or not."""
    rows: list[dict[str, Any]] = []
    numbers: list[int] = []
    bad: list[BadLine] = []
    for number, text in _lines(path):
        if not text.strip():
            continue
        try:
            rows.append(mapping.event(contract, json.loads(text), number))
            numbers.append(number)
        except MappingFault as e:
            bad.append(BadLine(number, str(e)))
        except ValueError:
            bad.append(BadLine(number, "not JSON"))
    frame, mistyped = frame_of(contract, rows)
    wrong = {b.row for b in mistyped}
    kept = [n for row, n in enumerate(numbers) if row not in wrong]
    broken = breaches(contract, frame)
    bad += [BadLine(numbers[b.row], b.rule) for b in mistyped]
    bad += [BadLine(kept[b.row], b.rule) for b in broken]
    good = frame.filter(~pl.int_range(pl.len()).is_in([b.row for b in broken])) if broken else frame
    return Dataset(good.sort(contract.event_time, maintain_order=True), sorted(bad, key=lambda b: b.line))


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            yield from enumerate(file, 1)
    except (OSError, EOFError) as e:
        raise UserError(f"{path} can't be read: {e}", "give a file of JSON Lines, gzipped or not") from e


def shift(events: pl.DataFrame, event_time: str, end_ms: int | None) -> pl.DataFrame:
    """All events moved in time by one amount, so that the last is at `end_ms`; None leaves them where they are."""
    if end_ms is None or not events.height:
        return events
    by = end_ms - events.select(pl.col(event_time).to_physical().max()).item()
    return events.with_columns(pl.col(event_time) + pl.duration(milliseconds=by, time_unit="ms"))


def with_fresh_ids(events: pl.DataFrame, event_id: str) -> pl.DataFrame:
    """The same events as new ones: an id that was sent before would make a duplicate of each."""
    prefix = uuid.uuid4().hex
    return events.with_columns(pl.format("{}-{}", pl.lit(prefix), pl.int_range(pl.len())).alias(event_id))
