"""What the reference table said of its keys, and since when.

A member's first version has no beginning: it is what the worker too says of a key that the table doesn't have, or did
not have yet. Each row of the history begins another version, and ends the one before.
"""

from dataclasses import dataclass

import polars as pl
from psycopg import sql

from assets.dims.keys import version_key
from streamgauge.contract.model import ReferenceSpec
from streamgauge.rollup.enrich import KEY, REFERENCE
from streamgauge.stores.dimension_tables import MICROSECONDS, VALID_FROM
from streamgauge.stores.lake import INGEST_TIME
from streamgauge.stores.postgres import Connection

VERSION_KEY = "__version_key"
_ROW = "__row"


@dataclass(frozen=True)
class History:
    """`versions`: `key`, the contract's reference columns, `valid_from` and `__version_key`, by `valid_from`."""

    spec: ReferenceSpec
    versions: pl.DataFrame

    @classmethod
    def of(cls, spec: ReferenceSpec, rows: pl.DataFrame) -> "History":
        """`rows` with `key`, the reference columns and `valid_from`, in any order."""
        schema = {KEY: pl.String, **dict.fromkeys(spec.columns, pl.String), VALID_FROM: MICROSECONDS}
        ordered = rows.select(pl.col(n).cast(t) for n, t in schema.items()).unique().sort(VALID_FROM, KEY)
        starts = ordered[VALID_FROM].to_physical()
        keys = [version_key(k, at) for k, at in zip(ordered[KEY], starts, strict=True)]
        return cls(spec, ordered.with_columns(pl.Series(VERSION_KEY, keys, dtype=pl.Int64)))

    def with_versions_of(self, dimension: pl.DataFrame) -> "History":
        """And those that the dimension's table has already."""
        noted = dimension.drop_nulls(VALID_FROM)
        columns = [KEY, *self.spec.columns, VALID_FROM]
        return History.of(self.spec, pl.concat((self.versions.select(columns), noted.select(columns))))

    def enrich(self, events: pl.DataFrame) -> pl.DataFrame:
        """Adds the reference columns as of each event's ingest time, and the version's key: null for the first one.

        Rows keep their order.
        """
        spec = self.spec
        moments = events.select(
            pl.col(spec.key).alias(KEY), pl.col(INGEST_TIME).cast(MICROSECONDS).alias(VALID_FROM)
        ).with_row_index(_ROW)
        added = [*spec.columns, VERSION_KEY]
        if self._known_since(moments):
            latest = self.versions.unique(KEY, keep="last")
            found = moments.join(latest, on=KEY, how="left", maintain_order="left")
        else:
            versions = self.versions.sort(VALID_FROM)
            found = moments.sort(VALID_FROM).join_asof(versions, on=VALID_FROM, by=KEY, check_sortedness=False)
            found = found.sort(_ROW)
        columns = [pl.col(c).fill_null(spec.unknown).alias(REFERENCE + c) for c in spec.columns]
        return events.hstack(found.select(added).select(*columns, VERSION_KEY))

    def _known_since(self, moments: pl.DataFrame) -> bool:
        """Nothing changed since the first of these moments."""
        if self.versions.is_empty() or moments.is_empty():
            return True
        return bool(self.versions.select(pl.col(VALID_FROM).max() <= moments[VALID_FROM].min()).item())


def read_history(connection: Connection, spec: ReferenceSpec) -> History:
    """What was noted when the table was loaded, and what it holds now, however that came about."""
    columns = sql.SQL(", ").join(map(sql.Identifier, (spec.key, *spec.columns)))
    query = sql.SQL("SELECT {c}, valid_from FROM {h} UNION SELECT {c}, updated_at FROM {t}").format(
        c=columns, h=sql.Identifier(spec.history_table), t=sql.Identifier(spec.table)
    )
    schema = {KEY: pl.String, **dict.fromkeys(spec.columns, pl.String), VALID_FROM: MICROSECONDS}
    return History.of(spec, pl.DataFrame(connection.execute(query).fetchall(), schema=schema, orient="row"))
