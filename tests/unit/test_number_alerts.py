"""When alerts on numbers stand, against a plain reading of what the documentation says."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgauge.contract.model import NumberAlert
from streamgauge.rollup.number_alerts import (
    Level,
    Reading,
    bounds_in_words,
    episodes,
    level_of,
    standing,
    watched_in_words,
)

START = datetime(2026, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def alert(**keys: Any) -> NumberAlert:
    return NumberAlert.model_validate({"name": "a", "number": "count", "windowMinutes": 5, **keys})


@pytest.mark.parametrize(
    ("bounds", "value", "level"),
    [
        ({"above": 5}, 5, Level.WITHIN),
        ({"above": 5}, 5.01, Level.WARNING),
        ({"above": 5, "criticalAbove": 9}, 9.5, Level.CRITICAL),
        ({"below": 1}, 0, Level.WARNING),
        ({"below": 1}, 1, Level.WITHIN),
        ({"criticalBelow": 1}, 0, Level.CRITICAL),
        ({"above": 5, "below": 1}, 3, Level.WITHIN),
        ({"above": 5}, None, Level.WITHIN),
    ],
)
def test_the_level_of_a_number(bounds: dict[str, float], value: float | None, level: Level) -> None:
    assert level_of(alert(**bounds), value) is level


@given(
    st.lists(st.sampled_from([0.0, 1.0, 2.0, None]), min_size=1, max_size=60),
    st.integers(0, 8),
)
def test_an_alert_stands_from_when_it_lasted_until_it_is_calm(values: list[float | None], lasting: int) -> None:
    bounded = alert(above=0.5, criticalAbove=1.5, forMinutes=lasting)
    calm = max(lasting + 1, 5)
    expected: dict[datetime, Level] = {}
    stands, within = False, 0
    for i in range(len(values)):
        beyond = [v or 0.0 for v in values[max(0, i - lasting) : i + 1]]
        within = within + 1 if not values[i] else 0
        if len(beyond) == lasting + 1 and all(beyond):
            stands = True
            expected[START + i * MINUTE] = Level.CRITICAL if all(v == 2.0 for v in beyond) else Level.WARNING
        elif stands and within < calm:
            expected[START + i * MINUTE] = Level.WARNING
        else:
            stands = False
    readings = [Reading(START + i * MINUTE, v, None, v) for i, v in enumerate(values)]
    found: dict[datetime, Level] = {}
    for episode in episodes(bounded, readings):
        inside = {at: lv for at, lv in expected.items() if episode.began <= at <= episode.last}
        assert max(inside.values()) is episode.level
        assert len(inside) == (episode.last - episode.began) // MINUTE + 1
        found |= inside
    assert found == expected


def test_too_few_windows_begin_no_alert() -> None:
    assert standing(alert(above=1, forMinutes=3), [Level.CRITICAL] * 3, False) is Level.WITHIN
    assert standing(alert(above=1, forMinutes=3), [Level.CRITICAL] * 4, False) is Level.CRITICAL


def test_bounds_in_words() -> None:
    words = bounds_in_words(alert(above=1200, criticalBelow=0.25, forMinutes=3))
    assert words == "above 1,200 is warning, below 0.25 is critical, for 3 min"


def test_what_is_watched_in_words() -> None:
    compared = alert(dimensions={"service": "nova-api"}, comparedWith="week", below=0.5)
    assert watched_in_words(compared) == "count of 5 min, service nova-api, divided by what it was a week before"
