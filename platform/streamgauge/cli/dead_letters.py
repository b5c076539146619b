"""`streamgauge dead-letters`: list, show, requeue."""

from collections.abc import Sequence
from typing import Annotated

import typer
from rich.text import Text

from streamgauge.audit.entry import AuditEvent
from streamgauge.audit.log import append, person
from streamgauge.cli.output import RIGHT, Json, console, print_json, table
from streamgauge.contract.load import find_contract, load_contracts
from streamgauge.contract.model import Contract
from streamgauge.errors import UserError
from streamgauge.settings import Settings
from streamgauge.state import dead_letters
from streamgauge.state.dead_letters import Position, Selection
from streamgauge.stores.kafka import producer
from streamgauge.stores.postgres import connect_or_explain
from streamgauge.text import moment, number, plural

app = typer.Typer(no_args_is_help=True, help="Records that couldn't be decoded or broke their contract.")

Stream = Annotated[str | None, typer.Option(help="Only of this stream.")]
Reason = Annotated[str | None, typer.Option(help="Only for this reason.")]


@app.command("list")
def list_(
    stream: Stream = None,
    reason: Reason = None,
    limit: Annotated[int, typer.Option(help="How many of the latest to list.", min=0)] = 20,
    as_json: Json = False,
) -> None:
    """Count dead letters by stream and reason, and list the latest."""
    settings = Settings.for_role("reader")
    selection = _selection(settings, (), stream, reason)
    with connect_or_explain(settings, application="streamgauge dead-letters") as connection:
        if reason is not None:
            dead_letters.check_reason(connection, reason)
        counts = dead_letters.counts(connection, selection)
        latest = dead_letters.latest(connection, selection, limit)
    if as_json:
        print_json({"counts": [vars(c) for c in counts], "latest": [d.as_json() for d in latest]})
        return
    out = console()
    if not counts:
        out.print("No dead letters.")
        return
    summary = table(stream="left", reason="left", count=RIGHT, requeued=RIGHT)
    for c in counts:
        summary.add_row(c.stream, c.reason, number(c.count), number(c.requeued))
    out.print(summary)
    rows = table(position="left", ingest_time="left", reason="left", detail="left", requeued="left")
    for d in latest:
        rows.add_row(str(d.position), moment(d.ingest_time), d.reason, Text(d.detail or ""), moment(d.requeued_at))
    out.print()
    out.print(rows)


@app.command()
def show(
    position: Annotated[str, typer.Argument(help="topic/partition/offset")],
    payload: Annotated[
        bool, typer.Option("--payload", help="Key, headers and value too, which may be personal data.")
    ] = False,
) -> None:
    """Show one dead letter."""
    at = Position.parse(position)
    # the reader's login has no right to what may be personal
    settings = Settings.for_role("admin" if payload else "reader")
    with connect_or_explain(settings, application="streamgauge dead-letters") as connection:
        letter = dead_letters.find(connection, at)
        record = dead_letters.payload(connection, at) if payload else None
        if payload:
            append(connection, AuditEvent("dead-letter.read", str(at), person()))
    out = console()
    out.print(f"{at} of {letter.stream}, ingested {moment(letter.ingest_time)}")
    out.print(f"reason {letter.reason}: {letter.detail or 'no detail'}", markup=False)
    if letter.requeued_at:
        out.print(f"requeued {moment(letter.requeued_at)}")
    key_size = "no key" if letter.key_bytes is None else f"key of {letter.key_bytes} bytes"
    size = "no value" if letter.value_bytes is None else f"value of {letter.value_bytes} bytes"
    out.print(f"{key_size}, {size}, headers {', '.join(letter.header_names) or 'none'}", markup=False)
    if record is None:
        return
    parts = [("key", record.key), *((f"header {n}", v) for n, v in record.headers), ("value", record.value)]
    for name, data in parts:
        if data is not None:
            out.print(f"\n{name}", markup=False)
            out.print(hexdump(data), markup=False, soft_wrap=True)


@app.command()
def requeue(
    positions: Annotated[list[str] | None, typer.Argument(help="topic/partition/offset, one or more")] = None,
    stream: Stream = None,
    reason: Reason = None,
    again: Annotated[bool, typer.Option("--again", help="Also what was requeued before.")] = False,
) -> None:
    """Send dead letters to their topic once more, byte for byte, after what was wrong is put right."""
    if not (positions or stream or reason):
        raise UserError("requeue which?", "give positions, --stream or --reason")
    settings = Settings.for_role("admin")
    selection = _selection(settings, positions or (), stream, reason)
    _refuse_others(load_contracts(settings.contracts_dir), selection)
    sender = producer(Settings.for_role("producer"))
    with connect_or_explain(settings, autocommit=True, application="streamgauge requeue") as connection:
        if reason is not None:
            dead_letters.check_reason(connection, reason)
        for at in selection.positions:
            dead_letters.find(connection, at)
        wanted = {"positions": selection.positions, "stream": stream, "reason": reason, "again": again}
        append(connection, AuditEvent("dead-letters.requeue", stream or "chosen", person(), after=wanted))
        count = dead_letters.requeue(connection, sender, selection, again)
    console().print(f"{plural(count, 'dead letter')} requeued." if count else "Nothing to requeue; see --again.")


def _refuse_others(contracts: Sequence[Contract], selection: Selection) -> None:
    """Raises UserError where a dead letter may be of a topic that others write."""
    topics = {at.topic for at in selection.positions}
    for contract in (c for c in contracts if c.source is not None):
        if contract.topic in topics or contract.stream == selection.stream:
            contract.check_written_here()
        elif not topics and selection.stream is None:
            raise UserError(
                f"dead letters of {contract.topic}, which others write, can't be requeued",
                "name another stream with --stream",
            )


def _selection(settings: Settings, positions: Sequence[str], stream: str | None, reason: str | None) -> Selection:
    if stream is not None:
        find_contract(load_contracts(settings.contracts_dir), stream)
    return Selection(tuple(map(Position.parse, positions)), stream, reason)


def hexdump(data: bytes) -> str:
    """Offset, sixteen bytes in hexadecimal, and the same as ASCII."""
    lines: list[str] = []
    for start in range(0, len(data), 16):
        part = data[start : start + 16]
        text = "".join(chr(b) if 32 <= b < 127 else "." for b in part)
        lines.append(f"{start:08x}  {part.hex(' '):<47}  {text}")
    return "\n".join(lines)
