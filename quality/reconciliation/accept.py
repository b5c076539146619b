"""A person accepts what nothing explains: the alert ends, and the hour's numbers count as checked.

Accepted are the differences as they were found, by their fingerprint. Should a later comparison find others, that is a
finding of its own.
"""

from datetime import datetime

from quality.reconciliation.write import accepted_words
from streamgauge.contract.model import Contract
from streamgauge.dagster.hours import HOUR, hour_key
from streamgauge.errors import UserError
from streamgauge.stores.postgres import Connection

_RUN = "by hand"


def accept(connection: Connection, contract: Contract, hour: datetime, by: str, reason: str) -> bool:
    """Whether the hour is final now; one that waits for something becomes final when that has come.

    Raises UserError where the hour has no unexplained difference.
    """
    stream = contract.stream
    with connection.transaction():
        # a comparison that ends meanwhile waits, and then finds what is accepted
        found = connection.execute(
            "SELECT passed, differences, waits_for, facts FROM event_hours WHERE stream = %s AND hour = %s FOR UPDATE",
            (stream, hour),
        ).fetchone()
        if found is None or found[1] is None:
            state = "was never compared" if found is None or found[0] is None else "has no unexplained difference"
            raise UserError(
                f"the hour {hour_key(hour)} of {stream} {state}",
                f"see it by: streamgauge reconcile {stream} --from {hour_key(hour)} --to {hour_key(hour + HOUR)}",
            )
        _, differences, waits_for, facts = found
        connection.execute(
            "INSERT INTO accepted_differences (stream, hour, differences, accepted_by, reason)"
            " VALUES (%s, %s, %s, %s, %s) ON CONFLICT (stream, hour, differences) DO UPDATE SET"
            " at = now(), accepted_by = excluded.accepted_by, reason = excluded.reason",
            (stream, hour, differences, by, reason),
        )
        revised = connection.execute(
            "UPDATE hour_revisions SET checked = true WHERE stream = %(stream)s AND hour = %(hour)s AND revision ="
            " (SELECT max(revision) FROM hour_revisions WHERE stream = %(stream)s AND hour = %(hour)s)",
            {"stream": stream, "hour": hour},
        ).rowcount
        if not revised and waits_for is None:
            connection.execute(
                "INSERT INTO hour_revisions (stream, hour, revision, run_id, facts, reason, checked)"
                " VALUES (%s, %s, 1, %s, %s, %s, true)",
                (stream, hour, _RUN, facts, accepted_words(by, reason)),
            )
        return bool(revised) or waits_for is None
