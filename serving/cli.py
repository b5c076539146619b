"""`streamgauge api`."""

from typing import Annotated

import typer
from pydantic import ValidationError

from serving.app import create_app
from serving.config import ApiConfig
from serving.server import quiet, server
from serving.services import make_services
from streamgauge.errors import UserError
from streamgauge.rollup.pseudonyms import pseudonym_secret
from streamgauge.settings import Settings
from streamgauge.state.metrics import export_state
from streamgauge.telemetry.log_export import export_logs
from streamgauge.telemetry.logs import configure_logs
from streamgauge.telemetry.metrics import export_metrics
from streamgauge.telemetry.span_export import export_traces


def api(
    host: Annotated[str | None, typer.Option(help="Where to listen; by default on this machine alone.")] = None,
    port: Annotated[int | None, typer.Option(help="By default STREAMGAUGE_API_PORT, else 8080.")] = None,
) -> None:
    """Serve the numbers and the live page over HTTP; Ctrl-C ends it."""
    try:
        given = {k: v for k, v in {"host": host, "port": port}.items() if v is not None}
        config = ApiConfig(**given)  # pyright: ignore[reportArgumentType]
    except ValidationError as e:
        wrong = "; ".join(f"STREAMGAUGE_API_{str(x['loc'][0]).upper()}: {x['msg']}" for x in e.errors())
        raise UserError(f"settings of the API are wrong: {wrong}", "see docs/api.md") from e
    settings = Settings.for_role("api")
    # requests that need it would fail one by one
    pseudonym_secret(settings)
    configure_logs(settings)
    quiet()
    export_metrics("streamgauge-api")
    export_logs("streamgauge-api", settings.logs_url)
    export_traces("streamgauge-api", settings.zipkin_url)
    services = make_services(settings, config)
    export_state(settings, services.contracts)
    running = server(create_app(services), services, config)
    running.run()
    if not running.started:
        raise UserError(f"the API can't listen at {config.host}:{config.port}", "is another one running there?")
