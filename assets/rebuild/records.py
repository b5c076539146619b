"""The records of some hours of event time: from the lake what it has, the rest from Kafka."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from assets.lake.rows import LakeRowsOf
from quality.reconciliation.coverage import Span
from streamgauge.contract.model import Contract
from streamgauge.dagster.hours import hour_start
from streamgauge.errors import UserError
from streamgauge.records.log_spans import LogSpans
from streamgauge.records.registry import Registry
from streamgauge.settings import Settings, batch_start
from streamgauge.stores.lake import (
    ERROR,
    EVENT_HOUR,
    INGEST_TIME,
    MILLISECONDS,
    OFFSET,
    PARTITION,
    contract_columns,
    lake_table,
)


@dataclass(frozen=True)
class Times:
    """Event times that matter: the hours to rebuild, and around them as far as event ids are remembered."""

    start: datetime
    end: datetime
    horizon: timedelta

    @staticmethod
    def of(contract: Contract, start: datetime, end: datetime) -> "Times":
        return Times(start, end, timedelta(seconds=contract.time.duplicateHorizonSeconds))

    def around(self, contract: Contract) -> pl.Expr:
        """Records that the decoder read, and no others: what it couldn't, the worker couldn't."""
        return pl.col(ERROR).is_null() & self.near(contract)

    def near(self, contract: Contract) -> pl.Expr:
        at = pl.col(contract.event_time)
        return (at >= self.start - self.horizon) & (at < self.end + self.horizon)


def schema(contract: Contract) -> pl.Schema:
    columns: dict[str, Any] = {**contract_columns(contract), PARTITION: pl.Int32(), OFFSET: pl.Int64()}
    return pl.Schema({**columns, INGEST_TIME: MILLISECONDS})


def in_lake(settings: Settings, contract: Contract, ingest_hours: Sequence[str], times: Times) -> pl.DataFrame:
    first, last = hour_start(times.start - times.horizon), hour_start(times.end + times.horizon)
    # what happened before the batch layer's first day is under the hour in which it came in
    between = (EVENT_HOUR, first, last) if first.date() >= batch_start() else None
    rows = lake_table(settings.lake, contract).scan(ingest_hours, between)
    return rows.filter(times.around(contract)).select(list(schema(contract))).collect()


class Log:
    """What the lake doesn't have yet, read as the lake would."""

    def __init__(self, contract: Contract, spans: LogSpans, registry: Registry) -> None:
        self._contract = contract
        self._spans = spans
        self._rows_of = LakeRowsOf(contract, registry.find_schema, batch_start())

    def refuse_gone(self, spans: Mapping[int, Sequence[Span]]) -> None:
        """Raises UserError where Kafka no longer has all of the spans."""
        gone = self.lacks(spans)
        if gone is not None:
            partition, (first, end) = gone
            raise UserError(
                f"{self._contract.topic}, partition {partition}: neither the lake nor Kafka has the offsets "
                f"{first} to {end - 1}",
                "minutes can only be made again from all of their records; nothing was changed",
            )

    def lacks(self, spans: Mapping[int, Sequence[Span]]) -> tuple[int, Span] | None:
        """A partition, and what of its spans Kafka no longer has; None where it has all."""
        lows = {p: low for p, (low, _) in self._spans.ends().items()}
        for partition, parts in spans.items():
            for first, end in parts:
                if first < lows[partition]:
                    return partition, (first, min(lows[partition], end))
        return None

    def read(self, spans: Mapping[int, Sequence[Span]], times: Times) -> pl.DataFrame:
        """The records of the spans with event times that matter."""
        frames = [schema(self._contract).to_frame()]
        for nth in range(max(map(len, spans.values()), default=0)):
            for records in self._spans.read({p: parts[nth] for p, parts in spans.items() if nth < len(parts)}):
                rows = self._rows_of.rows(records, "")
                frames.append(rows.filter(times.around(self._contract)).select(list(schema(self._contract))))
        return pl.concat(frames)
