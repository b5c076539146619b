"""The most frequent keys of a stream: from Redis where it has them, else merged from Postgres."""

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias

from redis import Redis
from redis.exceptions import RedisError

from streamgauge.contract.model import Contract
from streamgauge.rollup import windows as rollups
from streamgauge.rollup.sketches import Ranked
from streamgauge.stores.postgres import Connection
from streamgauge.stores.progress import read_watermark

Source: TypeAlias = Literal["redis", "postgres"]


@dataclass(frozen=True)
class TopAnswer:
    """A top-N, and what its reader must know: which window, how exact, how far, and where it is from."""

    stream: str
    top: str
    window: str
    start: datetime
    end: datetime
    watermark: datetime | None
    items: tuple[Ranked, ...]
    error: int
    source: Source
    status: str = rollups.PROVISIONAL
    unchecked: bool = False

    @property
    def exact(self) -> bool:
        return self.error == 0

    def as_json(self) -> dict[str, Any]:
        times = {"start": self.start, "end": self.end, "watermark": self.watermark}
        written = {k: None if t is None else t.isoformat() for k, t in times.items()}
        return {**asdict(self), **written, "exact": self.exact}


def from_redis(redis: Redis, contract: Contract, window: str, limit: int) -> list[TopAnswer] | None:
    """None where Redis is away, or lacks one of the stream's tops."""
    keys = [contract.redis_top_key(top.name, window) for top in contract.rollup.top]
    try:
        held: Any = redis.mget(keys)
    except RedisError:
        return None
    if None in held:
        return None
    return [
        _read(contract.stream, top.name, json.loads(text), limit)
        for top, text in zip(contract.rollup.top, held, strict=True)
    ]


def _read(stream: str, top: str, held: dict[str, Any], limit: int) -> TopAnswer:
    return TopAnswer(
        stream=stream,
        top=top,
        window=held["window"],
        start=datetime.fromisoformat(held["from"]),
        end=datetime.fromisoformat(held["to"]),
        watermark=None if held["watermark"] is None else datetime.fromisoformat(held["watermark"]),
        items=tuple(Ranked(i["key"], i["count"], i["lower"], i["upper"]) for i in held["items"][:limit]),
        error=held["error"],
        source="redis",
        status=held["status"],
    )


def from_postgres(connection: Connection, contract: Contract, window: str, limit: int) -> list[TopAnswer]:
    """The window that ends with the newest minute, as the worker publishes it; none before the first."""
    newest = rollups.latest_minute(connection, contract)
    if newest is None:
        return []
    end = newest.astimezone(UTC) + rollups.MINUTE
    start = end - rollups.Window.parse(window).size
    watermark = read_watermark(connection, contract.topic)
    answers: list[TopAnswer] = []
    for top in contract.rollup.top:
        merged = rollups.read_top(connection, contract, top.name, start, end, limit)
        answers.append(
            TopAnswer(
                stream=contract.stream,
                top=top.name,
                window=window,
                start=start,
                end=end,
                watermark=watermark,
                items=tuple(merged.items),
                error=merged.error,
                source="postgres",
            )
        )
    return answers


def read_tops(
    redis: Redis,
    connect: Callable[[], Connection],
    contracts: Iterable[Contract],
    window: str,
    limit: int,
) -> list[TopAnswer]:
    """Opens Postgres only where Redis can't answer."""
    found: list[TopAnswer] = []
    for contract in contracts:
        held = from_redis(redis, contract, window, limit)
        if held is None:
            with connect() as connection:
                held = from_postgres(connection, contract, window, limit)
        found += held
    return found
