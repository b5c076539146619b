"""Runs seeds, replays one, or looks for the planted bugs: see docs/simulator.md."""

import argparse
import logging
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pprint import pformat

from streamgauge.settings import CHECKOUT
from tests.simulator.bugs import BUGS
from tests.simulator.scenario import Scenario, draw
from tests.simulator.scheduler import scheduler
from tests.simulator.search import failures, find
from tests.simulator.shrink import shrink
from tests.simulator.simulation import Simulation

_PROCESSES = 2
_CHUNK = 50
_ROUNDS = (range(60), range(60, 400), range(400, 3_000))
"""Seeds that planted bugs are looked for by: most are found by the first."""
_PAGE = CHECKOUT / "docs" / "simulator.md"
_BEGIN, _END = "<!-- the table of `make simulate BUGS=1` -->", "<!-- its end -->"


def main() -> int:
    parser = argparse.ArgumentParser(prog="make simulate", description=__doc__)
    chosen = parser.add_mutually_exclusive_group(required=True)
    chosen.add_argument("--seeds", type=int, help="run so many seeds")
    chosen.add_argument("--seed", type=int, help="run one, and make it smaller where it fails")
    chosen.add_argument("--bugs", action="store_true", help="which seed finds which planted bug")
    parser.add_argument("--first", type=int, default=0, help="the first of the seeds")
    given = parser.parse_args()
    if given.seed is not None:
        return _replay(given.seed)
    if given.bugs:
        return _find_bugs()
    return _run_seeds(range(given.first, given.first + given.seeds))


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


# --- many seeds


def _run_seeds(seeds: range) -> int:
    since = time.monotonic()
    chunks = [seeds[i : i + _CHUNK] for i in range(0, len(seeds), _CHUNK)]
    failed: list[int] = []
    with ProcessPoolExecutor(_PROCESSES, get_context("spawn")) as pool:
        for done in as_completed([pool.submit(failures, chunk) for chunk in chunks]):
            for seed, failure in done.result():
                failed.append(seed)
                _print(f"SEED={seed}: {failure}")
    _print(f"{len(seeds)} seeds in {time.monotonic() - since:.0f} s, {len(failed)} failed")
    return int(bool(failed))


# --- one seed


class _Clock(logging.Filter):
    """Lines say the simulation's time."""

    def filter(self, record: logging.LogRecord) -> bool:
        running = scheduler()
        record.simulated = f"{running.now:8.3f} {running.current.process.name if running.current else ''}"
        return True


def _replay(seed: int) -> int:
    scenario = draw(seed)
    failure = _show(scenario)
    if failure is None:
        return 0
    logging.disable(logging.CRITICAL)
    smaller = shrink(scenario, lambda s: Simulation(s).run().failure)
    logging.disable(logging.NOTSET)
    _print("\nThe same with less:")
    _show(smaller)
    return 1


def _show(scenario: Scenario) -> str | None:
    _print(pformat(scenario, width=160))
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(simulated)s %(levelname)s %(message)s"))
    handler.addFilter(_Clock())
    logger = logging.getLogger("streaming.worker")
    logger.setLevel(logging.DEBUG)
    logger.handlers = [handler]
    outcome = Simulation(scenario).run()
    _print(f"{outcome.turns} turns, {outcome.seconds:.1f} s, trace {outcome.trace}")
    _print(f"SEED={scenario.seed}: {outcome.failure or 'all is well'}")
    return outcome.failure


# --- planted bugs


def _find_bugs() -> int:
    found: dict[str, str] = {}
    with ProcessPoolExecutor(_PROCESSES, get_context("spawn")) as pool:
        for seeds in _ROUNDS:
            futures = {pool.submit(find, bug, seeds): bug for bug in BUGS if bug.name not in found}
            for done in as_completed(futures):
                bug, first = futures[done], done.result()
                if first is not None:
                    file = bug.changes[0].file.rpartition("/")[2]
                    found[bug.name] = f"| {bug.name} | `{file}` | {first[0]} | {_short(first[1])} |"
                    _print(found[bug.name])
    missed = [bug.name for bug in BUGS if bug.name not in found]
    rows = ["| planted bug | in | found by seed | which says |", "| --- | --- | --- | --- |"]
    rows += [found.get(bug.name, f"| {bug.name} | | none | |") for bug in BUGS]
    page = _PAGE.read_text()
    before, _, rest = page.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    _PAGE.write_text("\n".join((before + _BEGIN, "", *rows, "", _END + after)))
    _print(f"{len(BUGS)} planted bugs, not found: {', '.join(missed) or 'none'}")
    return int(bool(missed))


def _short(failure: str) -> str:
    return failure if len(failure) <= 80 else failure[:77] + "…"


if __name__ == "__main__":
    raise SystemExit(main())
