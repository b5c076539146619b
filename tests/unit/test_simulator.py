"""The simulator finds what is wrong, says it again, and makes it smaller. `make simulate` runs many seeds."""

import ast
from dataclasses import replace

import pytest

from streamgauge.settings import CHECKOUT
from tests.simulator.bugs import BUGS, Bug
from tests.simulator.faults import AtStep
from tests.simulator.scenario import FOR_EVER, Scenario, Sending, draw
from tests.simulator.shrink import kind, shrink
from tests.simulator.simulation import Simulation
from tests.simulator.stream import Reading
from tests.simulator.substitutes import WALL

BUG = {bug.name: bug for bug in BUGS}
ONE_READING = Scenario(
    seed=1,
    partitions=1,
    processes=1,
    letters=1_000,
    most=8,
    sendings=(Sending(5.0, 0, b"id", Reading("id", int(WALL * 1000), "cpu", 1.0, "s")),),
    faults=(),
)


@pytest.mark.parametrize("seed", range(16))
def test_all_is_well(seed: int) -> None:
    assert Simulation(draw(seed)).run().failure is None


def test_a_seed_says_everything() -> None:
    first, again, other = (Simulation(draw(seed)).run() for seed in (5, 5, 6))
    assert first == again
    assert first.trace != other.trace


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_each_bug_can_still_be_planted(bug: Bug) -> None:
    for change in bug.changes:
        ast.parse(change.applied((CHECKOUT / change.file).read_text()))


@pytest.mark.parametrize("name", ["a late event is counted too", "a claim leaves the epoch as it is"])
def test_a_planted_bug_is_found_and_its_scenario_made_smaller(name: str) -> None:
    def fails(scenario: Scenario) -> str | None:
        return Simulation(scenario, BUG[name].changes).run().failure

    found = next(scenario for seed in range(200) if fails(scenario := draw(seed)) is not None)
    smaller = shrink(found, fails)
    failure = fails(smaller)
    assert failure is not None and kind(failure) == kind(fails(found) or "")
    assert len(smaller.sendings) <= 4 and len(smaller.faults) <= 2
    assert Simulation(smaller).run().failure is None


@pytest.mark.parametrize("step", ["commit", "flush"])
def test_a_publisher_that_stands_still_for_ever_is_succeeded(step: str) -> None:
    for at in (4.0, 5.1, 5.2, 5.3, 7.0):
        frozen = AtStep(at, 0, "commit" if step == "commit" else "flush", "freeze", FOR_EVER)
        assert Simulation(replace(ONE_READING, faults=(frozen,))).run().failure is None
