"""What pseudonyms stand for, as far as it is kept: what no hour was rolled up from yet is not."""

from collections.abc import Iterable

from streamgauge.rollup.pseudonyms import Pseudonyms
from streamgauge.stores.postgres import Connection


def keep_values(connection: Connection, stream: str, pseudonyms: Pseudonyms, values: Iterable[str]) -> None:
    """Of values that are kept already nothing changes."""
    new = {pseudonyms.of(value): value for value in values}
    kept = connection.execute(
        "SELECT pseudonym FROM pseudonyms WHERE stream = %s AND pseudonym = ANY(%s)", (stream, list(new))
    ).fetchall()
    for (pseudonym,) in kept:
        del new[pseudonym]
    # sorted, or two runs that keep the same values could wait for each other
    rows = [(pseudonym, pseudonyms.sealed(value)) for pseudonym, value in sorted(new.items())]
    connection.execute(
        "INSERT INTO pseudonyms (stream, pseudonym, sealed)"
        " SELECT %s, n.pseudonym, n.sealed FROM unnest(%s::text[], %s::bytea[]) AS n(pseudonym, sealed)"
        " ON CONFLICT DO NOTHING",
        (stream, [pseudonym for pseudonym, _ in rows], [sealed for _, sealed in rows]),
    )


def read_values(connection: Connection, stream: str, pseudonyms: Pseudonyms, asked: Iterable[str]) -> dict[str, str]:
    """By pseudonym, of those whose value is known."""
    rows = connection.execute(
        "SELECT pseudonym, sealed FROM pseudonyms WHERE stream = %s AND pseudonym = ANY(%s)", (stream, list(set(asked)))
    ).fetchall()
    opened = {pseudonym: pseudonyms.opened(pseudonym, bytes(sealed)) for pseudonym, sealed in rows}
    return {pseudonym: value for pseudonym, value in opened.items() if value is not None}
