"""The servers of the simulation that runs, and the worker's code among them."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

import confluent_kafka
import psycopg

import streamgauge.records.fetcher
import streamgauge.records.registry
import streamgauge.stores.redis
from streamgauge.records.registry import Registry
from tests.simulator.code import Change, Code
from tests.simulator.kafka import Admin, Cluster, Fetcher, Member, Producer
from tests.simulator.postgres import Connection, Server
from tests.simulator.servers import Redis, SchemaRegistry
from tests.simulator.substitutes import module, overlay, python_modules


@dataclass(frozen=True)
class Site:
    postgres: Server
    kafka: Cluster
    registry: SchemaRegistry
    redis: Redis


_site: Site | None = None


def enter(made: Site | None) -> None:
    global _site
    _site = made


def _here() -> Site:
    assert _site is not None, "no simulation runs"
    return _site


@cache
def code(changes: tuple[Change, ...]) -> Code:
    """Loaded once for all runs, which takes longer than a run."""
    return Code({**python_modules(), **_clients()}, changes)


def _clients() -> dict[str, ModuleType]:
    return {
        "psycopg": overlay(psycopg, connect=_connect),
        "confluent_kafka": overlay(confluent_kafka, Consumer=_consumer, Producer=_producer),
        "confluent_kafka.admin": module("confluent_kafka.admin", AdminClient=_admin),
        "streamgauge.records.fetcher": overlay(streamgauge.records.fetcher, Fetcher=_fetcher),
        "streamgauge.records.registry": overlay(streamgauge.records.registry, registry=_registry),
        "streamgauge.stores.redis": overlay(
            streamgauge.stores.redis, redis_client=_redis, replace_unless_newer=_replace_unless_newer
        ),
    }


def _connect(dsn: str, *, options: str, **others: Any) -> Connection:
    del dsn, others
    return _here().postgres.connect(options)


def _consumer(config: Mapping[str, Any]) -> Member:
    return Member(_here().kafka, config)


def _producer(config: Mapping[str, Any]) -> Producer:
    del config
    return Producer(_here().kafka)


def _admin(config: Mapping[str, Any]) -> Admin:
    del config
    return Admin(_here().kafka)


def _fetcher(config: Mapping[str, Any], topic: str) -> Fetcher:
    del config, topic
    return Fetcher(_here().kafka)


def _registry(settings: object, *, attempts: int, timeout: float) -> Registry:
    del settings
    return _here().registry.client(attempts, timeout)


def _redis(settings: object) -> Redis:
    del settings
    return _here().redis


def _replace_unless_newer(redis: Redis) -> Any:
    return redis.replace_unless_newer
