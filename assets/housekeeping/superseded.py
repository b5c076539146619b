"""Results in Postgres that a later one replaced: kept for a while, for who asks how it was before."""

from datetime import datetime

from streamgauge.stores.postgres import Connection

# The latest of each partition stays however old it is: the report and the API show it.
_CHECKS = """DELETE FROM check_results c WHERE at < %s AND EXISTS (SELECT FROM check_results n WHERE n.at > c.at
AND (n.stream, n.asset, n.check_name, n.partition) = (c.stream, c.asset, c.check_name, c.partition))"""

# The latest of each hour says whether it passed, and what it waits for.
_COMPARISONS = """DELETE FROM reconciliations r WHERE at < %s AND EXISTS (SELECT FROM reconciliations n
WHERE n.at > r.at AND (n.stream, n.hour) = (r.stream, r.hour))"""


def delete_superseded(connection: Connection, before: datetime) -> dict[str, int]:
    """How many rows of each table are gone."""
    return {
        "check_results": connection.execute(_CHECKS, (before,)).rowcount,
        "reconciliations": connection.execute(_COMPARISONS, (before,)).rowcount,
    }
