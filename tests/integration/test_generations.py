"""A stream's dimensions change while events flow: another generation is filled, then read in the old one's place."""

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import polars as pl
import pytest
from starlette.testclient import TestClient

from assets.generations import fill as filling
from assets.generations.job import fill_job
from assets.generations.minutes import Maker
from assets.housekeeping.job import old_generations
from assets.resources import BatchResource
from assets.rollups.asset import roll_day
from quality.reconciliation.reconcile import compare
from quality.reconciliation.write import write
from sensors import generations as sensor
from streamgauge.apply.changes import FillGeneration
from streamgauge.apply.execute import plan
from streamgauge.contract.in_use import load_applied
from streamgauge.contract.load import find_contract
from streamgauge.contract.model import Contract
from streamgauge.dagster.hours import HOUR, hour_key, hour_start
from streamgauge.errors import UserError
from streamgauge.rollup.pseudonyms import pseudonyms_of
from streamgauge.settings import Settings
from streamgauge.state.generations import read_filling
from streamgauge.stores.fact_tables import facts_table
from streamgauge.stores.postgres import connect
from streamgauge.stores.rollup_tables import daily_table, hourly_table
from streamgauge.stores.tables.batch import rollups_table
from tests.integration.batch_layer import fill_batch, fill_lake
from tests.integration.expectation import assert_as_expected, expected_of
from tests.integration.own_stream import Document, block
from tests.integration.running import Running, events
from tests.integration.serving_client import in_process
from tests.integration.workers import account_of, wait_for, wait_until_read
from tests.oracle import Expected

FIRST = 6_000
PIECE = 100
LATE = 200
OLD_DIMENSIONS = {"event_type", "actor_kind"}
UNKNOWN_DIMENSION, CHANGING = 422, 503
NEW_DIMENSIONS = {"kind", "length"}


def change(document: Document) -> None:
    """A dimension is renamed, one is dropped and one is added, and so are measures."""
    rollup = block(document, "rollup")
    rollup["dimensions"] = [{"name": "kind", "source": "event_type"}, {"name": "length", "source": "properties.size"}]
    rollup["counts"] = [{"name": "pushes", "where": "event_type = 'PushEvent'"}]
    rollup["measures"] = [{"name": "sizes", "source": "properties.size", "quantiles": True, "last": True}]


def rows(query: str, *values: Any) -> list[tuple[Any, ...]]:
    with connect(Settings.for_role("admin")) as connection:
        return connection.execute(query.encode(), values).fetchall()


def change_rows(query: str, *values: Any) -> None:
    with connect(Settings.for_role("admin")) as connection:
        connection.execute(query.encode(), values)


def tables(stream: str) -> set[str]:
    found = rows(
        "select relname from pg_class where relnamespace = 'streamgauge'::regnamespace and relkind in ('r', 'v')"
        " and starts_with(relname, %s)",
        f"{stream}_",
    )
    return {name for (name,) in found}


def applied(running: Running) -> Contract:
    return find_contract(load_applied(running.own.settings("reader")), running.own.name)


def fill(contract: Contract, instance: dg.DagsterInstance | None = None) -> dict[str, Any]:
    """As the sensor's run does it; returns what it says."""
    job: Any = dg.Definitions(jobs=[fill_job(contract)], resources={"batch": BatchResource()}).resolve_job_def(
        f"{contract.stream}_fill_generation"
    )
    result = job.execute_in_process(instance=instance)
    found = [
        e.event_specific_data.asset_observation.metadata
        for e in result.all_events
        if e.event_type == dg.DagsterEventType.ASSET_OBSERVATION
    ]
    return {name: value.value for name, value in found[0].items()} if found else {}


def asked_for(contract: Contract) -> list[str | None]:
    """The jobs that the sensor would run now."""
    built = sensor.definitions(
        [contract], [fill_job(contract)], lambda: connect(Settings.for_role("batch"), autocommit=True)
    )
    (definition,) = list(built.sensors or ())
    untyped: Any = dg.DagsterInstance
    with untyped.ephemeral() as instance, dg.build_sensor_context(instance) as context:
        return [r.job_name for r in definition.evaluate_tick(context).run_requests or ()]


def reconcile(contract: Contract, hours: list[datetime]) -> None:
    settings = Settings.for_role("batch")
    with connect(settings, autocommit=True) as connection:
        found = compare(connection, contract, pseudonyms_of(settings, contract), settings.lake, hours)
        write(connection, contract, found.results, found.snapshot.progress, "test")


