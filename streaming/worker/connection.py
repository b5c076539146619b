"""A worker's connections to Postgres."""

from streamgauge.settings import Settings
from streamgauge.stores.postgres import Connection, connect

_STANDSTILL = "5s"
"""How long Postgres waits inside a transaction for a worker: one that is frozen there holds the rows that its successor
takes over."""
_SILENCE = "30s"
"""How long Postgres waits outside of one for a publisher: one that is frozen would keep the lock by which it leads, and
nobody would publish. A leader asks every ten seconds, and waits less for Redis and Kafka in between."""

AT_MS = "timestamptz 'epoch' + {} * interval '1 millisecond'"
"""SQL for the time that an epoch in ms names."""


_LIMIT = f"-c idle_in_transaction_session_timeout={_STANDSTILL}"


def connect_worker(settings: Settings) -> Connection:
    return connect(settings, autocommit=True, application="streamgauge-worker", options=_LIMIT)


def connect_publisher(settings: Settings) -> Connection:
    options = f"{_LIMIT} -c idle_session_timeout={_SILENCE}"
    return connect(settings, autocommit=True, application="streamgauge-publisher", options=options)
