"""Evaluates every condition by itself: what an error keeps from being evaluated stays as it was, and is reported."""

import logging
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import dagster as dg
from pydantic import TypeAdapter
from redis import Redis

from sensors import arrivals, freshness, run_failures
from sensors.alerting import conditions
from sensors.alerting.anomalies import anomalies_under_way
from sensors.alerting.conditions import Condition
from sensors.alerting.contract_files import faulty_contracts
from sensors.alerting.incidents import Acceptance, Alert, Incident
from sensors.alerting.numbers import numbers_out_of_bounds
from sensors.alerting.stale import owners, stale_alert
from sensors.alerting.subjects import subjects
from sensors.alerting.unexplained import unexplained_hours
from sensors.alerting.watermarks import Log, observe_servers, observe_stream, read_speed
from sensors.freshness import Evaluation, Observation, Subject
from streamgauge.contract.model import Contract
from streamgauge.stores.postgres import Connection
from streamgauge.telemetry.threads import place_of

log = logging.getLogger(__name__)

_EVALUATED_ELSEWHERE = frozenset({"lag", "layers_agree"})
"""Checks that say in other words what freshness, or the hours that nothing explains, say."""

_RUNS, _CHECKS = "dagster runs", "dagster checks"
_SUBJECT = TypeAdapter(freshness.Memory)
_LOG = TypeAdapter(run_failures.Memory)

PROMETHEUS = Subject(
    "prometheus",
    "",
    "platform",
    timedelta(minutes=3),
    alert="StreamgaugePrometheusSilent",
    runbook="prometheus-silent",
    summary="Alertmanager does not hear from Prometheus",
)


@dataclass(frozen=True)
class Sources:
    """Where observations come from. Each may raise whatever its server's library does."""

    connection: Connection
    instance: dg.DagsterInstance
    redis: Callable[[], Redis]
    logs: Callable[[], Mapping[str, Log] | None]
    watchdog_fires: Callable[[], bool]
    contracts_dir: Path


@dataclass(frozen=True)
class Before:
    """What the ticks so far left behind."""

    memory: Mapping[str, Any]
    incidents: Sequence[Incident]
    acceptances: Sequence[Acceptance]


_T = TypeVar("_T")


class _Failures:
    """Which conditions could not be evaluated, of which stream ("" for all), and the kind of error."""

    def __init__(self) -> None:
        self.found: dict[tuple[str, str], tuple[Condition, str]] = {}

    def attempt(self, condition: Condition, evaluate: Callable[[], _T], stream: str = "") -> _T | None:
        try:
            return evaluate()
        except Exception as e:
            # What an error says may quote an event.
            kind = type(e).__name__
            log.error("alerts: the condition %s was not evaluated: %s%s", condition.name, kind, place_of(e))
            self.found[condition.name, stream] = (condition, kind)
            return None

    def keeps(self, incident: Incident) -> bool:
        """Whether the incident is of a condition that was not evaluated."""
        return any(
            condition.raises(incident.alert.name) and stream in ("", incident.alert.stream)
            for (_, stream), (condition, _) in self.found.items()
        )

    def alerts(self, now: datetime) -> list[Alert]:
        return [
            Alert(
                cause=f"condition/{name}/{stream}" if stream else f"condition/{name}",
                name=conditions.NOT_EVALUATED,
                severity="warning",
                stream=stream,
                asset="",
                owner="platform",
                summary=f"the alert condition {name}{f' of {stream}' if stream else ''} could not be evaluated",
                description=f"{kind}. The log of dagster-code names the place. Its open alerts stand as they are.",
                runbook=conditions.EVALUATION.runbook,
                since=now,
            )
            for (name, stream), (_, kind) in self.found.items()
        ]


