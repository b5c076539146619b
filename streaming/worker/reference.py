"""Keeps an assignment's pipeline at the present state of the stream's reference table."""

import logging
from typing import Any

from psycopg import sql

from streamgauge.contract.model import Contract
from streamgauge.rollup.reference import read_reference
from streamgauge.stores.postgres import Connection
from streaming.worker.assignment import Assignment

log = logging.getLogger(__name__)


def refresh_reference(connection: Connection, contract: Contract, assignment: Assignment) -> None:
    version = _version(connection, contract)
    if version is not None and version != assignment.reference_version:
        assignment.pipeline.enrich_by(read_reference(connection, contract))
        assignment.reference_version = version
        log.info("%s: the reference table was read", contract.stream)


def _version(connection: Connection, contract: Contract) -> Any:
    """Changes when the reference table does; None where there is no such table."""
    spec = contract.reference
    if spec is None:
        return None
    query = sql.SQL("select count(*), max(updated_at) from {}").format(sql.Identifier(spec.table))
    return connection.execute(query).fetchone()
