"""Makes a scenario that fails smaller, as long as it fails in the same way."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from tests.simulator.scenario import Scenario

T = TypeVar("T")


def shrink(scenario: Scenario, fails: Callable[[Scenario], str | None]) -> Scenario:
    """`fails` runs a scenario and says what is wrong, if anything is."""
    first = fails(scenario)
    assert first is not None
    wanted = kind(first)

    def same(smaller: Scenario) -> bool:
        failure = fails(smaller)
        return failure is not None and kind(failure) == wanted

    before = None
    while before != scenario:
        before = scenario
        faults = _fewer(scenario.faults, lambda kept: same(replace(scenario, faults=kept)))  # noqa: B023
        scenario = replace(scenario, faults=faults)
        sendings = _fewer(scenario.sendings, lambda kept: same(replace(scenario, sendings=kept)))  # noqa: B023
        scenario = replace(scenario, sendings=sendings)
        for smaller in (replace(scenario, processes=n) for n in range(1, scenario.processes)):
            if same(smaller):
                scenario = smaller
                break
    return scenario


def kind(failure: str) -> str:
    """What is wrong, whatever the numbers are."""
    return re.sub(r"[^a-z ]+.*", "", failure, flags=re.DOTALL | re.IGNORECASE)


def _fewer(items: Sequence[T], fails: Callable[[tuple[T, ...]], bool]) -> tuple[T, ...]:
    """Leaves out halves, then quarters, … then single ones."""
    kept, size = tuple(items), len(items)
    while size >= 1:
        start = 0
        while start < len(kept):
            less = kept[:start] + kept[start + size :]
            if fails(less):
                kept = less
            else:
                start += size
        size //= 2
    return kept
