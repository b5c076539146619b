"""What a Dagster run was, and the OpenLineage events that tell of it. Knows nothing of Dagster's classes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from openlineage.client.event_v2 import RunEvent, RunState

from lineage.datasets import Dataset, Key
from lineage.openlineage import Assertion, Step, Stores, checks_event, child_run_id, job_event, step_event
from streamgauge.dagster.hours import DAY_FORMAT, HOUR, HOUR_FORMAT


@dataclass(frozen=True)
class RunFacts:
    """A run at one moment of its life. `rows` are those of the assets it wrote, summed over its partitions."""

    run_id: str
    job: str
    state: RunState
    at: datetime
    assets: tuple[Key, ...]
    partitions: tuple[str, str] | None = None
    """First and last partition key."""
    rows: Mapping[Key, int] = field(default_factory=dict[Key, int])
    assertions: tuple[Assertion, ...] = ()
    error: str | None = None


def run_events(run: RunFacts, known: Mapping[Key, Dataset], stores: Stores) -> list[RunEvent]:
    """The parent's event, one for each dataset of the run, and one for each dataset it checked."""
    nominal = None if run.partitions is None else span(*run.partitions)
    events = [job_event(run.job, Step(run.run_id, run.state, run.at, nominal, error=run.error))]
    for key in run.assets:
        if key not in known:
            continue
        written = key in run.rows
        # Of a failed run some assets may be whole.
        state = RunState.COMPLETE if written and run.state is RunState.FAIL else run.state
        step = Step(
            child_run_id(run.run_id, "/".join(key)),
            state,
            run.at,
            nominal,
            rows=run.rows.get(key),
            error=None if state is RunState.COMPLETE else run.error,
            parent=(run.run_id, run.job),
        )
        events.append(step_event(known[key], known, stores, step))
    for key, assertions in _by_dataset(run.assertions).items():
        if key in known:
            step = Step(
                child_run_id(run.run_id, f"{'/'.join(key)}/checks"),
                RunState.COMPLETE,
                run.at,
                nominal,
                parent=(run.run_id, run.job),
            )
            events.append(checks_event(known[key], stores, step, assertions))
    return events


def span(first: str, last: str) -> tuple[datetime, datetime]:
    """From the start of the first partition to the end of the last. Keys are those of hours or of days."""
    daily = len(last) == len("2000-01-01")
    pattern, length = (DAY_FORMAT, timedelta(days=1)) if daily else (HOUR_FORMAT, HOUR)
    start, end = (datetime.strptime(key, pattern).replace(tzinfo=UTC) for key in (first, last))
    return start, end + length


def _by_dataset(assertions: Iterable[Assertion]) -> dict[Key, list[Assertion]]:
    found: dict[Key, list[Assertion]] = {}
    for assertion in assertions:
        found.setdefault(assertion.dataset, []).append(assertion)
    return found
