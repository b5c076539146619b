"""The HTTP server of a process that serves nothing else: its metrics, and what an orchestrator asks of it."""

import logging
import socket
import threading
from collections.abc import Callable, Iterable, Mapping
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import make_wsgi_app  # pyright: ignore[reportUnknownVariableType]

from streamgauge.telemetry.metrics import export_metrics

log = logging.getLogger(__name__)

LIVE, READY = "/health/live", "/health/ready"

Probe = Callable[[], list[str]]
"""What is wrong, a line each; nothing where all is well."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: type[WSGIRequestHandler]) -> None:
        self.address_family = socket.getaddrinfo(*address)[0][0]
        super().__init__(address, handler)


class _Handler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Scrapes and probes come every few seconds."""


def serve_metrics(service: str, port: int, host: str = "127.0.0.1", probes: Mapping[str, Probe] | None = None) -> None:
    """Exports this process's metrics for Prometheus at http://host:port/metrics, and answers `probes` at their paths
    with 200, or 503 and what is wrong. A port that is taken is logged: the process works without.
    """
    export_metrics(service)
    metrics: Callable[..., Iterable[bytes]] = make_wsgi_app()  # pyright: ignore[reportUnknownVariableType]

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        probe = (probes or {}).get(environ["PATH_INFO"])
        if probe is None:
            return metrics(environ, start_response)
        wrong = probe()
        status = "503 Service Unavailable" if wrong else "200 OK"
        start_response(status, [("Content-Type", "text/plain; charset=utf-8"), ("Cache-Control", "no-store")])
        return ["\n".join([*(wrong or ["up"]), ""]).encode()]

    try:
        server = make_server(host, port, application, _Server, _Handler)
    except OSError as e:
        log.warning("no metrics at port %d (%s): give this process a port by STREAMGAUGE_METRICS_PORT", port, e)
        return
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
