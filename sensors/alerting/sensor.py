"""The sensor `alerts`: observes everything, notes what is new, reports it, and shows that it lives."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from uuid import uuid4

import dagster as dg
from confluent_kafka.admin import AdminClient

from sensors.alerting import deliver, store
from sensors.alerting.evaluation import Before, Sources, evaluate
from sensors.alerting.incidents import update
from sensors.alerting.watermarks import Log
from streamgauge.contract.model import Contract
from streamgauge.errors import UserError
from streamgauge.settings import Settings, runbooks_url
from streamgauge.state.accounts import log_positions
from streamgauge.stores.kafka import admin_client
from streamgauge.stores.postgres import Connection
from streamgauge.stores.redis import redis_client
from streamgauge.telemetry.catalog.log_fields import SENSOR
from streamgauge.telemetry.logs import bound_to

NAME = "alerts"
INTERVAL_SECONDS = 15


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
        description="Reports what is stale or failed, once a cause, in phases, until it has recovered.",
    )
    @bound_to(**{SENSOR.name: NAME})
    def alerts(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        now, at = datetime.now(UTC), settings()
        with connect() as connection, store.exclusive(connection):
            if not store.is_set_up(connection):
                return dg.SkipReason("nothing was applied yet: run `streamgauge apply`")
            before = Before(
                store.read_memory(connection), store.read_firing(connection), store.read_acceptances(connection)
            )
            clients = (admin, lambda: admin_client(at))
            sources = Sources(
                connection,
                context.instance,
                redis,
                lambda: read_logs(connection, (make() for make in clients), contracts),
                lambda: deliver.watchdog_fires(at),
                at.contracts_dir,
            )
            standing, memory = evaluate(sources, contracts, before, runbooks_url(at.api_url), now)
            incidents, messages = update(standing, before.incidents, now, lambda: uuid4().hex)
            with connection.transaction():
                store.write(connection, incidents, messages, deliver.targets(at), now, at.dagster_url)
                store.write_memory(connection, memory)
                store.forget(connection, now)
            delivered = deliver.deliver(connection, at, now)
            firing = [i for i in incidents if i.resolved_at is None]
            deliver.remind(at, firing, now)
            store.beat(connection, NAME, now)
        return dg.SkipReason(f"{len(firing)} firing, {len(messages)} new messages, {delivered} delivered")

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
