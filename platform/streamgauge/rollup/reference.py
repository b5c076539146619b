"""Reference tables: reading one, and loading one from a CSV file."""

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from psycopg import sql

from streamgauge.contract.model import MAX_UNRULED_TEXT, Contract, ReferenceSpec
from streamgauge.errors import UserError
from streamgauge.rollup.enrich import KEY, Reference
from streamgauge.stores.postgres import Connection


@dataclass(frozen=True)
class Loaded:
    rows: int
    inserted: int
    changed: int


def find_reference(contracts: Iterable[Contract], name: str) -> ReferenceSpec:
    known = {c.reference.name: c.reference for c in contracts if c.reference}
    if name not in known:
        raise UserError(f"no contract has a reference {name!r}", f"there is {', '.join(sorted(known)) or 'none'}")
    return known[name]


def read_reference(connection: Connection, contract: Contract) -> Reference | None:
    """As the table stands; None where the contract has none."""
    spec = contract.reference
    if spec is None:
        return None
    query = sql.SQL("SELECT {} FROM {}").format(
        sql.SQL(", ").join(map(sql.Identifier, (spec.key, *spec.columns))), sql.Identifier(spec.table)
    )
    rows = connection.execute(query).fetchall()
    return Reference(spec, pl.DataFrame(rows, schema=dict.fromkeys((KEY, *spec.columns), pl.String), orient="row"))


def load_reference(connection: Connection, spec: ReferenceSpec, file: Path) -> Loaded:
    """Inserts new rows and updates changed ones; a row that isn't in the file stays. All or nothing.

    What is written is noted in the reference's history too.
    """
    columns = [spec.key, *spec.columns]
    table, key, loading = sql.Identifier(spec.table), sql.Identifier(spec.key), sql.Identifier("loading")
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    values = [sql.Identifier(c) for c in spec.columns]
    with connection.transaction(), connection.cursor() as cursor:
        cursor.execute(
            sql.SQL("CREATE TEMP TABLE {} ON COMMIT DROP AS SELECT {} FROM {} LIMIT 0").format(loading, names, table)
        )
        rows = 0
        with cursor.copy(sql.SQL("COPY {} ({}) FROM STDIN").format(loading, names)) as copy:
            for row in _rows(file, columns):
                copy.write_row(row)
                rows += 1
        twice = cursor.execute(
            sql.SQL("SELECT {key} FROM {loading} GROUP BY {key} HAVING count(*) > 1 LIMIT 1").format(
                key=key, loading=loading
            )
        ).fetchone()
        if twice is not None:
            raise UserError(f"{file.name}: a {spec.key} stands twice", "keep one row a key")
        written = cursor.execute(
            sql.SQL(
                "INSERT INTO {table} AS old ({names}) SELECT {names} FROM {loading} ORDER BY {key}"
                " ON CONFLICT ({key}) DO UPDATE SET {sets}, updated_at = now()"
                " WHERE ({olds}) IS DISTINCT FROM ({news}) RETURNING xmax = 0"
            ).format(
                table=table,
                names=names,
                loading=loading,
                key=key,
                sets=sql.SQL(", ").join(sql.SQL("{0} = excluded.{0}").format(v) for v in values),
                olds=sql.SQL(", ").join(sql.SQL("old.{}").format(v) for v in values),
                news=sql.SQL(", ").join(sql.SQL("excluded.{}").format(v) for v in values),
            )
        ).fetchall()
        cursor.execute(
            sql.SQL(
                "INSERT INTO {history} ({names}, valid_from) SELECT {names}, updated_at FROM {table}"
                " WHERE updated_at = now() ON CONFLICT DO NOTHING"
            ).format(history=sql.Identifier(spec.history_table), table=table, names=names)
        )
    inserted = sum(new for (new,) in written)
    return Loaded(rows, inserted, len(written) - inserted)


def _rows(file: Path, columns: list[str]) -> Iterator[list[str]]:
    try:
        with file.open(newline="", encoding="utf-8-sig") as lines:
            reader = csv.DictReader(lines, strict=True)
            missing = [c for c in columns if c not in (reader.fieldnames or [])]
            if missing:
                raise UserError(
                    f"{file.name} has no column {', '.join(missing)}",
                    f"its first line must name {', '.join(columns)}",
                )
            for row in reader:
                values = [row[c] for c in columns]
                if not all(values):
                    raise UserError(
                        f"{file.name}, line {reader.line_num}: a value is empty", "give every column a value"
                    )
                if any(len(v) > MAX_UNRULED_TEXT for v in values[1:]):
                    raise UserError(
                        f"{file.name}, line {reader.line_num}: a value is longer than {MAX_UNRULED_TEXT} characters",
                        "shorten it: it may become part of a key",
                    )
                yield values
    except (OSError, UnicodeDecodeError, csv.Error) as e:
        raise UserError(f"can't read {file}: {e}", "give a CSV file in UTF-8 with a header line") from e