def standings(contract: Contract) -> dict[datetime, tuple[int, bool]]:
    return {
        hour: (revision, checked)
        for hour, revision, checked in rows(
            "select hour, revision, checked from final_hours where stream = %s", contract.stream
        )
    }


@dataclass
class Flow:
    """Events of now, one piece after the other, with some of them again; `late` adds some of hours that are over."""

    running: Running
    hours: list[datetime]
    over: threading.Event = field(default_factory=threading.Event)
    failures: list[BaseException] = field(default_factory=list[BaseException])
    sent: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def spread(self, count: int, start: datetime, end: datetime, again: int = 0) -> None:
        with self._lock:
            contract = self.running.contract
            frame = events(contract, count, start=self.sent)
            step = (end - start) / count
            times = [int((start + i * step).timestamp() * 1000) for i in range(count)]
            column = contract.event_time
            frame = frame.with_columns(pl.Series(column, times).cast(frame.schema[column]))
            self.sent += count
            self.running.send(pl.concat([frame, frame.head(again)]))

    def late(self) -> None:
        self.spread(LATE, self.hours[0], self.hours[-1] + HOUR, again=20)

    def run(self) -> None:
        try:
            while not self.over.is_set():
                self.spread(PIECE, datetime.now(UTC) - timedelta(seconds=1), datetime.now(UTC), again=10)
                time.sleep(0.2)
        except BaseException as e:
            self.failures.append(e)

    @contextmanager
    def flowing(self) -> Generator[None]:
        thread = threading.Thread(target=self.run, name="flow")
        thread.start()
        try:
            yield
        finally:
            self.over.set()
            thread.join(60)
            assert not self.failures, self.failures


