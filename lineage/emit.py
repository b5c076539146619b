"""Where OpenLineage events go: to what OPENLINEAGE_… in the environment says, else to a file of one event a line."""

import os
from collections.abc import Iterable
from urllib.parse import urlsplit

from openlineage.client import OpenLineageClient
from openlineage.client.event_v2 import RunEvent
from openlineage.client.transport.file import FileConfig, FileTransport
from psycopg.conninfo import conninfo_to_dict

from lineage.openlineage import Stores
from streamgauge.settings import Settings
from streamgauge.stores.postgres import SCHEMA


def emit(settings: Settings, events: Iterable[RunEvent]) -> int:
    """Sends the events, in order; how many."""
    client = _client(settings)
    sent = 0
    for event in events:
        client.emit(event)
        sent += 1
    return sent


def _client(settings: Settings) -> OpenLineageClient:
    if any(name.startswith("OPENLINEAGE_") for name in os.environ):
        return OpenLineageClient()
    folder = settings.data_dir / "openlineage"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    config = FileConfig(log_file_path=str(folder / "events.ndjson"), append=True)
    return OpenLineageClient(transport=FileTransport(config))


def stores(settings: Settings) -> Stores:
    """Never with a login in it."""
    database = conninfo_to_dict(settings.postgres_dsn.get_secret_value())
    redis = urlsplit(settings.redis_url.get_secret_value())
    lake = urlsplit(settings.lake)
    return Stores(
        kafka=f"kafka://{settings.kafka_bootstrap_servers.split(',')[0]}",
        postgres=f"postgres://{database['host']}:{database.get('port', 5432)}",
        redis=f"redis://{redis.hostname}:{redis.port}",
        lake=f"{lake.scheme}://{lake.netloc}" if lake.netloc else "file",
        database=f"{database['dbname']}.{SCHEMA}",
        lake_root=(lake.path.lstrip("/") if lake.netloc else settings.lake).rstrip("/"),
    )
