"""How SQL merges a column of rollup rows, as text and as psycopg composes it: the expressions are the measures' own."""

from psycopg import sql

from streamgauge.contract.measures import StoredColumn
from streamgauge.stores.ddl import quote


def merged_text(column: StoredColumn) -> str:
    """Of a column that is no sketch."""
    assert column.merge is not None
    return column.merge.aggregate.format(c=quote(column.name), by=quote(column.by or column.name))


def merged_sql(column: StoredColumn) -> sql.Composed:
    """Of a column that is no sketch."""
    assert column.merge is not None
    names = {"c": sql.Identifier(column.name), "by": sql.Identifier(column.by or column.name)}
    return sql.SQL(column.merge.aggregate).format(**names)
