"""A web server of a test's own, on this machine."""

from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


def _nothing(*_: object) -> None: ...


@contextmanager
def listening(handler: type[BaseHTTPRequestHandler]) -> Generator[int]:
    """Its port on 127.0.0.1, until the block ends. It says nothing of the requests that it gets."""
    quiet = type(handler.__name__, (handler,), {"log_message": _nothing})
    with ThreadingHTTPServer(("127.0.0.1", 0), quiet) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()
