"""An OpenTelemetry collector that keeps what it is told."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.http_server import listening


class Collected:
    def __init__(self) -> None:
        self.requests: list[ExportTraceServiceRequest] = []

    @property
    def spans(self) -> list[Span]:
        return [s for r in self.requests for of in r.resource_spans for scope in of.scope_spans for s in scope.spans]

    @property
    def services(self) -> set[str]:
        found = (a for r in self.requests for of in r.resource_spans for a in of.resource.attributes)
        return {a.value.string_value for a in found if a.key == "service.name"}


@contextmanager
def collector() -> Generator[tuple[str, Collected]]:
    """Takes traces by OTLP over HTTP; its address and what it got."""
    collected = Collected()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            body = self.rfile.read(int(self.headers["Content-Length"]))
            collected.requests.append(ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.end_headers()

    with listening(Handler) as port:
        yield f"http://127.0.0.1:{port}", collected


def attributes(of: Span | Span.Link) -> Mapping[str, str | int]:
    return {a.key: a.value.string_value or a.value.int_value for a in of.attributes}
