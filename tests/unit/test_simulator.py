"""The simulator finds what is wrong, says it again, and makes it smaller. `make simulate` runs many seeds."""

import ast
import re
import subprocess
import sys
from dataclasses import replace

import pytest

from streamgauge.settings import CHECKOUT
from tests.simulator.bugs import BUGS, Bug
from tests.simulator.code import Change
from tests.simulator.faults import AtStep, Step
from tests.simulator.scenario import FOR_EVER, Scenario, Sending, draw
from tests.simulator.shrink import kind, shrink
from tests.simulator.simulation import Simulation
from tests.simulator.stream import Reading
from tests.simulator.substitutes import WALL

BUG = {bug.name: bug for bug in BUGS}
READINGS = Scenario(
    seed=1,
    partitions=1,
    processes=2,
    letters=1_000,
    most=8,
    sendings=tuple(Sending(at, 0, b"id", Reading(f"id{at}", int(WALL * 1000), "cpu", 1.0, "s")) for at in (5.0, 20.0)),
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
def test_a_publisher_that_stands_still_for_ever_is_succeeded(step: Step) -> None:
    for at in (4.0, 5.1, 5.2, 5.3, 7.0):
        frozen = AtStep(at, 0, step, "freeze", FOR_EVER)
        assert Simulation(replace(READINGS, processes=1, faults=(frozen,))).run().failure is None


def test_a_publisher_that_wakes_up_leaves_no_old_counts() -> None:
    again = "            self._outbox.publish_again(connection, self._unmarked)\n"
    without = Change("streaming/worker/publisher.py", again, "")
    left = ""
    for process in (0, 1):
        scenario = replace(READINGS, faults=(AtStep(4.0, process, "flush", "freeze", 45.0),))
        assert Simulation(scenario).run().failure is None
        left += Simulation(scenario, (without,)).run().failure or ""
    assert "the counts topic says" in left


def test_many_seeds_are_run_by_two_processes() -> None:
    command = [sys.executable, "-m", "tests.simulator", "--seeds", "4"]
    ran = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert re.fullmatch(r"4 seeds in \d+ s, 0 failed\n", ran.stdout)
