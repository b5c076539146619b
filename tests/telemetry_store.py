"""A store of traces or logs that answers as it is told to."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler

from tests.http_server import listening


@dataclass(frozen=True)
class Sent:
    path: str
    login: str | None
    body: bytes


@contextmanager
def store(*statuses: int) -> Generator[tuple[str, list[Sent]]]:
    """Answers with these in turn, then with the last one again; its address without http:// and what it was sent."""
    left, sent = list(statuses), list[Sent]()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            sent.append(Sent(self.path, self.headers["Authorization"], body))
            self.send_response(left.pop(0) if len(left) > 1 else left[0])
            self.send_header("Content-Length", "0")
            self.end_headers()

    with listening(Handler) as port:
        yield f"127.0.0.1:{port}", sent
