"""A worker's connection to Postgres."""

from streamgauge.settings import Settings
from streamgauge.stores.postgres import Connection, connect

_STANDSTILL = "5s"
"""How long Postgres waits inside a transaction for a worker: one that is frozen there holds the rows that its successor
takes over."""

AT_MS = "timestamptz 'epoch' + {} * interval '1 millisecond'"
"""SQL for the time that an epoch in ms names."""


def connect_worker(settings: Settings) -> Connection:
    options = f"-c idle_in_transaction_session_timeout={_STANDSTILL}"
    return connect(settings, autocommit=True, application="streamgauge-worker", options=options)
