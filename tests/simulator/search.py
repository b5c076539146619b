"""Seeds that fail, as other processes look for them: what they are to do must not stand in `__main__`."""

import logging
from collections.abc import Iterable, Sequence

from tests.simulator.bugs import Bug
from tests.simulator.code import Change
from tests.simulator.scenario import draw
from tests.simulator.simulation import Simulation

_MOST_SEEDS_A_BUG = 3_000


def failures(seeds: Iterable[int], changes: Sequence[Change] = ()) -> list[tuple[int, str]]:
    """The seeds that fail, and how."""
    logging.disable(logging.CRITICAL)
    found = ((seed, Simulation(draw(seed), changes).run().failure) for seed in seeds)
    return [(seed, failure) for seed, failure in found if failure is not None]


def find(bug: Bug) -> tuple[int, str] | None:
    """The first seed that fails with it, and how."""
    for first in range(_MOST_SEEDS_A_BUG):
        found = failures([first], bug.changes)
        if found:
            return found[0]
    return None
