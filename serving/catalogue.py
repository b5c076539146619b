"""What a stream is, for people who look for the right one: what its contract says, and who asks for it."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from serving.readers import ReadBy
from streamgauge.contract.catalogue import described_fields, described_numbers
from streamgauge.contract.model import Contract
from streamgauge.rollup.number_alerts import bounds_in_words, watched_in_words
from streamgauge.stores.tables.windows import window_views


def described(contract: Contract, readers: Iterable[ReadBy] | None) -> dict[str, Any]:
    """As the API answers; `readers` is None for a caller that may not see them."""
    return {
        "stream": contract.stream,
        "description": contract.purpose,
        "owner": contract.owner,
        "version": contract.version,
        "topic": contract.topic,
        "event_id": contract.event_id,
        "event_time": contract.event_time,
        "reference": contract.reference and contract.reference.table,
        "fields": [asdict(f) for f in described_fields(contract)],
        "derived": [{"name": d.name, "type": d.type, "expression": d.text} for d in contract.derived],
        "numbers": [asdict(n) for n in described_numbers(contract)],
        "alerts": [
            {"name": a.name, "of": watched_in_words(a), "bounds": bounds_in_words(a), "description": a.description}
            for a in contract.alerts
        ],
        "kept_days": {
            "events": None if contract.own_topic is None else _days(contract.retention_ms),
            "lake": _days(contract.lake_retention_ms),
            "facts": _days(contract.facts_retention_ms),
            "minutes": _days(contract.minutes_retention_ms),
        },
        "views": [view.name for view in window_views(contract)],
        "counts_topic": contract.counts_topic,
        "readers": None if readers is None else [asdict(r) for r in readers],
    }


def _days(milliseconds: int | None) -> float | None:
    return milliseconds and milliseconds / 86_400_000
