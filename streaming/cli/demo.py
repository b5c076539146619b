"""`streamgauge demo`: the real servers, the real data, the numbers, in one command."""

import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import typer
from psycopg import sql
from rich.console import Console, Group
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from streamgauge.apply.execute import apply
from streamgauge.cli.output import RIGHT, console, table
from streamgauge.cli.stack import health_table
from streamgauge.contract.load import find_contract, load_contracts
from streamgauge.contract.model import Contract
from streamgauge.dagster.client import Dagster
from streamgauge.errors import UserError
from streamgauge.rollup.reference import find_reference, load_reference
from streamgauge.rollup.windows import MINUTE, latest_minute, read_top
from streamgauge.settings import CHECKOUT, Settings
from streamgauge.stack.control import Stack
from streamgauge.stack.layout import LOOPBACK
from streamgauge.stack.parts import EXPORTERS, PARTS, STORES
from streamgauge.state.accounts import Account, read_accounts
from streamgauge.stores.kafka import admin_client
from streamgauge.stores.postgres import Connection, connect_or_explain
from streamgauge.telemetry.span_export import export_traces
from streamgauge.text import duration, moment, number, plural
from streaming.cli.batch import hours_since, hours_table, load_hours, until_final
from streaming.cli.outcome import warn
from streaming.replay.replay import ReplayResult, progress_bars, replay_files

DATA = CHECKOUT / "examples" / "data"
FILES = ("github_events.jsonl.gz", "openstack_logs.jsonl.gz", "cloudwatch_metrics.jsonl.gz")
_CATCH_UP_SECONDS = 120.0
"""How long the worker may take for the data: without an end, the demo would hang on a worker that doesn't run."""
_WATCHED_SECONDS, _WATCHED_AGAIN_SECONDS = 330.0, 35.0
"""From its beginning, how long the demo watches the batch layer: until all is final, and again for a glance."""

_SHOWN = 5
_NAME = "streamgauge demo"


def demo() -> None:
    """Start the stack, replay the real data so that it ends now, and show what became of it."""
    out = console()
    steps = Console(stderr=True)
    stack = Stack()
    began = time.monotonic()
    with Progress(SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=steps) as progress:
        task = progress.add_task("starting the servers")
        stack.up(say=progress.console.print)
        admin, api = Settings.for_role("admin"), Settings.for_role("api")
        contracts = load_contracts(admin.contracts_dir)
        progress.update(task, description="applying the contracts")
        changes = len(apply(admin, contracts).changes)
        progress.console.print(f"contracts applied: {plural(changes, 'change')}")
        with connect_or_explain(admin, application=_NAME) as connection:
            load_reference(connection, find_reference(contracts, "actors"), DATA / "github_actors.csv")
        progress.update(task, description="starting the worker, the API, Dagster and the monitors")
        programs = [p.name for p in PARTS if p.optional and p.name not in (*EXPORTERS, *STORES)]
        stack.start_program(*programs, say=progress.console.print)
        stack.join_stores()
        progress.remove_task(task)
    sending = datetime.now(UTC)
    with connect_or_explain(api, autocommit=True, application=_NAME) as connection:
        before = {a.stream: a for a in read_accounts(connection, admin_client(api), contracts)}
    again = any(a.acknowledged for a in before.values())
    if again:
        steps.print(_AGAIN)
    producer = Settings.for_role("producer")
    export_traces("streamgauge-producer", producer.zipkin_url)
    with progress_bars(console=steps) as bars:
        results = replay_files(
            producer,
            [DATA / f for f in FILES],
            end=sending,
            fresh_ids=again,
            on_time_only=again,
            watermarks={stream: a.watermark for stream, a in before.items()},
            on_forecast=lambda found: warn(bars.console, found),
            progress=bars,
        )
    with connect_or_explain(api, autocommit=True, application=_NAME) as connection:
        accounts = _when_caught_up(connection, api, contracts, steps)
        out.print(f"\nReplayed so that the last event happened at {moment(sending)}; all done in "
                  f"{duration(time.monotonic() - began)}.\n")  # fmt: skip
        out.print(_books(results, accounts))
        user_events, system_events = (find_contract(contracts, s) for s in ("user_events", "system_events"))
        out.print(_ranking("user_events by event_type", _by_dimension(connection, user_events, "event_type")))
        out.print(_ranking("busiest organisations, last hour of user_events", _organisations(connection, user_events)))
        out.print(_ranking("system_events by service", _by_dimension(connection, system_events, "service")))
        stack.start_program(*EXPORTERS, say=steps.print)
        dagster = Dagster(api.dagster_url, api.dagster_key)
        until = began + (_WATCHED_AGAIN_SECONDS if again else _WATCHED_SECONDS)
        load_hours(dagster, contracts, hours_since(sending, datetime.now(UTC)), until, steps)
        hours = until_final(connection, contracts, until, steps)
        out.print(f"\nChecked against the batch layer; all done in {duration(time.monotonic() - began)}.\n")
        out.print(hours_table(hours))
        backlog = sum(h.backlog for h in hours)
        if backlog:
            out.print(
                f"{plural(backlog, 'hour')} got records that are not in these figures yet: Dagster goes on,"
                f" {dagster.url}/runs shows how."
            )
    out.print()
    out.print(health_table(stack, stack.health()))
    logs = f"http://{LOOPBACK}:{stack.layout.port('victoria-logs')}/select/vmui"
    out.print(_NEXT.format(page=api.api_url, dagster=api.dagster_url, traces=f"{api.zipkin_url}/zipkin", logs=logs))
    if not all(a.adds_up for a in accounts) or any(h.unexplained for h in hours):
        raise typer.Exit(1)


