"""From a stream's records to its events, whoever writes them and in whatever format: the speed layer, the batch layer
and the commands all read by this, so that they agree.
"""

from dataclasses import replace

import numpy as np
import polars as pl

from streamgauge.contract.model import BY_POSITION, Contract
from streamgauge.records.decode import ROW, Decoded, Decoder, Picked, SchemaOf
from streamgauge.records.json_reader import JsonReader
from streamgauge.records.payloads import Payloads
from streamgauge.types import Int64s


class RecordDecoder:
    """Of one stream; the arguments are those of Decoder."""

    def __init__(self, contract: Contract, schema_of: SchemaOf, picked: Picked | None = None) -> None:
        self._contract = contract
        if contract.source is not None and contract.source.format == "json":
            self._decoder = JsonReader(contract.read_fields)
        else:
            self._decoder = Decoder(contract.read_fields, schema_of, picked)

    def decode(self, payloads: Payloads, partitions: Int64s, offsets: Int64s) -> Decoded:
        """`partitions` and `offsets` say where the records stand; offsets are positions (streamgauge.state.topics)."""
        decoded = self._decoder.decode(payloads)
        source = self._contract.source
        if source is None or source.id is None:
            return decoded
        frame = decoded.frame
        if source.id == BY_POSITION:
            rows = frame[ROW].to_numpy()
            at = pl.DataFrame({"partition": partitions[rows], "offset": offsets[rows].astype(np.int64)})
            built = at.select(pl.format("{}-{}", "partition", "offset")).to_series()
        else:
            built = frame.select(_joined(self._contract, source.id)).to_series()
        name = self._contract.event_id
        with_id = frame.with_columns(built.alias(name))
        # the order of the contract's fields, as of every frame
        first = [c for c in (ROW, *self._contract.field) if c in with_id.columns]
        return replace(decoded, frame=with_id.select(*first, pl.exclude(first)))


def _joined(contract: Contract, names: tuple[str, ...]) -> pl.Expr:
    """Null where one of them is. Different values never make the same id: what separates them is escaped in them."""
    parts: list[pl.Expr] = []
    for name in names:
        value = pl.col(name)
        if contract.field[name].type == "timestamp-millis":
            value = value.to_physical()
        text = value.cast(pl.String)
        parts.append(text.str.replace_all("\\", "\\\\", literal=True).str.replace_all("|", "\\|", literal=True))
    return pl.concat_str(parts, separator="|")
