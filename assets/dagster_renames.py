"""Dagster's history after assets got clearer names: what is known of an asset by its former name stays known.

Materializations, partitions, checks, freshness and runs name an asset in columns and in serialized texts alike. Both
are rewritten in one transaction, once for each instance. Events that an older version of this code still writes
meanwhile would keep the former names: stop all of Dagster before it starts anew.
"""

import json
import logging
from collections.abc import Iterable, Mapping

import sqlalchemy as sa
from dagster_postgres.utils import create_pg_engine

from assets.dagster_internals import (
    AssetCheckExecutionsTable,
    AssetDaemonAssetEvaluationsTable,
    AssetEventTagsTable,
    AssetKeyTable,
    BulkActionsTable,
    KeyValueStoreTable,
    RunsTable,
    SqlEventLogStorageTable,
)
from streamgauge.dagster.keys import FORMER_NAMES

log = logging.getLogger(__name__)

DONE = "streamgauge/asset names"
"""The entry in Dagster's key-value table that says which names the history has."""
NAMES = "layer and kind"
_LOCK = 0x5347_4E41_4D45
"""Two processes that start at once must not both rename."""

_KEYS = (
    SqlEventLogStorageTable.c.asset_key,
    AssetEventTagsTable.c.asset_key,
    AssetCheckExecutionsTable.c.asset_key,
    AssetDaemonAssetEvaluationsTable.c.asset_key,
    AssetKeyTable.c.asset_key,
)
_TEXTS = (
    SqlEventLogStorageTable.c.event,
    AssetCheckExecutionsTable.c.evaluation_event,
    AssetDaemonAssetEvaluationsTable.c.asset_evaluation_body,
    AssetKeyTable.c.last_materialization,
    RunsTable.c.run_body,
    BulkActionsTable.c.body,
)


def rename_assets(postgres_url: str) -> int:
    """Returns how many assets were renamed: 0 where it was done before, and in a new instance."""
    engine = create_pg_engine(postgres_url, isolation_level="READ COMMITTED")
    with engine.begin() as connection:
        if _done(connection):
            return 0
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        if _done(connection):
            return 0
        known = connection.execute(sa.select(AssetKeyTable.c.asset_key)).scalars()
        names = new_names(known)
        if names:
            _rename(connection, names)
        connection.execute(sa.insert(KeyValueStoreTable).values(key=DONE, value=NAMES))
    engine.dispose()
    if names:
        log.warning("%d assets have new names in Dagster's history: %s", len(names), ", ".join(names.values()))
    return len(names)


def new_names(keys: Iterable[str]) -> dict[str, str]:
    """By former key, as Dagster writes keys: a JSON array."""
    paths = [json.loads(key) for key in keys]
    return {
        json.dumps(path): json.dumps([path[0], FORMER_NAMES[path[0]].format(path[1])])
        for path in paths
        if len(path) == 2 and path[0] in FORMER_NAMES
    }


def _done(connection: sa.Connection) -> bool:
    wanted = sa.select(KeyValueStoreTable.c.value).where(KeyValueStoreTable.c.key == DONE)
    return connection.execute(wanted).first() is not None


def _rename(connection: sa.Connection, names: Mapping[str, str]) -> None:
    for column in _KEYS:
        new = sa.case(names, value=column)
        connection.execute(sa.update(column.table).where(column.in_(names)).values({column.name: new}))
    layers = "|".join(FORMER_NAMES)
    for column in _TEXTS:
        text = column
        # a text within a text has its quotes escaped
        for former, new in names.items():
            text = sa.func.replace(sa.func.replace(text, former, new), _escaped(former), _escaped(new))
        named = column.regexp_match(rf'\[\\?"({layers})\\?", ')
        connection.execute(sa.update(column.table).where(named).values({column.name: text}))
    # what Dagster remembers of partitions is computed anew
    connection.execute(sa.update(AssetKeyTable).values(cached_status_data=None))


def _escaped(text: str) -> str:
    return text.replace('"', '\\"')