def evaluate(
    sources: Sources, contracts: Sequence[Contract], before: Before, runbooks: str, now: datetime
) -> tuple[list[Alert], dict[str, Any]]:
    """The alerts that stand now, and what the next tick must remember. Asks servers: no transaction may be open."""
    failures = _Failures()
    fresh, memory = _freshness(sources, contracts, before, failures, now)
    failed: list[Alert] = []
    for key, condition, read, alerts in (
        (_CHECKS, conditions.CHECKS, _read_checks, run_failures.check_alerts),
        (_RUNS, conditions.RUNS, _read_runs, run_failures.run_alerts),
    ):
        found = failures.attempt(condition, lambda key=key, read=read: read(sources, before, key, now))
        if found is None:
            memory |= {key: before.memory[key]} if key in before.memory else {}
        else:
            memory[key] = _LOG.dump_python(found, mode="json")
            failed += alerts(found.failing, owners(contracts))
    unexplained = failures.attempt(conditions.UNEXPLAINED, lambda: unexplained_hours(sources.connection, contracts))
    arrived = failures.attempt(
        conditions.ARRIVALS,
        lambda: arrivals.alerts(contracts, arrivals.read_arrived(sources.connection, contracts, now), now),
    )
    odd = failures.attempt(conditions.ANOMALIES, lambda: anomalies_under_way(sources.connection, contracts, now))
    reported = {i.alert.cause for i in before.incidents}
    bounded = [_numbers(sources, c, reported, failures, now) for c in contracts if c.alerts]
    faulty = failures.attempt(conditions.CONTRACTS, lambda: faulty_contracts(sources.contracts_dir, now))
    # A failed run or check of an asset that waits for something upstream follows from that.
    standing = [a for a in failed if a.cause in reported or a.asset not in fresh.waiting]
    standing += unexplained or []
    standing += [stale_alert(s, now) for s in fresh.stale]
    standing += arrived or []
    standing += faulty or []
    standing += odd or []
    standing += chain.from_iterable(bounded)
    standing += failures.alerts(now)
    standing = [replace(a, runbook=f"{runbooks}/{a.runbook}.md") for a in standing]
    causes = {a.cause for a in standing}
    kept = [i.alert for i in before.incidents if failures.keeps(i) and i.alert.cause not in causes]
    return standing + kept, memory


def _freshness(
    sources: Sources, contracts: Sequence[Contract], before: Before, failures: _Failures, now: datetime
) -> tuple[Evaluation, dict[str, Any]]:
    """One stream's error leaves the others' freshness to be evaluated: its subjects stay as they were."""
    fires = failures.attempt(conditions.PROMETHEUS, sources.watchdog_fires)
    graph: list[Subject] = []
    seen: dict[str, Observation] = {}
    if fires is not None and (fires or PROMETHEUS.key in before.memory):
        graph.append(PROMETHEUS)
    if fires:
        seen[PROMETHEUS.key] = Observation(now)
    shared = failures.attempt(
        conditions.FRESHNESS, lambda: (sources.logs(), read_speed(sources.connection, contracts), sources.redis())
    )
    if shared is not None:
        logs, speed, redis = shared
        seen |= observe_servers(logs, speed, now)
        unknown: set[str] = set()
        for c in contracts:
            of_stream = failures.attempt(
                conditions.FRESHNESS,
                lambda c=c: observe_stream(sources.connection, redis, logs, speed.get(c.stream), c, now),
                c.stream,
            )
            seen |= of_stream or {}
            unknown |= set() if of_stream is not None else {c.stream}
        graph += [s for s in subjects(contracts) if s.stream not in unknown]
    remembered = {s.key for s in (PROMETHEUS, *subjects(contracts))} & before.memory.keys()
    memory = {k: before.memory[k] for k in remembered}
    found = failures.attempt(
        conditions.FRESHNESS,
        lambda: freshness.evaluate(
            graph, seen, {s.key: _SUBJECT.validate_python(memory[s.key]) for s in graph if s.key in memory}, now
        ),
    )
    if found is None:
        return Evaluation({}, (), frozenset()), memory
    return found, memory | {k: _SUBJECT.dump_python(m, mode="json") for k, m in found.memory.items()}


def _numbers(
    sources: Sources, contract: Contract, reported: Set[str], failures: _Failures, now: datetime
) -> list[Alert]:
    found = failures.attempt(
        conditions.NUMBERS, lambda: numbers_out_of_bounds(sources.connection, contract, reported, now), contract.stream
    )
    return found or []


def _read_runs(sources: Sources, before: Before, key: str, now: datetime) -> run_failures.Memory:
    known = _remembered(before, key, (now - run_failures.FIRST_LOOK).timestamp())
    return run_failures.without_accepted(run_failures.read_runs(sources.instance, known, now), before.acceptances)


def _read_checks(sources: Sources, before: Before, key: str, now: datetime) -> run_failures.Memory:
    known = _remembered(before, key, 0)
    found = run_failures.read_checks(sources.instance, known, _EVALUATED_ELSEWHERE, now)
    return run_failures.without_accepted(found, before.acceptances)


def _remembered(before: Before, key: str, first: float) -> run_failures.Memory:
    """Without what was accepted since: a failure after that is a new one."""
    if key not in before.memory:
        return run_failures.Memory(first)
    return run_failures.without_accepted(_LOG.validate_python(before.memory[key]), before.acceptances)
