"""Who is asking, what they may see, and how often."""

import threading
import time
from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection

from serving.config import ApiConfig
from serving.database import Database
from serving.problems import AWAY, FORBIDDEN, NO_KEY, TOO_OFTEN, Problem
from streamgauge.state import api_keys as keys
from streamgauge.state.api_keys import ADMIN, OPERATIONS, PERSONAL, READ_ALL
from streamgauge.web.origin import address, from_this_machine

_TRUSTED_SECONDS = 10.0
"""A revoked key may go on for as long."""
_REMEMBERED = 1000


@dataclass(frozen=True)
class Caller:
    """`name` is the id of the key, if the caller has one."""

    name: str
    scopes: frozenset[str]
    has_key: bool = True

    def may_read(self, stream: str) -> bool:
        return READ_ALL in self.scopes or f"read:{stream}" in self.scopes

    def require(self, scope: str, stream: str | None = None) -> None:
        """For one stream, where the scope is for streams."""
        needed = scope if stream is None else f"{scope}:{stream}"
        if self.scopes.isdisjoint({needed, scope if stream is None else f"{scope}:*"}):
            raise Problem(FORBIDDEN, f"The scope {needed} is needed.")

    @property
    def sees_operations(self) -> bool:
        return OPERATIONS in self.scopes

    @property
    def administers(self) -> bool:
        return ADMIN in self.scopes

    @property
    def sees_personal(self) -> bool:
        return PERSONAL in self.scopes


class Access:
    def __init__(self, config: ApiConfig, database: Database, anonymous: Caller | None) -> None:
        """`anonymous`: as whom a caller on this machine may ask without a key; None for not at all."""
        self._anonymous = anonymous
        self._database = database
        self._known: dict[str, tuple[float, Caller]] = {}
        self._budget = Budget(config.requests_per_second, config.burst)

    async def caller(self, connection: HTTPConnection) -> Caller:
        key = _key(connection)
        if key is None:
            if self._anonymous is None or not from_this_machine(connection):
                raise Problem(
                    NO_KEY, "The request has no API key.", headers={"WWW-Authenticate": 'Bearer realm="streamgauge"'}
                )
            self._budget.spend(f"address {address(connection)}")
            return self._anonymous
        known = self._known.get(key)
        if known is None or time.monotonic() - known[0] > _TRUSTED_SECONDS:
            # by address: whoever tries keys out must not get a fresh budget with each
            self._budget.spend(f"address {address(connection)}")
            caller = await run_in_threadpool(self._look_up, key, known)
        else:
            caller = known[1]
        self._budget.spend(f"key {caller.name}")
        return caller

    def _look_up(self, key: str, known: tuple[float, Caller] | None) -> Caller:
        try:
            with self._database.snapshot() as connection:
                found = keys.look_up(connection, key)
        except Problem as problem:
            if problem.kind is AWAY and known is not None:
                return known[1]
            raise
        if found is None:
            self._known.pop(key, None)
            raise Problem(
                NO_KEY,
                "The API key is unknown, revoked or expired.",
                headers={"WWW-Authenticate": 'Bearer realm="streamgauge", error="invalid_token"'},
            )
        caller = Caller(found.id, frozenset(found.scopes))
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[key] = (time.monotonic(), caller)
        return caller


class Budget:
    """So many requests a second for each caller, and a burst above that."""

    def __init__(self, per_second: float, burst: int) -> None:
        self._per_second = per_second
        self._burst = burst
        self._left: dict[str, tuple[float, float]] = {}
        self._lock = threading.Lock()

    def spend(self, name: str, now: float | None = None) -> None:
        now = time.monotonic() if now is None else now
        with self._lock:
            left, at = self._left.get(name, (float(self._burst), now))
            left = min(float(self._burst), left + (now - at) * self._per_second)
            if left < 1:
                wait = (1 - left) / self._per_second
                raise Problem(
                    TOO_OFTEN,
                    f"More than {self._per_second:g} requests a second.",
                    headers={"Retry-After": str(max(1, round(wait)))},
                )
            if len(self._left) >= _REMEMBERED:
                self._forget(now)
            self._left[name] = (left - 1, now)

    def _forget(self, now: float) -> None:
        """Those whose budget is full again."""
        full = float(self._burst)
        self._left = {
            name: (left, at) for name, (left, at) in self._left.items() if left + (now - at) * self._per_second < full
        }


def _key(connection: HTTPConnection) -> str | None:
    scheme, _, key = connection.headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" and key.strip() else None
