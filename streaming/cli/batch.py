"""The demo's second half: the batch layer asked for the hours that were replayed, and watched until they are final."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from streamgauge.cli.output import RIGHT, table
from streamgauge.contract.model import Contract
from streamgauge.dagster import keys as asset_keys
from streamgauge.dagster.client import Dagster
from streamgauge.dagster.hours import HourRange, hour_start
from streamgauge.errors import UserError
from streamgauge.stores.postgres import Connection
from streamgauge.stores.progress import read_watermark
from streamgauge.text import number

_POLL_SECONDS = 1.0
"""Each look is a query for every stream: more of them would slow down the runs that they wait for."""

_HOURS = """
select count(*), count(*) filter (where f.hour is not null), count(*) filter (where h.hour + %(late)s <= w.reached),
  count(*) filter (where h.hour + %(late)s <= w.reached and f.hour is not null),
  count(*) filter (where least(h.built, h.rolled, h.reconciled) < h.touched),
  coalesce(sum(h.facts), 0)::bigint, coalesce(sum(h.duplicates), 0)::bigint, coalesce(sum(h.quarantined), 0)::bigint
from event_hours h
cross join (select %(watermark)s::timestamptz as reached) w
left join final_hours f on f.stream = h.stream and f.hour = h.hour
where h.stream = %(stream)s"""

_UNEXPLAINED = "select count(*) from reconciliation_differences where stream = %s and not explained"


@dataclass(frozen=True)
class Hours:
    """A stream's hours of event time. Those that are `over` can become final: nothing on time is still to come."""

    stream: str
    total: int
    final: int
    over: int
    over_and_final: int
    backlog: int
    """Hours with records that are not in their facts or numbers yet."""
    facts: int
    duplicates: int
    quarantined: int
    unexplained: int


def read_hours(connection: Connection, contract: Contract) -> Hours:
    closed = timedelta(hours=1, milliseconds=contract.lateness_ms)
    watermark = read_watermark(connection, contract.topic)
    of = {"stream": contract.stream, "watermark": watermark, "late": closed}
    found = connection.execute(_HOURS, of).fetchone()
    differing = connection.execute(_UNEXPLAINED, (contract.stream,)).fetchone()
    assert found is not None
    assert differing is not None
    return Hours(contract.stream, *found, unexplained=differing[0])


def load_hours(dagster: Dagster, contracts: Sequence[Contract], hours: HourRange, until: float, steps: Console) -> None:
    """The lake's hours, the open one too. What they bring is made into facts and numbers by the daemon's sensor.

    `until`, on the clock (`time.monotonic`), is when nobody watches any longer.
    """
    run = dagster.launch_run([asset_keys.lake(c) for c in contracts], hours)
    with steps.status("Dagster takes the hour's records into the lake"):
        while (state := dagster.run_state(run)) == "running" and time.monotonic() < until:
            time.sleep(_POLL_SECONDS)
    if state not in ("running", "done"):
        raise UserError(f"the lake's hours were not loaded: the run {state}", f"see {dagster.run_url(run)}")


def until_final(connection: Connection, contracts: Sequence[Contract], until: float, steps: Console) -> list[Hours]:
    """Watches until every hour that can be final is and no backlog is left, or until the clock (`time.monotonic`) says
    `until`: Dagster goes on without anyone watching.
    """
    bar = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*bar, console=steps) as progress:
        task = progress.add_task("hours reconciled and final", total=None)
        while True:
            hours = [read_hours(connection, c) for c in contracts]
            over, final = sum(h.over for h in hours), sum(h.over_and_final for h in hours)
            progress.update(task, total=over, completed=final)
            settled = over and final == over and not sum(h.backlog for h in hours)
            if settled or time.monotonic() > until:
                return hours
            time.sleep(_POLL_SECONDS)


def hours_table(hours: Sequence[Hours]) -> Table:
    shown = table(
        stream="left", hours=RIGHT, final=RIGHT, facts=RIGHT, duplicates=RIGHT, quarantined=RIGHT, unexplained=RIGHT
    )
    for h in hours:
        shown.add_row(
            h.stream, *(number(n) for n in (h.total, h.final, h.facts, h.duplicates, h.quarantined, h.unexplained))
        )
    return shown


def hours_since(began: datetime, now: datetime) -> HourRange:
    """The hours of ingest time in which something was sent."""
    return HourRange(hour_start(began), hour_start(now))
