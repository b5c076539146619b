"""The whole batch layer through Dagster's daemon: late data, backfills at once, runs that die."""

import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Generator, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable
from playwright.sync_api import Page, expect

from assets.housekeeping.lake import DEAD_HOURS
from streamgauge.apply.execute import apply
from streamgauge.contract.model import Contract
from streamgauge.dagster import keys as asset_keys
from streamgauge.dagster.hours import HOUR, hour_key, hour_start
from streamgauge.producer.producer import EventProducer
from streamgauge.rollup.sketches import load_hll, load_kll
from streamgauge.settings import PREFIX, Settings
from streamgauge.stack.control import Stack
from streamgauge.stores.fact_tables import facts_table
from streamgauge.stores.lake import EVENT_HOUR, OFFSET, PARTITION
from streamgauge.stores.postgres import connect
from tests.integration.browser import chromium
from tests.integration.dagster_processes import DagsterProcesses
from tests.integration.own_stream import OwnStream
from tests.integration.running import events
from tests.integration.workers import Workers, wait_for, wait_until_read

EACH = 200
LATE = 30
PATIENCE = 600.0
SHOWN_MS = 60_000
OLD = hour_start(datetime.now(UTC)) - timedelta(days=30)
HLL_FAMILY = 7
EDGES = 13
"""Between a stream's own assets; one more leads to each dimension of its star."""
HOURS = [OLD, OLD + HOUR, OLD + 5 * HOUR]

pytestmark = pytest.mark.timeout(2400)


class Batch:
    def __init__(self, own: OwnStream, dagster: DagsterProcesses) -> None:
        self.own, self.contract, self.dagster = own, own.contract, dagster
        self._sent = 0

    def send(self, hour: datetime, count: int) -> None:
        """Events in the middle of an hour."""
        at = int((hour + HOUR / 2).timestamp() * 1000)
        with EventProducer(Settings.for_role("producer"), self.contract) as producer:
            assert not producer.send(events(self.contract, count, start=self._sent, at=at))
        self._sent += count

    def take(self) -> None:
        """The records that came in this hour or the one before go to the lake."""
        assert self.begin_taking().wait(PATIENCE) == 0

    def begin_taking(self) -> subprocess.Popen[bytes]:
        wait_until_read(self.contract)
        now = hour_start(datetime.now(UTC))
        return self.backfill("lake", now - HOUR, now + HOUR)

    def backfill(self, layer: str, begin: datetime, end: datetime) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "streamgauge.cli", "backfill", layer, "--json"]
        return subprocess.Popen(
            [*command, "--from", hour_key(begin), "--to", hour_key(end)],
            env={**os.environ, f"{PREFIX}CONTRACTS_DIR": str(self.own.folder)},
            stdout=subprocess.PIPE,
        )

    def until_settled(self) -> None:
        outdated = "select 1 where exists (select from event_hours where stream = %s"
        outdated += " and least(built, rolled, reconciled) < touched)"
        wait_for(lambda: not self.ask(outdated, self.contract.stream), "nothing is outdated", PATIENCE)

    def facts(self, hours: Iterable[datetime]) -> list[int]:
        """Of each hour, as its books say and as its minutes add up to."""
        hours = list(hours)
        books = dict(self.ask("select hour, facts from event_hours where stream = %s", self.contract.stream))
        rolled = self.rolled(hours)
        assert [books.get(h, 0) for h in hours] == rolled
        return rolled

    def rolled(self, hours: Iterable[datetime]) -> list[int]:
        query = f'select coalesce(sum(count), 0)::bigint from "{self.contract.stream}_batch_minutes"'
        query += " where window_start >= %s and window_start < %s"
        return [self.ask(query, h, h + HOUR)[0][0] for h in hours]

    def materializations(self, path: asset_keys.AssetPath) -> Counter[str]:
        """How often each of HOURS was materialized. The hours between them, which have no events, follow by themselves
        at the end of the wall clock's hour, whenever that is.
        """
        keys = {hour_key(h) for h in HOURS}
        return Counter({key: n for key, n in self.dagster.materializations(path).items() if key in keys})

    def minutes(self) -> list[Any]:
        rows = self.ask(f'select * from "{self.contract.stream}_batch_minutes" order by 1, 2, 3')
        return [[_read(v) if isinstance(v, bytes) else v for v in row] for row in rows]

    def ask(self, query: str, *values: Any) -> list[Any]:
        with connect(Settings.for_role("reader")) as connection:
            return connection.execute(query.encode(), values).fetchall()