@dataclass
class Readers:
    """Ask the view and the API as long as the block lasts. What they got must be of one generation, and never less."""

    stream: str
    client: TestClient
    over: threading.Event = field(default_factory=threading.Event)
    failures: list[BaseException] = field(default_factory=list[BaseException])
    dimensions: list[tuple[str, frozenset[str]]] = field(default_factory=list[tuple[str, frozenset[str]]])
    _least: Counter[str] = field(default_factory=Counter[str])

    @contextmanager
    def reading(self) -> Generator[None]:
        threads = [threading.Thread(target=self._run, args=(read,)) for read in (self._view, self._api)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self.over.set()
            for thread in threads:
                thread.join(60)
        assert not self.failures, self.failures

    def _run(self, read: Callable[[], None]) -> None:
        try:
            while not self.over.is_set():
                read()
                time.sleep(0.05)
        except BaseException as e:
            self.failures.append(e)

    def _view(self) -> None:
        with connect(Settings.for_role("reader")) as connection, connection.cursor() as cursor:
            cursor.execute(f'select * from "{self.stream}_1m"'.encode())
            names = [c.name for c in cursor.description or ()]
            total = sum(dict(zip(names, row, strict=True))["count"] for row in cursor)
        self._note("view", names, total)

    def _api(self) -> None:
        last = hour_start(datetime.now(UTC)) + HOUR
        begin, end = ((last - n * HOUR).strftime("%Y-%m-%dT%H:%M:%SZ") for n in (6, 0))
        path = f"/v1/streams/{self.stream}/rollups?window=1h&from={begin}&to={end}&group_by="
        for dimensions in (OLD_DIMENSIONS, NEW_DIMENSIONS):
            answer = self.client.get(path + ",".join(sorted(dimensions)))
            if answer.status_code == CHANGING:
                assert answer.headers["Retry-After"] == "1"
                return
            if answer.status_code != UNKNOWN_DIMENSION:
                found = answer.raise_for_status().json()["rows"]
                self._note("api", found[0], sum(row["count"] for row in found))
                return
        raise AssertionError("the API knows neither dimensions")

    def _note(self, who: str, names: Any, total: int) -> None:
        shown = frozenset(names) & (OLD_DIMENSIONS | NEW_DIMENSIONS)
        assert shown in (OLD_DIMENSIONS, NEW_DIMENSIONS), names
        assert total >= self._least[who], f"{who}: {total} after {self._least[who]}, by {shown}"
        self._least[who] = total
        if (who, shown) not in self.dimensions:
            self.dimensions.append((who, shown))


def never_late(contract: Contract) -> Expected:
    """The oracle's answer, in which no event is late, with the books as they are."""
    expected = expected_of(contract)
    time = contract.time.model_copy(update={"allowedLatenessSeconds": 10**7})
    other = expected_of(replace(contract, time=time))
    expected.minutes, expected.tops = other.minutes, other.tops
    return expected


def by_window(expected: Expected, length: timedelta) -> dict[tuple[datetime, tuple[str, ...]], tuple[int, int]]:
    """Count and duplicates of the windows that have either."""
    ms = length // timedelta(milliseconds=1)
    found: dict[tuple[datetime, tuple[str, ...]], list[int]] = defaultdict(lambda: [0, 0])
    for (minute, dimensions, _), row in expected.minutes.items():
        sums = found[datetime.fromtimestamp(minute // ms * ms / 1000, UTC), dimensions]
        sums[0] += row.count
        sums[1] += row.duplicates
    return {key: (count, duplicates) for key, (count, duplicates) in found.items()}


def stored_windows(contract: Contract, size: str) -> dict[tuple[datetime, tuple[str, ...]], tuple[int, int]]:
    found = rows(f'select window_start, kind, length, count, duplicates from "{rollups_table(contract, size)}"')
    return {(start, (kind, length)): (count, duplicates) for start, kind, length, count, duplicates in found}


@pytest.mark.timeout(300)
def test_dimensions_change_while_events_flow(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    running.edit(lambda d: block(d, "time").update(duplicateHorizonSeconds=86_400))
    running.apply()
    before, now = running.contract, hour_start(datetime.now(UTC))
    hours = [now - 3 * HOUR, now - 2 * HOUR]
    flow = Flow(running, hours)
    worker = running.workers.start()
    flow.spread(FIRST, hours[0], now, again=100)
    flow.spread(PIECE, now, datetime.now(UTC))
    wait_until_read(before)
    fill_lake(before)
    built = [*hours, now - HOUR, now]
    fill_batch(before, built)
    reconcile(before, built)
    final = standings(before)
    assert set(hours) <= set(final)
    late_between = threading.Event()
    make, take_up = Maker.make, filling.GenerationFill.take_up

    def slowly(*arguments: Any) -> None:
        time.sleep(0.2)
        make(*arguments)

    def after_late_events(*arguments: Any) -> Any:
        """Hours that were made already get events, and a worker dies."""
        running.workers.kill(worker)
        flow.late()
        running.workers.start()
        wait_for(lambda: account_of(before).late == 2 * LATE, "the late events are read")
        late_between.set()
        return take_up(*arguments)

    monkeypatch.setattr(Maker, "make", slowly)
    monkeypatch.setattr(filling.GenerationFill, "take_up", after_late_events)
    with in_process(running.own.folder) as client:
        readers = Readers(before.stream, client)
        with flow.flowing(), readers.reading():
            running.edit(change)
            (asked,) = (
                c for c in plan(running.own.settings(), (running.contract,)).changes if isinstance(c, FillGeneration)
            )
            assert asked.pending.reasons[:2] == ("dimension kind added", "dimension length added")
            assert asked.hours >= len(hours)
            flow.late()
            running.apply()
            assert plan(running.own.settings(), (running.contract,)).changes == ()
            assert applied(running) == before
            with connect(Settings.for_role("reader")) as connection:
                assert read_filling(connection)[before.stream].generation == 2
            assert asked_for(before) == [f"{before.stream}_fill_generation"]
            said = fill(before)
            assert (said["generation of rollups"], said["in the place of"]) == (2, 1)
            assert said["hours that could not be made again"] == 0
            assert late_between.is_set()
            after = replace(running.contract, generation=2)
            assert applied(running) == after
            counted = account_of(before).counted
            wait_for(lambda: account_of(before).counted > counted + 5 * PIECE, "workers count on")
            wait_for(lambda: ("api", frozenset(NEW_DIMENSIONS)) in readers.dimensions, "the API has the generation")
    assert {shown for _, shown in readers.dimensions[:2]} == {frozenset(OLD_DIMENSIONS)}
    assert plan(running.own.settings(), (running.contract,)).changes == ()
    assert asked_for(after) == []
    assert fill(after) == {}

    account = wait_until_read(after)
    assert account.adds_up and account.late == 2 * LATE and account.duplicates > 0
    expected = never_late(after)
    assert_as_expected(after, expected)
    pushes = rows(
        f"select sum(pushes)::bigint, sum(count) filter (where kind = 'PushEvent')::bigint from {after.minutes_table}"
    )
    assert pushes[0][0] == pushes[0][1] > 0

    # final hours stayed so, and what was made agrees with the workers' numbers
    assert set(standings(after)) >= set(hours)
    assert all(standings(after)[h][1] for h in hours)
    fill_lake(after)
    current = hour_start(datetime.now(UTC))
    fill_batch(after, [*hours, current - HOUR, current])
    for day in {h.replace(hour=0) for h in (*hours, current)}:
        roll_day(BatchResource(), after, day)
    assert stored_windows(after, "1m") == by_window(expected, timedelta(minutes=1))
    assert stored_windows(after, "1h") == by_window(expected, HOUR)
    assert stored_windows(after, "1d") == by_window(expected, timedelta(days=1))
    reconcile(after, hours)
    assert rows(
        "select bool_and(passed) from event_hours where stream = %s and hour = any(%s)", after.stream, hours
    ) == [(True,)]

    _go_after_the_grace_time(before, after)


def _go_after_the_grace_time(before: Contract, after: Contract) -> None:
    root = Settings.for_role("batch").lake
    assert before.minutes_table in tables(before.stream)
    _housekeeping()
    assert before.minutes_table in tables(before.stream)
    assert hourly_table(root, before).stored()
    change_rows(
        "update rollup_generations set retired_at = now() - interval '8 days' where stream = %s and generation = 1",
        before.stream,
    )
    _housekeeping()
    left = tables(before.stream)
    assert not {before.minutes_table, f"{before.stream}_batch_days", f"{before.stream}_g1_1m"} & left
    assert {after.minutes_table, rollups_table(after, "1d"), f"{before.stream}_1m"} <= left
    assert not hourly_table(root, before).stored()
    assert not daily_table(root, before).stored()
    assert hourly_table(root, after).stored()


def _housekeeping() -> None:
    with dg.build_op_context(resources={"batch": BatchResource()}) as context:
        old_generations(context)


def test_another_change_takes_its_place_and_it_can_be_undone(running: Running) -> None:
    running.apply()
    original = running.own.document()
    stream = running.own.name

    def with_dimension(name: str) -> None:
        running.own.write(original)
        running.edit(lambda d: block(d, "rollup")["dimensions"].append({"name": name, "source": "properties.size"}))
        running.apply()

    with_dimension("length")
    assert f"{stream}_g2_minutes" in tables(stream)
    with_dimension("width")
    assert not [t for t in tables(stream) if t.startswith(f"{stream}_g2_")]
    assert f"{stream}_g3_minutes" in tables(stream)
    running.own.write(original)
    running.apply()
    assert not [t for t in tables(stream) if t.startswith(f"{stream}_g")]
    assert fill(running.contract) == {}

    with_dimension("height")
    before, after = applied(running), replace(running.contract, generation=4)
    running.workers.start()
    running.send(events(before, 100))
    wait_until_read(before)
    assert fill(before)["generation of rollups"] == 4
    assert applied(running) == after
    assert "height" in {
        name for (name,) in rows("select attname from pg_attribute where attrelid = %s::regclass", f"{stream}_1m")
    }
    running.send(events(after, 100, start=100))
    wait_until_read(after)
    assert_as_expected(after, expected_of(after))

    # what goes by the contract of before can change nothing
    hour = hour_start(datetime.now(UTC)) - 3 * HOUR
    with pytest.raises(UserError, match="generation 4 of its rollups took the place of 1"):
        reconcile(before, [hour])
    with pytest.raises(UserError, match="took the place of 1"):
        fill_batch(before, [hour])


def test_what_can_not_be_made_again_says_so(running: Running) -> None:
    running.apply()
    before, now = running.contract, hour_start(datetime.now(UTC))
    hours = [now - 3 * HOUR, now - 2 * HOUR]
    running.workers.start()
    flow = Flow(running, hours)
    flow.spread(300, hours[0], now)
    flow.spread(PIECE, now, datetime.now(UTC))
    wait_until_read(before)
    fill_lake(before)
    fill_batch(before, hours)
    reconcile(before, hours)
    assert set(standings(before)) == set(hours)
    facts = facts_table(Settings.for_role("batch").lake, before)
    facts.replace([hour_key(hours[0])], facts.read([]))

    running.edit(change)
    running.apply()
    assert fill(before)["hours that could not be made again"] == 1
    after = applied(running)
    assert standings(after) == {hours[0]: (2, False), hours[1]: (1, True)}
    expected = by_window(expected_of(after), HOUR)
    assert stored_windows(after, "1h") == {key: sums for key, sums in expected.items() if key[0] == hours[1]}
    reason = "select reason from hour_revisions where stream = %s and revision = 2"
    assert rows(reason, after.stream) == [("not made again: its facts are kept no longer",)]
    # its minutes are there all the same: the lake has the records
    assert_as_expected(after, expected_of(after))
