"""Dagster's web server behind the guard: `python -m assets.dagster_web`, in place of `dagster-webserver`."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import psycopg
import typer
import uvicorn
from dagster import DagsterInstance
from dagster_webserver import app as web_app
from dagster_webserver.version import __version__
from psycopg_pool import ConnectionPool, PoolTimeout
from starlette.applications import Starlette

from assets.dagster_internals import WorkspaceFileTarget, WorkspaceProcessContext, WorkspaceRequestContext
from streamgauge.access.load import load_access
from streamgauge.audit.entry import AuditEvent
from streamgauge.audit.log import append
from streamgauge.dagster.guard import READ_ONLY, Guard
from streamgauge.errors import UserError
from streamgauge.settings import Settings
from streamgauge.state.api_keys import StoredKey, look_up
from streamgauge.stores.postgres import SCHEMA
from streamgauge.telemetry.logs import configure_logs

# Here and not among the internals: a run, which imports those, should not load a web server.
create_web_app: Callable[..., Starlette] = web_app.create_app_from_workspace_process_context  # pyright: ignore

_STATEMENT_MILLISECONDS = 15_000
_RECYCLE_SECONDS = 3600
_CONNECTIONS = 20
"""Of Dagster's own: `dagster-webserver` has the same three by default."""
_POLL_MILLISECONDS = 2000
"""How often an open page asks for news."""
_KEY_SECONDS = 3.0
"""For a key to be looked up. Without it, threads would pile up while Postgres is away."""


class Workspace(WorkspaceProcessContext):
    """What Dagster itself may do for a request: what its sender may."""

    def create_request_context(self, source: object | None = None) -> WorkspaceRequestContext:
        scope: dict[str, Any] = getattr(source, "scope", {})
        return WorkspaceRequestContext(
            instance=self.instance,
            current_workspace=self.get_current_workspace(),
            process_context=self,
            version=self.version,
            source=source,
            read_only=scope.get(READ_ONLY) is not False,
        )


class Access:
    """The API's keys, as the table has them at that moment, and the audit log."""

    def __init__(self, settings: Settings) -> None:
        self._pool = ConnectionPool(
            settings.postgres_dsn.get_secret_value(),
            min_size=0,
            max_size=2,
            open=False,
            timeout=_KEY_SECONDS,
            check=ConnectionPool.check_connection,
            kwargs={
                "application_name": "streamgauge dagster web",
                "connect_timeout": 2,
                "options": f"-c search_path={SCHEMA} -c statement_timeout={round(_KEY_SECONDS * 1000)}",
            },
        )

    def __enter__(self) -> "Access":
        self._pool.open()
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.close(timeout=2)

    def look_up(self, key: str) -> StoredKey | None:
        try:
            with self._pool.connection() as connection:
                return look_up(connection, key)
        except (psycopg.Error, PoolTimeout) as e:
            raise UserError("API keys can't be looked up: Postgres doesn't answer, or nothing is applied yet.") from e

    def record(self, event: AuditEvent) -> None:
        try:
            with self._pool.connection() as connection:
                append(connection, event)
        except (psycopg.Error, PoolTimeout) as e:
            raise UserError("Nothing is changed without the audit log, and Postgres doesn't answer.") from e


def guarded(app: Starlette, settings: Settings, access: Access) -> Guard:
    pages = load_access(settings.access_file).api.dagster
    return Guard(
        app,
        own_url=settings.dagster_url,
        anonymous=settings.api_anonymous == "loopback",
        look_up=access.look_up,
        record=access.record,
        reading=pages.see,
        changing=pages.change,
    )


def main(
    port: Annotated[int, typer.Option(min=1, max=65535)],
    workspace: Annotated[Path, typer.Option(exists=True)],
    host: str = "127.0.0.1",
) -> None:
    settings = Settings.for_role("api")
    configure_logs(settings)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    with DagsterInstance.get() as instance, Access(settings) as access:
        instance.optimize_for_webserver(_STATEMENT_MILLISECONDS, _RECYCLE_SECONDS, _CONNECTIONS)
        target = WorkspaceFileTarget(paths=[str(workspace)])
        with Workspace(instance, workspace_load_target=target, version=__version__) as context:
            app = create_web_app(context, live_data_poll_rate=_POLL_MILLISECONDS)
            # proxy_headers: no header says where a request comes from; the guard goes by the connection
            uvicorn.run(
                guarded(app, settings, access),
                host=host,
                port=port,
                log_config=None,
                proxy_headers=False,
                server_header=False,
                timeout_graceful_shutdown=5,
            )


if __name__ == "__main__":
    typer.run(main)
