"""In which hours of the lake the events of an hour are."""

import logging
from collections.abc import Sequence
from datetime import datetime

from streamgauge.contract.model import Contract
from streamgauge.dagster.hours import hour_of
from streamgauge.stores.lake import EVENT_HOUR, INGEST_HOUR, LakeError, explained, lake_table

log = logging.getLogger(__name__)


def hours_of_arrival(root: str, contract: Contract, hours: Sequence[datetime]) -> list[datetime] | None:
    """Of the events of these hours in a row, late ones included; None where the lake can't be read.

    Files without such events are left out by Delta's statistics, and of the others one column is read, which hardly
    changes within a file and so takes next to no room.
    """
    table = lake_table(root, contract)
    try:
        with explained(table.url):
            held = table.scan(between=(EVENT_HOUR, hours[0], hours[-1])).select(INGEST_HOUR).unique().collect()
    except LakeError as e:
        log.warning("hours of arrival are not known: %s", e.what)
        return None
    return sorted(map(hour_of, held[INGEST_HOUR]))
