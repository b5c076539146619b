"""The file as a page: `python -m streamgauge.access.page > docs/access.md`."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from streamgauge.access.load import load_access
from streamgauge.access.logins import logins
from streamgauge.access.model import Access
from streamgauge.access.redis import COMMANDS, KEYS
from streamgauge.markdown import code, table
from streamgauge.settings import ACCESS_FILE

_HEAD = """\
# Who may do what

Made from `platform/access.yaml`: change it there, then `python -m streamgauge.access.page > docs/access.md`. It is the
only place where rights stand. Kafka's ACLs, Postgres' grants, Redis' users and what an API key opens follow from it.

- `streamgauge plan` shows where the servers differ from the file, `streamgauge apply` makes them so. What the file does
  not give to its principals, nor to everybody (`PUBLIC`), is taken away; who is taken out of the file loses all that he
  had.
- What is left alone: logins that the file never named, and topics, groups and relations that belong to none of the
  contracts in the folder. A stream whose contract is gone keeps its rights until somebody drops it.
- A mistake in the file is reported with its line, and then nothing is changed.
- `STREAMGAUGE_ACCESS_FILE` names a file of your own. Copy this one and change it: the principals that the processes
  log in as (`admin`, `producer`, `worker`, `batch`, `api`, `reader`) must stay.
- A test tries everything in the tables below on the real servers, what is allowed and what is not
  (`tests/integration/test_denials.py`).

A sender of your own, who may write to one stream's topic only:

```yaml
  shop:
    about: The shop's servers.
    streams: [user_events]
    kafka: {events: [write]}
```

On the local stack the next `streamgauge stack up` makes its login, in `credentials/shop.env`; elsewhere the login is
yours to make."""

_KAFKA = """
## Kafka

Of each stream: its topic, that of its dead letters, that of its minute counts, and its workers' group. Topics are made
and changed by the owner alone.
"""

_POSTGRES = """
## Postgres

By groups of tables, views and functions: `streamgauge/stores/tables` says which group each is in. Who needs no whole
dead letters has `dead-letter-list`, a view without their keys, values and headers. Views are only read. Nobody but the
owner makes or changes tables.
"""

_API = """
## API

What each scope of an API key opens. `streamgauge api-keys create NAME --as CALLER` makes a key with the scopes of one
of the callers below. The API and Dagster's pages read the file when they start.
"""


def page(access: Access) -> str:
    names = list(access.principals)
    parts = [
        _HEAD,
        "\n## Principals",
        *table(
            ("principal", "who", "rights of another kind"),
            ((code(name), p.about, "; ".join(_others(access, name))) for name, p in access.principals.items()),
        ),
        _KAFKA,
        *_rights({n: access.principals[n].kafka for n in names}),
        _POSTGRES,
        *_rights({n: access.principals[n].postgres for n in names}),
        "\n## Redis",
        "\n"
        + "  \n".join(f"`{kind}`: {', '.join(map(code, commands))}." for kind, commands in COMMANDS.items())
        + "\n",
        *table(
            ("principal", "commands", "keys"),
            (
                (code(n), p.redis.commands, ", ".join(code(KEYS[k]) for k in p.redis.keys))
                for n, p in access.principals.items()
                if p.redis is not None
            ),
        ),
        _API,
        *table(
            ("scope of a key", "for", "routes"),
            (
                (
                    code(f"{name}:STREAM") + f", `{name}:*`" if scope.of_streams else code(name),
                    scope.about,
                    ", ".join(map(code, scope.routes)),
                )
                for name, scope in access.api.scopes.items()
            ),
        ),
        f"\nAny key: {', '.join(map(code, access.api.any))}, of the streams that it may read. No key:"
        f" {', '.join(map(code, access.api.open))}.\n",
        *table(
            ("caller", "who", "scopes"),
            ((code(n), c.about, ", ".join(map(code, c.scopes))) for n, c in access.api.callers.items()),
        ),
    ]
    return "\n".join(parts) + "\n"


def _others(access: Access, name: str) -> Iterator[str]:
    principal = access.principals[name]
    if principal.owner:
        yield "everything, in Kafka, Postgres and Redis"
    if principal.streams is not None:
        yield f"only {', '.join(principal.streams)}"
    if principal.database is not None:
        yield f"everything in a database of its own, `{principal.database}`"
    if principal.member_of:
        yield f"those of Postgres' {', '.join(map(code, principal.member_of))}"
    if name in logins(access, "monitoring"):
        yield f"a login to {' and '.join(m.capitalize() for m in principal.monitoring)}"


def _rights(by_principal: Mapping[str, Mapping[Any, Sequence[str]]]) -> list[str]:
    """A row a group, a column a principal that has any."""
    some = {name: rights for name, rights in by_principal.items() if rights}
    groups = dict.fromkeys(group for rights in some.values() for group in rights)
    rows = ([code(group), *(", ".join(rights.get(group, ())) for rights in some.values())] for group in groups)
    return table(("of", *map(code, some)), rows)


if __name__ == "__main__":
    sys.stdout.write(page(load_access(ACCESS_FILE)))
