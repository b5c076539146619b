"""What is told of stale data: once a cause, in phases, until it has recovered."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count

from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from sensors.alerting.incidents import Alert, Incident, Message, update
from sensors.alerting.stale import stale_alert
from sensors.alerting.subjects import KAFKA, WORKER, subjects
from sensors.alerting.watermarks import complete_to
from sensors.freshness import Memory, Observation, Subject, evaluate
from streamgauge.contract.load import load_contracts
from streamgauge.dagster.hours import HOUR
from streamgauge.settings import CONTRACTS

START = datetime(2026, 11, 23, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
TICK = timedelta(seconds=15)

CHAIN = (
    Subject("worker", "", "platform", timedelta(seconds=30)),
    Subject("minutes", "s", "team", MINUTE, ("worker",)),
    Subject("redis", "s", "team", MINUTE, ("minutes",)),
)
MEMORY = TypeAdapter(dict[str, Memory])


class Story:
    """Ticks, with all that is remembered going through JSON between them, as after a restart."""

    def __init__(self, chain: Sequence[Subject] = CHAIN) -> None:
        self.chain = chain
        self.memory = MEMORY.dump_json({})
        self.firing: list[Incident] = []
        self.messages: list[Message] = []
        self.reported: dict[str, str] = {}
        self._ids = map(str, count())

    def tick(self, now: datetime, watermarks: Mapping[str, datetime | None]) -> None:
        seen = {key: Observation(w) for key, w in watermarks.items()}
        evaluated = evaluate(self.chain, seen, MEMORY.validate_json(self.memory), now)
        self.memory = MEMORY.dump_json(dict(evaluated.memory))
        alerts = [stale_alert(s, now) for s in evaluated.stale]
        incidents, messages = update(alerts, self.firing, now, lambda: next(self._ids))
        self.reported |= {i.id: i.alert.asset for i in incidents}
        self.firing = [i for i in incidents if i.resolved_at is None]
        self.messages += messages

    def run(self, ticks: int, ages: Mapping[str, Callable[[datetime], datetime | None]], since: datetime) -> datetime:
        for i in range(ticks):
            now = since + i * TICK
            self.tick(now, {key: age(now) for key, age in ages.items()})
        return since + ticks * TICK

    @property
    def messages_sent(self) -> list[tuple[str, str, str]]:
        return [(self.reported[m.incident], m.status, m.severity) for m in self.messages]


def fresh(now: datetime) -> datetime:
    return now - timedelta(seconds=5)


def stopped(at: datetime) -> Callable[[datetime], datetime]:
    return lambda now: min(at, now)


ALL_FRESH: Mapping[str, Callable[[datetime], datetime | None]] = dict.fromkeys(("worker", "minutes", "redis"), fresh)


def test_a_stopped_worker_is_reported_once_in_two_phases_and_once_when_it_is_back() -> None:
    story = Story()
    now = story.run(10, ALL_FRESH, START)
    now = story.run(20, dict.fromkeys(ALL_FRESH, stopped(now)), now)
    assert story.messages_sent == [("worker", "firing", "warning"), ("worker", "firing", "critical")]
    assert story.firing[0].alert.downstream == ("minutes", "redis")
    story.run(20, ALL_FRESH, now)
    assert story.messages_sent[2:] == [("worker", "resolved", "warning"), ("worker", "resolved", "critical")]


def test_what_is_critical_when_first_seen_is_reported_as_such_only() -> None:
    story = Story()
    story.run(5, dict.fromkeys(ALL_FRESH, stopped(START - HOUR)), START)
    assert story.messages_sent == [("worker", "firing", "critical")]


def test_what_stays_behind_after_its_cause_is_reported_after_a_grace() -> None:
    story = Story()
    now = story.run(10, dict.fromkeys(ALL_FRESH, stopped(START - HOUR)), START)
    still = {**ALL_FRESH, "redis": stopped(START - HOUR)}
    now = story.run(3, still, now)
    assert ("redis", "firing", "critical") not in story.messages_sent
    story.run(10, still, now)
    assert story.messages_sent[-1] == ("redis", "firing", "critical")


def test_an_unknown_watermark_goes_on_ageing() -> None:
    story = Story()
    now = story.run(5, ALL_FRESH, START)
    story.run(20, {**ALL_FRESH, "redis": lambda _: None}, now)
    assert story.messages_sent == [("redis", "firing", "warning"), ("redis", "firing", "critical")]


def test_what_was_never_seen_is_stale_after_its_target_too() -> None:
    story = Story()
    story.run(20, {**ALL_FRESH, "minutes": lambda _: None}, START)
    assert story.messages_sent == [("minutes", "firing", "warning"), ("minutes", "firing", "critical")]


def test_an_idle_stream_is_not_stale() -> None:
    story = Story()
    story.run(500, dict.fromkeys(ALL_FRESH, lambda now: now - timedelta(seconds=12)), START)
    assert story.messages == []


def test_a_watermark_around_its_target_does_not_flap() -> None:
    story = Story()
    ages = (62, 62, 58, 61, 55, 63, 50, 65, 58, 61)
    for i in range(200):
        now = START + i * TICK
        story.tick(now, {"worker": now, "minutes": now - timedelta(seconds=ages[i % len(ages)]), "redis": now})
    assert [s for s in story.messages_sent if s[0] == "minutes"] == [("minutes", "firing", "warning")]


def test_a_short_jam_is_not_told() -> None:
    story = Story()
    for i in range(100):
        now = START + i * TICK
        story.tick(now, dict.fromkeys(ALL_FRESH, now - timedelta(seconds=65 if i % 10 == 0 else 5)))
    assert story.messages == []


@given(
    st.lists(st.tuples(*[st.one_of(st.none(), st.integers(0, 400)) for _ in CHAIN], st.integers(1, 60)), max_size=60)
)
def test_every_incident_is_reported_in_order_and_never_twice(
    history: list[tuple[int | None, int | None, int | None, int]],
) -> None:
    """Whatever the watermarks do: messages pair up, and nothing downstream is told while its cause fires."""
    story, now = Story(), START
    for *ages, pause in history:
        now += timedelta(seconds=pause)
        watermarks = {
            s.key: None if age is None else now - timedelta(seconds=age) for s, age in zip(CHAIN, ages, strict=True)
        }
        before = {i.alert.asset for i in story.firing}
        reported = len(story.messages)
        story.tick(now, watermarks)
        news = {story.reported[m.incident] for m in story.messages[reported:] if m.status == "firing"}
        for s in CHAIN:
            if s.key in news:
                assert not set(s.upstream) & before, f"{s.key} told while {s.upstream} fires"
        again = len(story.messages)
        story.tick(now, watermarks)
        assert len(story.messages) == again, "a tick repeated at the same moment told more"
    for incident in story.reported:
        text = [(m.status, m.severity) for m in story.messages if m.incident == incident]
        assert text in _ALLOWED, text


_ALLOWED = [
    list(begun) + end
    for begun in (
        [("firing", "warning")],
        [("firing", "critical")],
        [("firing", "warning"), ("firing", "critical")],
    )
    for end in ([], [("resolved", severity) for _, severity in begun])
]


@given(st.lists(st.integers(0, 48), min_size=1, max_size=200))
def test_within_its_target_nothing_is_ever_told(ages: list[int]) -> None:
    """48 s of 60: below the level of recovery as well."""
    story = Story(CHAIN[1:])
    for i, age in enumerate(ages):
        now = START + i * TICK
        story.tick(now, dict.fromkeys(("minutes", "redis"), now - timedelta(seconds=age)))
    assert story.messages == []


def test_every_contract_has_its_assets_judged_behind_one_worker_and_one_kafka() -> None:
    contracts = load_contracts(CONTRACTS)
    graph = subjects(contracts)
    keys = [s.key for s in graph]
    assert keys[:2] == [KAFKA, WORKER]
    for c in contracts:
        for key in (
            f"speed/{c.minutes_table}", f"redis/{c.stream}_top", f"lake/{c.stream}_lake", f"facts/{c.stream}_facts",
            f"rollups/{c.stream}_hourly", f"rollups/{c.stream}_daily", f"reconciliation/{c.stream}_reconciliation",
        ):  # fmt: skip
            assert key in keys
    for i, s in enumerate(graph):
        assert set(s.upstream) <= set(keys[:i]), "subjects stand behind what they wait for"


def test_one_kafka_outage_is_one_incident() -> None:
    graph = subjects(load_contracts(CONTRACTS))
    story = Story(graph)
    now = story.run(5, {s.key: fresh for s in graph}, START)
    down: dict[str, Callable[[datetime], datetime | None]] = {s.key: stopped(now) for s in graph}
    now = story.run(6 * 240, {**down, KAFKA: lambda _: None}, now)
    assert {s[0] for s in story.messages_sent} == {KAFKA}
    story.run(20, {s.key: fresh for s in graph}, now)
    assert story.messages_sent[-1] == (KAFKA, "resolved", "critical")
    assert story.firing == []


def _alert_of(cause: str, severity: str = "warning", asset: str = "lake/s") -> Alert:
    return Alert(cause, "Name", severity, "s", asset, "team", cause, cause, "link", START)  # pyright: ignore[reportArgumentType]


def _causes(incidents: Iterable[Incident]) -> list[tuple[str, str]]:
    return [(i.alert.cause, i.alert.severity) for i in incidents]


def test_a_failed_run_stands_for_the_staleness_it_leads_to() -> None:
    ids = map(str, count())
    firing, messages = update([_alert_of("run/lake/s")], [], START, lambda: next(ids))
    firing, more = update([_alert_of("run/lake/s"), _alert_of("stale/lake/s")], firing, START, lambda: next(ids))
    assert _causes(firing) == [("run/lake/s", "warning")]
    assert more == []
    firing, more = update(
        [_alert_of("run/lake/s"), _alert_of("stale/lake/s", "critical")], firing, START, lambda: next(ids)
    )
    assert _causes(firing) == [("run/lake/s", "critical")]
    assert [(m.status, m.severity) for m in messages + more] == [("firing", "warning"), ("firing", "critical")]


def test_other_assets_have_incidents_of_their_own() -> None:
    ids = map(str, count())
    firing, messages = update(
        [_alert_of("run/lake/s"), _alert_of("run/facts/s", asset="facts/s")], [], START, lambda: next(ids)
    )
    assert len(firing) == len(messages) == 2


def test_the_lake_is_complete_to_its_first_hole() -> None:
    hours = [START + i * HOUR for i in range(6)]
    assert complete_to(set(hours), START + 6 * HOUR) == START + 6 * HOUR
    assert complete_to({*hours[:2], *hours[3:]}, START + 6 * HOUR) == START + 2 * HOUR
    assert complete_to(set(), START) is None
