"""The tables, views and grants in Postgres that the contracts ask for. Pure: no server is asked."""

from collections.abc import Iterable

from streamgauge.contract.model import Contract
from streamgauge.errors import UserError
from streamgauge.stores.ddl import Database, Table
from streamgauge.stores.tables import (
    access,
    alerts,
    anomalies,
    audit,
    batch,
    generations,
    quality,
    reconciliation,
    speed,
    upkeep,
    windows,
)


def database(contracts: Iterable[Contract], pending: Iterable[Contract] = ()) -> Database:
    """`pending` are generations that are being filled."""
    tables: list[Table] = [*speed.STATE_TABLES, *batch.STATE_TABLES]
    tables += [*reconciliation.TABLES, *quality.TABLES, *alerts.TABLES, *anomalies.TABLES]
    tables += [*access.TABLES, *audit.TABLES, *generations.TABLES]
    views = [speed.ACCOUNTING, speed.DEAD_LETTER_LIST, reconciliation.FINAL_HOURS]
    for contract in contracts:
        tables += [*speed.stream_tables(contract), *batch.stream_tables(contract)]
        views += windows.window_views(contract)
        for reference in (speed.reference_table(contract), speed.reference_history_table(contract)):
            if reference is not None:
                tables.append(_shared(reference, tables, contract))
    for contract in pending:
        tables += [*speed.stream_tables(contract), *batch.stream_tables(contract)]
        views += windows.window_views(contract, current=False)
    unique = {t.name: t for t in tables}
    functions = (upkeep.DROP_OLD, audit.APPEND, generations.TAKE_UP, generations.DROP)
    return Database(tuple(unique.values()), tuple(views), functions)


def _shared(reference: Table, tables: list[Table], contract: Contract) -> Table:
    """Two streams may use one reference table if they mean the same by it."""
    for table in tables:
        if table.name == reference.name and table != reference:
            raise UserError(
                f"contract {contract.stream}: another stream defines {reference.name} with other columns",
                "give both the same key and columns, or one of them another name",
            )
    return reference
