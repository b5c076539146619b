"""`streamgauge top`."""

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Annotated

import typer
from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from streamgauge.audit.entry import AuditEvent
from streamgauge.audit.log import append, person
from streamgauge.cli.output import RIGHT, Json, console, print_json, table
from streamgauge.contract.in_use import load_applied
from streamgauge.contract.load import find_contract
from streamgauge.contract.model import Contract
from streamgauge.errors import UserError
from streamgauge.rollup.pseudonyms import pseudonyms_of
from streamgauge.rollup.tops import TopAnswer, read_tops
from streamgauge.rollup.windows import WINDOWS
from streamgauge.settings import Settings
from streamgauge.state.pseudonyms import read_values
from streamgauge.stores.postgres import Connection, connect_or_explain
from streamgauge.stores.redis import redis_client
from streamgauge.text import moment, number

_REFRESH_SECONDS = 1.0


def top(
    stream: Annotated[str, typer.Argument(help="The stream, or all.")] = "all",
    window: Annotated[str, typer.Option(help="1m, 5m or 1h, up to the newest minute.")] = "1h",
    limit: Annotated[int, typer.Option(help="How many keys.", min=1, max=100)] = 10,
    personal: Annotated[bool, typer.Option("--personal", help="What is known of pseudonyms in their place.")] = False,
    once: Annotated[bool, typer.Option("--once", help="Print once and end, as in a pipe or a file.")] = False,
    as_json: Json = False,
) -> None:
    """Show the most frequent keys of a stream, live; Ctrl-C ends it."""
    if window not in WINDOWS:
        raise UserError(f"there is no window {window!r}", f"the windows are {', '.join(WINDOWS)}")
    settings = Settings.for_role("api")
    contracts = load_applied(settings)
    if stream != "all":
        contracts = (find_contract(contracts, stream),)
    redis = redis_client(settings)

    def connect() -> Connection:
        return connect_or_explain(settings, application="streamgauge top")

    def read() -> list[TopAnswer]:
        found = read_tops(redis, connect, contracts, window, limit)
        if not personal:
            return found
        with connect() as connection:
            append(connection, AuditEvent("personal.read", stream, person(), after={"window": window}))
            return with_values(
                found, contracts, lambda c, keys: read_values(connection, c.stream, pseudonyms_of(settings, c), keys)
            )

    if as_json:
        print_json([answer.as_json() for answer in read()])
    elif once or not console().is_terminal:
        console().print(tops_view(read()))
    else:
        with Live(tops_view(read()), console=console(), screen=True, auto_refresh=False) as live:
            try:
                while True:
                    time.sleep(_REFRESH_SECONDS)
                    live.update(view_or_error(read), refresh=True)
            except KeyboardInterrupt:
                return


def with_values(
    answers: Iterable[TopAnswer], contracts: Iterable[Contract], read: Callable[[Contract, list[str]], dict[str, str]]
) -> list[TopAnswer]:
    """With what `read` knows of the pseudonyms among their keys."""
    personal = {(c.stream, top.name): c for c in contracts for top in c.rollup.top if c.is_personal(top)}
    shown: list[TopAnswer] = []
    for answer in answers:
        contract = personal.get((answer.stream, answer.top))
        values = {} if contract is None else read(contract, [i.key for i in answer.items])
        shown.append(replace(answer, items=tuple(replace(i, key=values.get(i.key, i.key)) for i in answer.items)))
    return shown


def view_or_error(read: Callable[[], list[TopAnswer]]) -> RenderableType:
    """A server that is away for a while is no reason to end a live view."""
    try:
        return tops_view(read())
    except UserError as e:
        return Text(f"{e.what}; trying again")


def tops_view(answers: list[TopAnswer]) -> RenderableType:
    """A block a stream, its tops side by side."""
    if not answers:
        return Text("No events yet.")
    blocks: list[RenderableType] = []
    for stream in dict.fromkeys(a.stream for a in answers):
        of_stream = [a for a in answers if a.stream == stream]
        first = of_stream[0]
        blocks.append(
            Text.assemble(
                (f"\n{stream}", "bold"),
                f"  {moment(first.start)} to {moment(first.end)}, {first.status}, from {first.source},"
                f" watermark {moment(first.watermark)}",
            )
        )
        blocks.append(Columns([_top_table(a) for a in of_stream], padding=(0, 4)))
    return Group(*blocks)


def _top_table(answer: TopAnswer) -> RenderableType:
    exactness = "exact" if answer.exact else f"at most {number(answer.error)} too high"
    shown = table(**{f"{answer.top}, {exactness}": "left", "count": RIGHT})
    for item in answer.items:
        shown.add_row(Text(item.key), number(item.count))
    return shown
