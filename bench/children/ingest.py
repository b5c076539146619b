"""Sends events over HTTP at a steady rate, as several senders would, each with a key and a kept connection.

Prints as JSON the seconds from the moment at which each request was due to its answer, so that a server that falls
behind is not spared the requests that wait; and how many events were accepted.
"""

import http.client
import json
import sys
import threading
import time
from typing import Any
from urllib.parse import urlsplit

import orjson

_TIMEOUT_SECONDS = 30
_TYPES = ("PushEvent", "ForkEvent", "WatchEvent", "IssuesEvent")


class _Sender:
    """Every `step`th request from the `first` on."""

    def __init__(self, job: dict[str, Any], first: int, step: int, began: float) -> None:
        url: str = job["url"]
        address = urlsplit(url)
        self._connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=_TIMEOUT_SECONDS)
        self._path = f"/v1/streams/{job['stream']}/events"
        self._headers = {"Authorization": f"Bearer {job['keys'][first]}", "Content-Type": "application/json"}
        self._batch, self._began, self._name = job["batch"], began, job["name"]
        self._interval = job["batch"] / job["rate"]
        self._numbers = range(first, round(job["rate"] * job["seconds"] / job["batch"]), step)
        self.seconds: list[float] = []
        self.accepted = 0
        self.refused: dict[int, int] = {}

    def run(self) -> None:
        for number in self._numbers:
            due = self._began + number * self._interval
            body = _events(f"{self._name}-{number}", self._batch)
            time.sleep(max(0.0, due - time.monotonic()))
            self._connection.request("POST", self._path, body, self._headers)
            answer = self._connection.getresponse()
            content = answer.read()
            self.seconds.append(time.monotonic() - due)
            if answer.status == http.HTTPStatus.ACCEPTED:
                self.accepted += orjson.loads(content)["accepted"]
            else:
                self.refused[answer.status] = self.refused.get(answer.status, 0) + 1


def _events(name: str, batch: int) -> bytes:
    now_ms = time.time_ns() // 1_000_000
    return orjson.dumps(
        [
            {
                "event_id": f"{name}-{i}",
                "user_id": f"user_id-{i}",
                "event_type": _TYPES[i % len(_TYPES)],
                "timestamp": now_ms,
                "properties": {"size": str(i % 7)},
                "metadata": {"source": "bench"},
            }
            for i in range(batch)
        ]
    )


def main() -> None:
    job = json.load(sys.stdin)
    began = time.monotonic()
    senders = [_Sender(job, n, len(job["keys"]), began) for n in range(len(job["keys"]))]
    threads = [threading.Thread(target=s.run) for s in senders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    refused: dict[int, int] = {}
    for s in senders:
        for status, n in s.refused.items():
            refused[status] = refused.get(status, 0) + n
    found = {
        "seconds": [t for s in senders for t in s.seconds],
        "accepted": sum(s.accepted for s in senders),
        "took": time.monotonic() - began,
        "refused": refused,
    }
    print(json.dumps(found))  # noqa: T201


if __name__ == "__main__":
    main()
