"""The audit log, as requests write to it."""

from serving.problems import AWAY, Problem
from streamgauge.audit.entry import AuditEvent
from streamgauge.audit.log import append
from streamgauge.errors import UserError
from streamgauge.stores.postgres import Connection


def record(connection: Connection, event: AuditEvent) -> None:
    """Within the transaction of `Database.change`. What can't be recorded isn't done."""
    try:
        append(connection, event)
    except UserError as e:
        raise Problem(AWAY, f"{e.what[:1].upper()}{e.what[1:]}.", f"{e.hint}.") from e
