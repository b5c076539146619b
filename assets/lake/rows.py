"""From records of the log to rows of the lake: one a record, whatever is wrong with it.

A record with a time that no table can hold keeps its other fields; beside them stand the reason and the whole record.
"""

from datetime import date

import numpy as np
import polars as pl

from streamgauge.contract.model import Contract
from streamgauge.contract.times import outside, outside_rule, storable, time_fields
from streamgauge.dagster.hours import HOUR, hour_of
from streamgauge.records.decode import ROW, Decoded, Rejected, SchemaOf
from streamgauge.records.log_spans import LogRecords
from streamgauge.records.record_decoder import RecordDecoder
from streamgauge.stores.lake import ERROR, EVENT_HOUR, INGEST_HOUR, INGEST_TIME, MILLISECONDS, OFFSET, PARTITION, RECORD
from streamgauge.stores.owning_hour import owning_hour
from streamgauge.types import Int64s


class LakeRowsOf:
    """Of one stream. `start` is the batch layer's first day."""

    def __init__(self, contract: Contract, schema_of: SchemaOf, start: date) -> None:
        self._contract = contract
        self._decoder = RecordDecoder(contract, schema_of)
        self._owning_hour = owning_hour(contract, start)

    def rows(self, records: LogRecords, hour_key: str) -> pl.DataFrame:
        """All records came in during the hour `hour_key`; "" where they are read for another purpose. A record that
        can't be decoded is kept as it came.
        """
        decoded = self._storable(self._decoder.decode(records.payloads, records.partitions, records.offsets))
        placed = pl.DataFrame(
            {
                PARTITION: pl.Series(records.partitions, dtype=pl.Int32),
                OFFSET: records.offsets,
                INGEST_TIME: pl.Series(_within(records.ingest_ms, hour_key)).cast(MILLISECONDS),
            }
        )
        if decoded.rejected:
            rows = [r.row for r in decoded.rejected]
            broken = pl.DataFrame(
                {
                    ROW: pl.Series(rows, dtype=pl.UInt32),
                    ERROR: pl.Series([f"{r.reason}: {r.detail}" for r in decoded.rejected], dtype=pl.String),
                    RECORD: pl.Series([records.payloads[r] for r in rows], dtype=pl.Binary),
                }
            )
            placed = placed.with_row_index(ROW)
            for more in (decoded.frame, broken):
                placed = placed.join(more, on=ROW, how="left", maintain_order="left")
        else:
            # every record is there, in its place
            placed = placed.hstack(decoded.frame.get_columns()).with_columns(
                pl.lit(None, pl.String).alias(ERROR), pl.lit(None, pl.Binary).alias(RECORD)
            )
        return placed.drop(ROW).with_columns(pl.lit(hour_key).alias(INGEST_HOUR), self._owning_hour.alias(EVENT_HOUR))

    def _storable(self, decoded: Decoded) -> Decoded:
        names = time_fields(self._contract)
        broken = decoded.frame.filter(pl.any_horizontal(outside(n) for n in names))
        if broken.is_empty():
            return decoded
        first = pl.coalesce(pl.when(outside(n)).then(pl.lit(outside_rule(n))) for n in names)
        found = [Rejected(row, "contract", rule) for row, rule in broken.select(ROW, first.alias("rule")).iter_rows()]
        return Decoded(decoded.frame.with_columns(storable(names)), [*decoded.rejected, *found])


def _within(ingest_ms: Int64s, key: str) -> Int64s:
    """A producer's clock that is far ahead must not lead to an hour in which nobody looks for the record."""
    if not key:
        return ingest_ms
    return np.minimum(ingest_ms, int((hour_of(key) + HOUR).timestamp()) * 1000 - 1)
