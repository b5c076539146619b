"""The graph whose freshness is evaluated, from the contracts."""

from collections.abc import Iterable
from datetime import timedelta

from sensors.freshness import Subject
from streamgauge.contract.model import Contract
from streamgauge.dagster import keys as asset_keys
from streamgauge.dagster.keys import AssetPath

KAFKA, WORKER = "kafka", "worker"
_PLATFORM = "platform"
"""Who answers for the servers."""
_KAFKA_TARGET = timedelta(seconds=20)


def name(path: AssetPath) -> str:
    return "/".join(path)


def subjects(contracts: Iterable[Contract]) -> list[Subject]:
    """In the order in which they wait for each other."""
    found: list[Subject] = []
    for c in contracts:
        found += [*_hot(c), *_cold(c)]
    if not found:
        return []
    worker = min(s.target for s in found) / 2
    return [
        Subject(
            KAFKA, "", _PLATFORM, _KAFKA_TARGET, alert="StreamgaugeKafkaAway", runbook="kafka-away",
            summary="Kafka does not answer",
        ),
        Subject(
            WORKER, "", _PLATFORM, worker, (KAFKA,), alert="StreamgaugeWorkerStopped", runbook="worker-stopped",
            summary="the worker has stopped committing",
        ),
        *found,
    ]  # fmt: skip


def _hot(contract: Contract) -> list[Subject]:
    target = timedelta(milliseconds=contract.freshness_ms)
    minutes = _asset(contract, asset_keys.minutes(contract), target, (WORKER,))
    return [minutes, _asset(contract, asset_keys.redis_top(contract), target, (minutes.key,))]


def _cold(contract: Contract) -> list[Subject]:
    hourly = timedelta(milliseconds=contract.hourly_freshness_ms)
    daily = timedelta(milliseconds=contract.daily_freshness_ms)
    lake = _asset(contract, asset_keys.lake(contract), hourly, (KAFKA,))
    facts = _asset(contract, asset_keys.facts(contract), hourly, (lake.key,))
    rollups = _asset(contract, asset_keys.rollups_hourly(contract), hourly, (facts.key,))
    minutes = name(asset_keys.minutes(contract))
    return [
        lake,
        facts,
        rollups,
        _asset(contract, asset_keys.reconciliation(contract), hourly, (rollups.key, minutes)),
        _asset(contract, asset_keys.rollups_daily(contract), daily, (rollups.key,)),
    ]


def _asset(contract: Contract, path: AssetPath, target: timedelta, upstream: tuple[str, ...]) -> Subject:
    return Subject(name(path), contract.stream, contract.owner, target, upstream)
