"""A signed checkpoint of the audit log for every minute in which something was recorded."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime

import dagster as dg

from streamgauge.audit.checkpoint import Checkpoint, Checkpoints, sign, signing_key
from streamgauge.audit.entry import GENESIS, digest_of
from streamgauge.audit.log import entries
from streamgauge.errors import UserError
from streamgauge.settings import Settings
from streamgauge.stores.postgres import Connection
from streamgauge.telemetry.catalog.log_fields import SENSOR
from streamgauge.telemetry.logs import bound_to

log = logging.getLogger(__name__)

INTERVAL_SECONDS = 60
"""What was recorded can be rewritten unseen for as long by who rules the database."""


def definitions(connect: Callable[[], Connection], settings: Callable[[], Settings]) -> dg.Definitions:
    @dg.sensor(  # pyright: ignore[reportUnknownMemberType]
        name="audit_checkpoints",
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Signs the newest entry of the audit log, and so all before it, into a file beside the lake.",
    )
    @bound_to(**{SENSOR.name: "audit_checkpoints"})
    def audit_checkpoints() -> dg.SkipReason:
        with connect() as connection:
            written = write_checkpoint(connection, settings(), datetime.now(UTC))
        return dg.SkipReason("nothing new" if written is None else f"signed up to entry {written.number}")

    return dg.Definitions(sensors=[audit_checkpoints])


def write_checkpoint(connection: Connection, settings: Settings, now: datetime) -> Checkpoint | None:
    """None where there is nothing new. Raises UserError, and signs nothing, where what follows the last checkpoint does
    not follow from it: a signature would make the rewritten log good.
    """
    key, checkpoints = signing_key(settings), Checkpoints(settings)
    before = checkpoints.newest()
    if before is not None and not before.is_signed_by(key.public_key()):
        raise UserError("the newest checkpoint of the audit log is not signed by STREAMGAUGE_AUDIT_KEY", _LOOK)
    last, previous = (0, GENESIS) if before is None else (before.number, bytes.fromhex(before.digest))
    start = last
    for entry in entries(connection, last):
        if entry.number != last + 1 or digest_of(previous, entry.body).hex() != entry.digest:
            raise UserError(f"entry {entry.number} of the audit log does not follow from the one before it", _LOOK)
        last, previous = entry.number, bytes.fromhex(entry.digest)
    if last == start:
        return None
    checkpoint = sign(key, last, previous.hex(), now.isoformat())
    checkpoints.write(checkpoint)
    return checkpoint


_LOOK = "streamgauge audit verify shows what is wrong"
