"""A table of the lake after its housekeeping: what is over is gone, and no dead file is left."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from assets.housekeeping.policy import Kept
from streamgauge.dagster.hours import hour_key
from streamgauge.stores.lake import LakeConflict, explained

DEAD_HOURS = 48
"""How long files that no version names any more are left: for who still reads an older version, or is writing."""

_SETTLED = timedelta(days=2)
_SMALL_FILES = 2
"""A partition with as many is written anew as one; files that are large enough are left as they are."""


@dataclass(frozen=True)
class Tended:
    partitions: int
    """Over, and gone."""
    compacted: int
    """Partitions whose small files became one."""
    files: int
    """Deleted: of versions that nobody reads any more, and of runs that were killed."""
    conflict: bool
    """Somebody wrote meanwhile; the next time will do."""


def tend(kept: Kept, now: datetime) -> Tended | None:
    """None where there is no such table. What goes wrong halfway is done by the next call."""
    table = kept.table
    if table.open() is None:
        return None
    stored = table.stored()
    over = sorted(k for k in stored if kept.first is not None and k < kept.first)
    settled = hour_key(now - _SETTLED)
    many = [k for k, s in stored.items() if k and k < settled and k not in over and s.files >= _SMALL_FILES]
    compacted, conflict = 0, False
    try:
        if over:
            table.replace(over, table.schema.to_frame())
        for key in many:
            compacted += _compact(kept, key)
    except LakeConflict:
        conflict = True
    delta = table.opened()
    with explained(table.url):
        delta.create_checkpoint()
        delta.cleanup_metadata()
        # in full, so that files which no commit ever named go too; those still being written are younger
        gone = delta.vacuum(DEAD_HOURS, dry_run=False, enforce_retention_duration=False, full=True)
    return Tended(len(over), compacted, len(gone), conflict)


def _compact(kept: Kept, key: str) -> int:
    delta = kept.table.opened()
    with explained(kept.table.url):
        done = delta.optimize.compact(partition_filters=[(kept.table.key or "", "=", key)])
    return int(done["numFilesRemoved"] > 0)