@pytest.fixture(scope="module")
def batch(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Generator[Batch]:
    """A stream whose three old hours and newest one are facts, by automation alone."""
    own = OwnStream(tmp_path_factory.mktemp("batch"))
    apply(own.settings(), (own.contract,))
    with Workers([own.name], own.folder) as workers, DagsterProcesses(stack, own.folder) as dagster:
        workers.start()
        built = Batch(own, dagster)
        for hour in HOURS:
            built.send(hour, EACH)
        built.take()
        built.until_settled()
        yield built


@pytest.fixture(scope="module")
def pages() -> Generator[Page]:
    with chromium() as browser:
        page = browser.new_context(viewport={"width": 1700, "height": 1000}, timezone_id="UTC").new_page()
        page.set_default_timeout(SHOWN_MS)
        yield page


def test_what_the_lake_brought_is_made_by_itself(batch: Batch) -> None:
    assert batch.facts(HOURS) == [EACH] * 3
    for path in _chain(batch.contract):
        assert batch.materializations(path) == {hour_key(h): 1 for h in HOURS}, path
    for path, check in _checks(batch.contract):
        assert batch.dagster.passed(path, check) >= {hour_key(h) for h in HOURS}, check
    final = "select hour from final_hours where stream = %s and checked order by hour"
    wait_for(lambda: batch.ask(final, batch.contract.stream) == [(h,) for h in HOURS], "they are final", PATIENCE)


def test_late_data_rebuilds_exactly_its_hours(batch: Batch) -> None:
    late = HOURS[1:]
    before = {path: batch.materializations(path) for path in _chain(batch.contract)}
    for hour in late:
        batch.send(hour, LATE)
    batch.take()
    batch.until_settled()
    assert batch.facts(HOURS) == [EACH, EACH + LATE, EACH + LATE]
    for path in _chain(batch.contract)[:-1]:
        again = batch.materializations(path) - before[path]
        assert again == {hour_key(h): 1 for h in late}, path
    revised = "select hour from final_hours where stream = %s and revision > 1 order by hour"
    wait_for(lambda: batch.ask(revised, batch.contract.stream) == [(h,) for h in late], "they are revised", PATIENCE)


def test_days_follow(batch: Batch) -> None:
    days = {h.strftime("%Y-%m-%d") for h in HOURS}
    path = asset_keys.rollups_daily(batch.contract)
    wait_for(lambda: batch.dagster.materializations(path).keys() >= days, "the days are made", PATIENCE)
    query = f'select sum(count)::bigint from "{batch.contract.stream}_batch_days"'
    total = sum(batch.facts(HOURS))
    wait_for(lambda: batch.ask(query) == [(total,)], "the days hold their hours", PATIENCE)


def test_people_see_it_in_dagster(batch: Batch, pages: Page) -> None:
    stream, hour = batch.contract.stream, hour_key(HOURS[1])
    report = asset_keys.report(batch.contract)
    day = HOURS[1].strftime("%Y-%m-%d")
    wait_for(lambda: day in batch.dagster.materializations(report), "the day has its report", PATIENCE)

    pages.goto(f"{batch.dagster.url}/locations/__repository__@streamgauge/asset-groups/{stream}")
    edges = pages.locator('path[stroke="var(--color-lineage-edge)"]')
    expect(edges).to_have_count(EDGES + len(batch.contract.star), timeout=SHOWN_MS)
    for path in (asset_keys.kafka(batch.contract), asset_keys.rollups_daily(batch.contract), report):
        expect(pages.locator("foreignObject").filter(has_text=path[-1]).first).to_be_visible(timeout=SHOWN_MS)

    pages.goto(f"{batch.dagster.url}/assets/facts/{stream}_facts?view=overview")
    status = pages.get_by_text("Freshness policy", exact=True).first.locator("xpath=../..")
    expect(status).to_contain_text("Passing", timeout=SHOWN_MS)

    pages.goto(f"{batch.dagster.url}/assets/facts/{stream}_facts?view=checks&checkDetail=completeness")
    expect(pages.get_by_role("tab", name="Execution history")).to_be_visible(timeout=SHOWN_MS)
    pages.get_by_role("tab", name="Partitions").last.click()
    expect(pages.get_by_text(re.compile(r"Passed \([1-9]"))).to_be_visible(timeout=SHOWN_MS)
    pages.get_by_placeholder("Filter by partition").fill(hour)
    pages.get_by_text(hour, exact=True).filter(visible=True).first.click()
    expect(pages.get_by_text("100.0000% of the lake's records").first).to_be_visible(timeout=SHOWN_MS)
    facts = pages.locator("tr").filter(has=pages.get_by_text("facts", exact=True))
    expect(facts).to_contain_text(str(EACH + LATE), timeout=SHOWN_MS)

    pages.goto(f"{batch.dagster.url}/assets/{'/'.join(report)}?view=partitions&partition={day}")
    pages.get_by_text("[Show Markdown]").first.click()
    expect(pages.get_by_text(f"{stream}, {day}: ", exact=False).first).to_be_visible(timeout=SHOWN_MS)


def test_housekeeping_takes_what_is_dead_and_nothing_else(batch: Batch) -> None:
    facts = facts_table(Settings.for_role("reader").lake, batch.contract)
    before = facts.read().sort(PARTITION, OFFSET)
    orphan = Path(facts.url) / f"{EVENT_HOUR}={hour_key(OLD)}" / "part-00000-killed-c000.snappy.parquet"
    orphan.write_bytes(b"half a file")
    then = time.time() - (DEAD_HOURS + 1) * 3600
    os.utime(orphan, (then, then))
    assert batch.dagster.run("housekeeping", PATIENCE) == "done"
    assert not orphan.exists()
    assert facts.read().sort(PARTITION, OFFSET).equals(before)


def test_two_backfills_of_the_same_hours_at_once_change_nothing(batch: Batch) -> None:
    before, counts = batch.minutes(), batch.facts(HOURS)
    both = [batch.backfill("facts", OLD, OLD + 6 * HOUR) for _ in range(2)]
    answers = [json.loads(p.communicate(timeout=PATIENCE)[0]) for p in both]
    assert [p.returncode for p in both] == [0, 0]
    assert [a["state"] for a in answers] == ["done", "done"]
    assert [a["done"] for answer in answers for a in answer["assets"]] == [6] * 10
    assert batch.minutes() == before
    assert batch.facts(HOURS) == counts


def test_a_killed_run_leaves_nothing_half_done_and_is_made_up(batch: Batch) -> None:
    hours = [OLD + timedelta(days=2) + i * HOUR for i in range(24)]
    facts = DeltaTable(f"{Settings.for_role('reader').lake}/facts/{batch.contract.stream}")
    for hour in hours:
        batch.send(hour, LATE)
    before, ends = facts.version(), time.monotonic() + PATIENCE
    taking = batch.begin_taking()
    while facts.version() == before:
        assert time.monotonic() < ends, "no run begins"
        time.sleep(0.02)
        facts.update_incremental()
    assert batch.dagster.kill_runs() > 0
    assert taking.wait(PATIENCE) == 0
    assert set(batch.rolled(hours)) <= {0, LATE}
    batch.until_settled()
    assert batch.facts(hours) == [LATE] * 24


def _read(sketch: bytes) -> Any:
    """Its numbers: the bytes know in which order it was told. The third one is its family."""
    if sketch[2] == HLL_FAMILY:
        return load_hll(sketch).get_estimate()
    return load_kll(sketch).get_quantiles([0.0, 0.5, 0.99, 1.0])


def _checks(contract: Contract) -> list[tuple[asset_keys.AssetPath, str]]:
    return [(asset_keys.facts(contract), "contract"), (asset_keys.reconciliation(contract), "layers_agree")]


def _chain(contract: Contract) -> list[asset_keys.AssetPath]:
    return list(asset_keys.event_hours_assets(contract))
