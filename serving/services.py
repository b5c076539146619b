"""The API's services, which all routes share: made once, opened when the server starts, closed when it stops."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from serving.access import Access, Caller
from serving.config import ApiConfig
from serving.dagster_activity import DagsterActivity
from serving.database import Database
from serving.ingest.ingest import Ingest
from serving.live import Channel, Hub
from serving.numbers import Reader
from serving.personal import PersonalValues
from serving.readers import Readers
from serving.tops import Tops
from serving.watch import Watch
from streamgauge.access.api import Rule, known_scopes, rules
from streamgauge.access.load import ANONYMOUS, load_access
from streamgauge.contract.in_use import ContractsInUse
from streamgauge.contract.model import Contract
from streamgauge.settings import Settings
from streamgauge.stores.postgres import connect
from streamgauge.stores.redis import redis_client


@dataclass(frozen=True)
class Services:
    settings: Settings
    config: ApiConfig
    contracts: ContractsInUse
    database: Database
    redis: Redis
    access: Access
    rules: Mapping[str, Rule]
    """What each route asks for."""
    scopes: Callable[[], tuple[str, ...]]
    """All that a key may have."""
    watch: Watch
    tops: Tops
    personal: PersonalValues
    readers: Readers
    hub: Hub
    ingest: Ingest
    dagster: DagsterActivity | None
    """None where nobody said where Dagster is."""

    def open(self) -> None:
        self.database.open()
        self.watch.start()
        self.readers.start()
        self.hub.start()
        self.ingest.open()
        if self.dagster is not None:
            self.dagster.start()

    def close(self) -> None:
        self.hub.close()
        self.ingest.close()
        self.watch.stop()
        self.readers.stop()
        if self.dagster is not None:
            self.dagster.stop()
        self.database.close()
        self.redis.close()


def make_services(settings: Settings, config: ApiConfig) -> Services:
    contracts = ContractsInUse(
        settings.contracts_dir, lambda: connect(settings, autocommit=True, application="streamgauge api contracts")
    )
    contracts.refresh()
    rights = load_access(settings.access_file).api
    anonymous = Caller(ANONYMOUS, frozenset(rights.callers[ANONYMOUS].scopes), has_key=False)
    database = Database(settings, config)
    redis = redis_client(settings)
    # Postgres has the same answers: nobody waits for a Redis to come back.
    redis.set_retry(Retry(NoBackoff(), 1))
    watch = Watch(settings, contracts, database, redis)
    tops = Tops(redis, database)

    def channel(contract: Contract) -> Channel:
        return Channel(contract, Reader(contract, database, watch, tops).read)

    return Services(
        settings=settings,
        config=config,
        contracts=contracts,
        database=database,
        redis=redis,
        access=Access(config, database, anonymous if settings.api_anonymous == "loopback" else None),
        rules=rules(rights),
        scopes=lambda: known_scopes(rights, tuple(contracts)),
        watch=watch,
        tops=tops,
        personal=PersonalValues(settings, database),
        readers=Readers(database),
        hub=Hub(contracts, channel, config.live_clients, _now),
        ingest=Ingest(settings),
        dagster=DagsterActivity(settings.dagster_url, settings.dagster_key) if settings.dagster_url else None,
    )


def _now() -> datetime:
    return datetime.now(UTC)
