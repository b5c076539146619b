"""Seeds that fail, as other processes look for them: what they are to do must not stand in `__main__`."""

import logging
from collections.abc import Iterable, Sequence

from tests.simulator.bugs import Bug
from tests.simulator.code import Change
from tests.simulator.scenario import draw
from tests.simulator.simulation import Simulation


def failures(seeds: Iterable[int], changes: Sequence[Change] = ()) -> list[tuple[int, str]]:
    """The seeds that fail, and how."""
    logging.disable(logging.CRITICAL)
    found = ((seed, Simulation(draw(seed), changes).run().failure) for seed in seeds)
    return [(seed, failure) for seed, failure in found if failure is not None]


def find(bug: Bug, seeds: Iterable[int]) -> tuple[int, str] | None:
    """The first of the seeds that fails with it, and how."""
    for seed in seeds:
        found = failures([seed], bug.changes)
        if found:
            return found[0]
    return None
