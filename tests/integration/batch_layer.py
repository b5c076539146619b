"""The batch layer of a test that is about what comes after it, made as Dagster's runs make it."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from assets.facts.asset import build
from assets.lake.load import load_hour
from assets.resources import BatchResource
from assets.rollups.asset import roll_hours
from streamgauge.contract.model import Contract
from streamgauge.dagster.hours import HOUR, hour_start
from streamgauge.settings import batch_start

RUN = "test"


def fill_lake(contract: Contract, hours: Iterable[datetime] | None = None) -> int:
    """Takes the hours of ingest time, by default this one and the one before. Returns how many records they have."""
    batch, now = BatchResource(), datetime.now(UTC)
    loaded = 0
    with batch.connect(autocommit=True) as connection:
        for hour in hours or (hour_start(now) - HOUR, hour_start(now)):
            built = load_hour(batch.settings, contract, connection, hour, now=now, start=batch_start(), run_id=RUN)
            loaded += built.stored.rows
    return loaded


def fill_batch(contract: Contract, hours: Sequence[datetime]) -> None:
    """Facts and rollups of the hours of event time."""
    build(BatchResource(), contract, hours, RUN)
    roll_up(contract, hours)


def roll_up(contract: Contract, hours: Sequence[datetime]) -> None:
    roll_hours(BatchResource(), contract, hours, RUN)
