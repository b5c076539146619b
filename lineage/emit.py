"""Where OpenLineage events go: to what OPENLINEAGE_… in the environment says, else to a file for each day, one event a
line.
"""

import os
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
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


def events_folder(settings: Settings) -> Path:
    return settings.data_dir / "openlineage"


def delete_events(settings: Settings, before: datetime) -> int:
    """Deletes the files that were last written to before then; how many."""
    old = [f for f in events_folder(settings).glob("events*.ndjson") if f.stat().st_mtime < before.timestamp()]
    for file in old:
        file.unlink()
    return len(old)


def _client(settings: Settings) -> OpenLineageClient:
    if any(name.startswith("OPENLINEAGE_") for name in os.environ):
        return OpenLineageClient()
    folder = events_folder(settings)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    config = FileConfig(log_file_path=str(folder / f"events-{datetime.now(UTC):%Y-%m-%d}.ndjson"), append=True)
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
