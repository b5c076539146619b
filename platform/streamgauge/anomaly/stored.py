"""State as bytes, and back: a part that changes with every minute, and a part for each slot of the calendar."""

from collections.abc import Mapping
from dataclasses import fields
from io import BytesIO

import numpy as np

from streamgauge.anomaly.calendar import DAY_SLOTS, WEEK_SLOTS, day_slots, week_slot
from streamgauge.anomaly.state import RING, State, empty

_DAY, _WEEK = ("day_sum", "day_weight"), ("week_sum", "week_weight", "week_spread")
SLOTS = DAY_SLOTS + WEEK_SLOTS
"""The quarters of a day, and then the hours of a week."""
_RECENT = tuple(f.name for f in fields(State) if f.name not in (*_DAY, *_WEEK))


def dump_recent(s: State) -> bytes:
    out = BytesIO()
    np.savez(out, **{name: getattr(s, name) for name in _RECENT})
    return out.getvalue()


def dump_slot(s: State, slot: int) -> bytes:
    names, at = (_DAY, slot) if slot < DAY_SLOTS else (_WEEK, slot - DAY_SLOTS)
    return np.stack([getattr(s, name)[at] for name in names]).tobytes()


def load(recent: bytes, slots: Mapping[int, bytes]) -> State:
    """Slots that are not there were never learned."""
    with np.load(BytesIO(recent), allow_pickle=False) as found:
        arrays = {name: found[name] for name in _RECENT}
    s = empty(len(arrays["born"]))
    for name, array in arrays.items():
        setattr(s, name, array)
    for slot, stored in slots.items():
        names, at = (_DAY, slot) if slot < DAY_SLOTS else (_WEEK, slot - DAY_SLOTS)
        rows = np.frombuffer(stored, np.float32).reshape(len(names), s.size)
        for name, row in zip(names, rows, strict=True):
            getattr(s, name)[at] = row
    return s


def learned(first: int, last: int) -> list[int]:
    """The slots that change while the minutes from `first` to `last` are judged."""
    found: set[int] = set()
    for minute in range(first - RING, last - RING + 1):
        found |= {*day_slots(minute)[:2], DAY_SLOTS + week_slot(minute)}
    return sorted(found)