_AGAIN = (
    "The streams have events already. So only the latest minutes of the data are sent this time, as new events with ids"
    " of their own: the streams' watermarks have passed the time of the others, which would all be late."
)
_NEXT = """
What to try next
  {page:<50} the live page
  {dagster:<50} Dagster: lineage, checks, backfills, reports
  {traces:<50} Zipkin: each batch's, request's and run's trace
  {logs:<50} VictoriaLogs, built behind all else: the log lines
  streamgauge top                                    what happens most, live
  streamgauge rollups user_events --window 5m        minute rollups merged to any window
  streamgauge load user_events --rate 2000 --seconds 60 --bad 0.001
  streamgauge trace EVENT_ID                         one event's way to the numbers
  streamgauge reconcile                              where both layers agree, and what explains a difference
  streamgauge dead-letters list                      and what was wrong with the bad ones
  streamgauge doctor                                 is all well?
  make down                                          stop; make reset deletes what was stored
(the command is .venv/bin/streamgauge)"""


def _when_caught_up(
    connection: Connection, settings: Settings, contracts: Sequence[Contract], steps: Console
) -> list[Account]:
    client = admin_client(settings)
    until = time.monotonic() + _CATCH_UP_SECONDS
    with steps.status("the worker catches up") as status:
        while True:
            accounts = read_accounts(connection, client, contracts)
            lag = sum(a.lag for a in accounts)
            if not lag:
                return accounts
            waiting = plural(lag, "record")
            if time.monotonic() > until:
                raise UserError(f"the worker is still {waiting} behind", "see `streamgauge stack logs worker`")
            status.update(f"the worker catches up: {waiting} to go")
            time.sleep(0.2)


def _ranking(title: str, rows: Iterable[tuple[str, int]]) -> Group:
    shown = table(key="left", count=RIGHT)
    for key, count in rows:
        shown.add_row(escape(key), number(count))
    return Group(f"\n[bold]{title}[/]", shown)


def _by_dimension(connection: Connection, contract: Contract, dimension: str) -> list[tuple[str, int]]:
    query = sql.SQL("SELECT {0}, sum(count)::bigint FROM {1} GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT {2}").format(
        sql.Identifier(dimension), sql.Identifier(f"{contract.stream}_1h"), sql.Literal(_SHOWN)
    )
    return [(key, count) for key, count in connection.execute(query)]


def _organisations(connection: Connection, contract: Contract) -> list[tuple[str, int]]:
    newest = latest_minute(connection, contract)
    if newest is None:
        return []
    end = newest + MINUTE
    top = read_top(connection, contract, "organisations", end - 60 * MINUTE, end, _SHOWN)
    return [(item.key, item.count) for item in top.items]


def _books(results: Sequence[ReplayResult], accounts: Sequence[Account]) -> Table:
    figures = ("acknowledged", "counted", "late", "duplicates", "dead_letters")
    shown = table(stream="left", sent_now=RIGHT, **dict.fromkeys(figures, RIGHT), watermark="left", freshness=RIGHT)
    sent = {r.stream: r.sent for r in results}
    for a in accounts:
        shown.add_row(
            a.stream,
            number(sent.get(a.stream, 0)),
            *(number(getattr(a, f)) for f in figures),
            moment(a.watermark),
            duration(a.freshness_seconds),
        )
    return shown
