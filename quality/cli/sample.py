"""`streamgauge sample`: records as the platform reads them."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

import polars as pl
import typer
from rich.text import Text

from quality.masking import Masker, no_values_in_errors
from streamgauge.cli.output import Json, console, print_json, table
from streamgauge.contract.load import find_contract, load_contracts
from streamgauge.contract.model import Contract
from streamgauge.contract.rules import violations
from streamgauge.records.decode import ROW
from streamgauge.records.log_spans import LogRecords, LogSpans
from streamgauge.records.record_decoder import RecordDecoder
from streamgauge.records.registry import Registry, registry
from streamgauge.settings import Settings
from streamgauge.text import moment

_MOST = 100
"""Records: who wants more wants the lake."""


@dataclass(frozen=True)
class Sampled:
    """A record, and what the platform makes of it. `fields` are as they may be shown; none where it can't be read."""

    partition: int
    offset: int
    ingest_time: datetime
    verdict: str
    fields: dict[str, str]


def sample(
    stream: Annotated[str, typer.Argument(help="Such as user_events.")],
    records: Annotated[int, typer.Option("--records", "-n", min=1, max=_MOST, help="How many of the latest.")] = 10,
    as_json: Json = False,
) -> None:
    """Show a stream's latest records as the platform reads them; personal values are masked."""
    settings = Settings.for_role("batch")
    contract = find_contract(load_contracts(settings.contracts_dir), stream)
    found = read_sample(settings, contract, records)
    if as_json:
        print_json([{**vars(s), "ingest_time": s.ingest_time.isoformat()} for s in found])
        return
    out = console()
    if not found:
        out.print(f"{contract.topic} holds no records.")
        return
    shown = table(position="left", ingested="left", verdict="left", **dict.fromkeys(contract.field, "left"))
    for s in found:
        values = [Text(s.fields.get(name, "")) for name in contract.field]
        shown.add_row(f"{s.partition}/{s.offset}", moment(s.ingest_time), Text(s.verdict), *values)
    out.print(shown)


def read_sample(settings: Settings, contract: Contract, records: int) -> list[Sampled]:
    """The `records` that the broker appended last, in that order."""
    masker = Masker(contract)
    schemas = registry(settings)
    try:
        with LogSpans(settings, contract, {}) as log, no_values_in_errors("reading records"):
            spans = {p: (max(low, high - records), high) for p, (low, high) in log.ends().items()}
            found = [s for part in log.read(spans) for s in _sampled(contract, part, schemas, masker)]
    finally:
        schemas.close()
    return sorted(found, key=lambda s: (s.ingest_time, s.partition, s.offset))[-records:]


def _sampled(contract: Contract, part: LogRecords, schemas: Registry, masker: Masker) -> Iterator[Sampled]:
    decoded = RecordDecoder(contract, schemas.find_schema).decode(part.payloads, part.partitions, part.offsets)
    verdicts = {r.row: f"{r.reason}: {r.detail}" for r in decoded.rejected}
    rows: dict[int, dict[str, Any]] = {row[ROW]: row for row in decoded.frame.iter_rows(named=True)}
    rules = violations(contract)
    broken = decoded.frame.select(ROW, *(r.expr.alias(str(i)) for i, r in enumerate(rules)))
    for row, *flags in broken.filter(pl.any_horizontal(pl.exclude(ROW))).iter_rows():
        verdicts[row] = f"breaks the contract: {rules[flags.index(True)].name}"
    for row in range(len(part.payloads)):
        values = rows.get(row, {})
        fields = {f.name: masker.shown(f, v) for f in contract.fields if (v := values.get(f.name)) is not None}
        at = datetime.fromtimestamp(int(part.ingest_ms[row]) / 1000, UTC)
        partition, offset = int(part.partitions[row]), int(part.offsets[row])
        yield Sampled(partition, offset, at, verdicts.get(row, "right"), fields)
