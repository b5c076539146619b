"""Grants in Postgres."""

from collections.abc import Iterator

from streamgauge.access.model import Access, Principal
from streamgauge.stores.ddl import Database, Function, Grant, Table, View

ROLE_PREFIX = "streamgauge_"
PUBLIC = "PUBLIC"
"""Everybody: Postgres' own word, and the name of no role."""


def role_of(principal: str) -> str:
    return f"{ROLE_PREFIX}{principal}"


def login_of(name: str, principal: Principal) -> str:
    """Its name in Postgres: a prefix distinguishes those with rights in Streamgauge's own database from others."""
    return role_of(name) if principal.owner or principal.postgres else name


def roles(access: Access) -> tuple[str, ...]:
    """Those that may use the schema."""
    return tuple(role_of(name) for name, p in access.principals.items() if p.postgres)


def grants(access: Access, database: Database) -> tuple[Grant, ...]:
    return tuple(dict.fromkeys(_grants(access, database)))


def _grants(access: Access, database: Database) -> Iterator[Grant]:
    for relation in database.relations:
        for name, principal in access.principals.items():
            for privilege in principal.postgres.get(relation.group, ()):
                if privilege in POSSIBLE[type(relation)]:
                    yield Grant(relation.name, role_of(name), privilege.upper())


POSSIBLE: dict[type[Table] | type[View] | type[Function], tuple[str, ...]] = {
    Table: ("select", "insert", "update", "delete"),
    View: ("select",),
    Function: ("execute",),
}
"""A group may hold relations of several kinds: what can't be done with one of them isn't granted."""
