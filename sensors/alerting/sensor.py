"""The sensor `alerts`: looks at everything, notes what is new, tells whom it concerns, and shows that it lives."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from uuid import uuid4

import dagster as dg
from confluent_kafka.admin import AdminClient
from pydantic import TypeAdapter

from sensors import arrivals, freshness, run_failures
from sensors.alerting import deliver, store, watermarks
from sensors.alerting.incidents import update
from sensors.alerting.problems import all_problems
from sensors.alerting.subjects import subjects
from sensors.alerting.unexplained import unexplained_hours
from sensors.alerting.watermarks import Log
from sensors.freshness import Observation, Subject
from streamgauge.contract.model import Contract
from streamgauge.errors import UserError
from streamgauge.settings import Settings, runbooks_url
from streamgauge.state.accounts import log_positions
from streamgauge.stores.kafka import admin_client
from streamgauge.stores.postgres import Connection
from streamgauge.stores.redis import redis_client

NAME = "alerts"
INTERVAL_SECONDS = 15
_JUDGED_HERE = frozenset({"lag", "layers_agree"})
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


def definitions(
    contracts: Sequence[Contract], connect: Callable[[], Connection], settings: Callable[[], Settings]
) -> dg.Definitions:
    """`connect` gives connections that commit each statement by itself."""
    admin = cache(lambda: admin_client(settings()))
    redis = cache(lambda: redis_client(settings()))

    @dg.sensor(  # pyright: ignore[reportUnknownMemberType]
        name=NAME,
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Tells what is stale or failed, once a cause, in phases, until it has recovered.",
    )
    def alerts(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        now, at = datetime.now(UTC), settings()
        with connect() as connection:
            with connection.transaction():
                store.lock(connection)
                memory = store.read_memory(connection)
                firing = store.read_firing(connection)
                logs = read_logs(connection, (make() for make in (admin, lambda: admin_client(at))), contracts)
                seen = watermarks.observe(connection, redis(), logs, contracts, now)
                runs = run_failures.read_runs(context.instance, _remembered(memory, _RUNS, now), now)
                checks = run_failures.read_checks(
                    context.instance, _remembered(memory, _CHECKS, now), _JUDGED_HERE, now
                )
                arrived = arrivals.read_arrived(connection, contracts, now)
                judgement = freshness.judge(
                    [*_monitors(at, memory, seen, now), *subjects(contracts)], seen, _of_subjects(memory), now
                )
                unexplained = unexplained_hours(connection, contracts)
                problems = all_problems(
                    judgement, runs, checks, unexplained, arrived, firing, contracts, runbooks_url(), now
                )
                incidents, messages = update(problems, firing, now, lambda: uuid4().hex)
                store.write(connection, incidents, messages, deliver.targets(at), now, at.dagster_url)
                kept: dict[str, Any] = {k: _SUBJECT.dump_python(m, mode="json") for k, m in judgement.memory.items()}
                kept |= {_RUNS: _LOG.dump_python(runs, mode="json"), _CHECKS: _LOG.dump_python(checks, mode="json")}
                store.write_memory(connection, kept)
                store.forget(connection, now)
            taken = deliver.deliver(connection, at, now)
            standing = [i for i in incidents if i.resolved_at is None]
            deliver.remind(at, standing, now)
            store.beat(connection, NAME, now)
        return dg.SkipReason(f"{len(standing)} firing, {len(messages)} new messages, {taken} taken")

    return dg.Definitions(sensors=[alerts])


def read_logs(
    connection: Connection, clients: Iterable[AdminClient], contracts: Sequence[Contract]
) -> Mapping[str, Log] | None:
    """By stream, without those that Kafka gives no answer for; None where it gives none at all.

    What the first client can't tell is asked of the next: a client may be at odds with a broker that answers others.
    """
    found: dict[str, Log] = {}
    for client in clients:
        for contract in contracts:
            if contract.stream not in found:
                with suppress(UserError):
                    found[contract.stream] = log_positions(connection, client, contract)
        if len(found) == len(contracts):
            break
    return found if found or not contracts else None


def _monitors(
    settings: Settings, memory: Mapping[str, Any], seen: dict[str, Observation], now: datetime
) -> list[Subject]:
    """Prometheus watches the sensors, and they watch Prometheus, once they have heard of it at all."""
    fires = deliver.watchdog_fires(settings)
    if fires:
        seen[PROMETHEUS.key] = Observation(now)
    return [PROMETHEUS] if fires or PROMETHEUS.key in memory else []


def _remembered(memory: Mapping[str, Any], subject: str, now: datetime) -> run_failures.Memory:
    if subject in memory:
        return _LOG.validate_python(memory[subject])
    return run_failures.Memory((now - run_failures.FIRST_LOOK).timestamp() if subject == _RUNS else 0)


def _of_subjects(memory: Mapping[str, Any]) -> dict[str, freshness.Memory]:
    return {k: _SUBJECT.validate_python(m) for k, m in memory.items() if k not in (_RUNS, _CHECKS)}
