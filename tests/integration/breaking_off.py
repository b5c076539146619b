"""A way to a Kafka broker on which logins break off, as they do while the broker ends or starts."""

import socket
import threading
from collections.abc import Generator
from contextlib import closing, contextmanager, suppress
from socketserver import BaseRequestHandler, ThreadingTCPServer

_BYTES = 65536


def _pass_on(source: socket.socket, to: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(_BYTES):
            to.sendall(data)
        to.shutdown(socket.SHUT_WR)


@contextmanager
def logins_break_off(broker: str, times: int) -> Generator[tuple[str, list[int]]]:
    """An address that leads to `broker`, and a list of the connections that were cut: the first `times` of them, once
    the client has been told the broker's versions and begins its login.
    """
    host, port = broker.rsplit(":", 1)
    lock, cut = threading.Lock(), list[int]()

    class Way(BaseRequestHandler):
        def handle(self) -> None:
            client: socket.socket = self.request
            with closing(socket.create_connection((host, int(port)))) as server:
                with lock:
                    cutting = len(cut) < times
                    if cutting:
                        cut.append(len(cut))
                if cutting:
                    server.sendall(client.recv(_BYTES))
                    client.sendall(server.recv(_BYTES))
                    client.recv(_BYTES)
                    return
                back = threading.Thread(target=_pass_on, args=(server, client), daemon=True)
                back.start()
                _pass_on(client, server)
                back.join(5)

    class Server(ThreadingTCPServer):
        daemon_threads = True

    with Server(("127.0.0.1", 0), Way) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}", cut
        finally:
            server.shutdown()
