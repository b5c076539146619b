"""The schema registry, behind the real client's HTTP, and Redis."""

import json
from typing import Any

import httpx
from redis.exceptions import ConnectionError as RedisAway

from streamgauge.records.registry import Registry
from tests.simulator.faults import Steps


class SchemaRegistry:
    """`schemas` by id, and `subjects` with the id of each one's only version."""

    def __init__(self, steps: Steps, schemas: dict[int, dict[str, Any]], subjects: dict[str, int]) -> None:
        self._steps = steps
        self._schemas = {i: json.dumps(schema) for i, schema in schemas.items()}
        self._subjects = subjects
        self.away = False

    def _answer(self, request: httpx.Request) -> httpx.Response:
        fault = self._steps.take("registry")
        if self.away or fault is not None:
            raise httpx.ConnectError("connection refused", request=request)
        parts = request.url.path.strip("/").split("/")
        if parts[:2] == ["schemas", "ids"] and int(parts[2]) in self._schemas:
            return httpx.Response(200, json={"schema": self._schemas[int(parts[2])]})
        if parts[0] == "subjects" and parts[1] in self._subjects:
            known = self._subjects[parts[1]]
            return httpx.Response(200, json={"version": 1, "id": known, "schema": self._schemas[known]})
        return httpx.Response(404, json={"message": "not found"})

    def client(self, attempts: int, timeout: float) -> Registry:
        return Registry(
            "http://registry", attempts=attempts, timeout=timeout, transport=httpx.MockTransport(self._answer)
        )


class Redis:
    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self.held: dict[str, dict[str, Any]] = {}
        self.away = False

    def replace_unless_newer(self, keys: list[str], args: list[Any]) -> int:
        fault = self._steps.take("redis")
        if self.away or (fault is not None and fault.mishap != "unanswered"):
            raise RedisAway("connection refused")
        version, answer, _ = args
        held = self.held.get(keys[0])
        taken = held is None or held["version"] <= version
        if taken:
            self.held[keys[0]] = json.loads(answer)
        if fault is not None:
            raise RedisAway("connection reset")
        return int(taken)
