"""Rollups of a day: its hours added up, in the lake and in Postgres."""

from datetime import datetime, timedelta

from assets.rollups.publish import read, replace
from assets.rollups.roll import Windows, merged
from assets.rollups.tables import daily_rows
from streamgauge.contract.model import Contract
from streamgauge.dagster.hours import DAY_FORMAT
from streamgauge.stores.postgres import Connection
from streamgauge.stores.rollup_tables import daily_table

DAY = timedelta(days=1)


def publish_day(connection: Connection, root: str, contract: Contract, day: datetime) -> Windows:
    """From the hours as they are published, in the caller's transaction."""
    end, name = day + DAY, day.strftime(DAY_FORMAT)
    days = merged(contract, read(connection, contract, "1h", day, end), "1d")
    table = daily_table(root, contract)
    if not days.rows.is_empty() or table.stored([name]):
        table.replace([name], daily_rows(days.rows))
    replace(connection, contract, "1d", days, day, end)
    return days
