"""Records of a chosen shape. The same seed, start and shape give the same records, at whatever pace they are sent."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import polars as pl

from streamgauge.contract.model import Contract
from streamgauge.errors import UserError
from streamgauge.producer.frame import breaches, frame_schema
from streamgauge.types import Bools, Int64s
from streaming.load.values import Values, breakers

GOOD, DUPLICATE, CHANGED, LATE, BAD = "good", "duplicate", "changed", "late", "bad"
CONTRACT, FUTURE, NULL_KEY = "contract", "future", "null_key"
BYTE_FAULTS = ("truncated", "trailing", "magic", "unknown_schema", "tombstone", "empty", "utf8")
BAD_KINDS = (CONTRACT, FUTURE, *BYTE_FAULTS, NULL_KEY)

_JITTER_MS = 2_000
"""Events reach Kafka a little out of order."""
_REMEMBERED = 20_000
"""How far back a duplicate reaches, in events."""
_CHANGED = 0.125
"""Share of the duplicates whose content is another one's."""
_NO_SCHEMA = 0x7FFF_FF00


@dataclass(frozen=True)
class Shape:
    """Shares are of all records. `skew` 0 draws every value as often as the others."""

    users: int = 10_000
    skew: float = 1.0
    duplicates: float = 0.0
    late: float = 0.0
    bad: float = 0.0

    def __post_init__(self) -> None:
        shares = (self.duplicates, self.late, self.bad)
        if min(shares) < 0 or sum(shares) > 1:
            raise UserError(
                "a share is below 0, or together they are above 1", "correct --duplicates, --late and --bad"
            )
        if self.users < 1 or self.skew < 0:
            raise UserError("there must be a user at least, and a skew of 0 or more", "correct --users and --skew")


@dataclass(frozen=True)
class Batch:
    """Records in sending order. `kinds` says what each was meant to be, `event_ids` and `times` what it was made from.

    A null key is good in all else; it lands in any partition.
    """

    keys: list[bytes | None]
    values: list[bytes | None]
    kinds: list[str]
    event_ids: list[str]
    times: Int64s

    def slice(self, start: int, end: int) -> "Batch":
        part = slice(start, end)
        return Batch(self.keys[part], self.values[part], self.kinds[part], self.event_ids[part], self.times[part])


class Encodes(Protocol):
    def keys(self, events: pl.DataFrame) -> list[bytes]: ...
    def encode(self, events: pl.DataFrame) -> list[bytes]: ...


class Generator:
    """Makes a stream's records, batch after batch. `start_ms` also names the run: its event ids begin with it."""

    def __init__(self, contract: Contract, shape: Shape, seed: int, start_ms: int, encodes: Encodes) -> None:
        self._contract, self._shape, self._encodes = contract, shape, encodes
        self._rng = np.random.default_rng([seed, start_ms])
        self._prefix = f"{seed:x}.{start_ms:x}."
        self._generated = 0
        self._values = Values(contract, shape.users, shape.skew)
        self._breakers = breakers(contract)
        self._schema = frame_schema(contract)
        self._originals = pl.DataFrame(schema=self._schema)
        self._check()

    def batch(self, times: Int64s) -> Batch:
        """A record for each event time; what is meant to be late, future or broken departs from it."""
        n, rng = len(times), self._rng
        kinds = self._kinds(n)
        late, future = kinds == LATE, kinds == FUTURE
        spec = self._contract.time
        shifts = -rng.integers(0, _JITTER_MS, n)
        shifts[late] -= spec.allowedLatenessSeconds * 1000 + 60_000
        shifts[late] -= rng.integers(0, spec.duplicateHorizonSeconds * 500, int(late.sum()))
        shifts[future] += spec.futureToleranceSeconds * 1000 + 3_600_000
        frame = self._repeat(self._events(times + shifts), kinds)
        frame = self._break(frame, np.flatnonzero(kinds == CONTRACT))
        keys: list[bytes | None] = [*self._encodes.keys(frame)]
        values: list[bytes | None] = [*self._encodes.encode(frame)]
        ids = frame[self._contract.event_id].to_list()
        for row in np.flatnonzero(kinds == NULL_KEY).tolist():
            keys[row] = None
        for row in np.flatnonzero(np.isin(kinds, BYTE_FAULTS)).tolist():
            values[row] = self._damage(kinds[row], values[row] or b"", ids[row].encode())
        event_times = frame[self._contract.event_time].to_physical().to_numpy()
        return Batch(keys, values, kinds.tolist(), ids, event_times)

    def _events(self, times: Int64s) -> pl.DataFrame:
        numbers = np.arange(self._generated, self._generated + len(times))
        self._generated += len(times)
        columns = self._values.draw(self._rng, len(times))
        columns.append(pl.Series(self._contract.event_id, [f"{self._prefix}{i:x}" for i in numbers.tolist()]))
        stamps = pl.Series(times)
        columns += [stamps.cast(t).alias(f) for f, t in self._schema.items() if isinstance(t, pl.Datetime)]
        return pl.DataFrame(columns).select(list(self._schema))

    def _kinds(self, n: int) -> Any:
        """An array of kinds. What a bad record is can't depend on what the contract has no rule for."""
        shape, rng = self._shape, self._rng
        chance = rng.random(n)
        kinds = np.full(n, GOOD, dtype=object)
        duplicate = chance < shape.duplicates
        kinds[duplicate] = np.where(rng.random(int(duplicate.sum())) < _CHANGED, CHANGED, DUPLICATE)
        kinds[(chance >= shape.duplicates) & (chance < shape.duplicates + shape.late)] = LATE
        bad = chance >= 1 - shape.bad
        possible = [k for k in BAD_KINDS if k != CONTRACT or self._breakers]
        kinds[bad] = np.array(possible, dtype=object)[rng.integers(0, len(possible), int(bad.sum()))]
        return kinds

    def _repeat(self, frame: pl.DataFrame, kinds: Any) -> pl.DataFrame:
        """Gives duplicates the id and time of an earlier original, and nearly always the rest of it too."""
        original: Bools = np.isin(kinds, (GOOD, LATE))
        before = self._originals.height
        originals = pl.concat((self._originals, frame.filter(original)))
        earlier = before + np.cumsum(original) - original
        lonely = np.isin(kinds, (DUPLICATE, CHANGED)) & (earlier == 0)
        kinds[lonely] = GOOD
        rows = np.flatnonzero(np.isin(kinds, (DUPLICATE, CHANGED)))
        if len(rows):
            back = np.minimum(earlier[rows], _REMEMBERED)
            picked = originals[earlier[rows] - 1 - (self._rng.random(len(rows)) * back).astype(np.int64)]
            whole: Bools = kinds[rows] == DUPLICATE
            frame = _replace(frame, rows, picked, [self._contract.event_id, self._contract.event_time])
            frame = _replace(frame, rows[whole], picked.filter(whole), frame.columns)
        self._originals = originals.tail(_REMEMBERED)
        return frame

    def _break(self, frame: pl.DataFrame, rows: Int64s) -> pl.DataFrame:
        if not len(rows):
            return frame
        chosen = self._rng.integers(0, len(self._breakers), len(rows))
        for i, breaker in enumerate(self._breakers):
            if (chosen == i).any():
                frame = breaker.apply(frame, rows[chosen == i])
        return frame

    def _damage(self, kind: str, value: bytes, event_id: bytes) -> bytes | None:
        rng = self._rng
        match kind:
            case "truncated":
                return value[: int(rng.integers(1, len(value)))]
            case "trailing":
                return value + rng.bytes(int(rng.integers(1, 9)))
            case "magic":
                return bytes([int(rng.integers(1, 256))]) + value[1:]
            case "unknown_schema":
                return b"\x00" + (_NO_SCHEMA + int(rng.integers(0, 256))).to_bytes(4, "big") + value[5:]
            case "tombstone":
                return None
            case "empty":
                return b""
            case _:
                return value.replace(event_id, b"\xff" * len(event_id), 1)

    def _check(self) -> None:
        """A first try: a broken rule names the field for which no value could be made."""
        rng_state = self._rng.bit_generator.state
        if not (faults := sorted(self._values.impossible)):
            tried = self._events(np.full(100, 1_700_000_000_000))
            faults = [b.rule for b in breaches(self._contract, tried)]
        if faults:
            raise UserError(
                f"no value can be made for {self._contract.stream}: {faults[0]}", "use replay with a data set instead"
            )
        self._rng.bit_generator.state = rng_state
        self._generated = 0


def _replace(frame: pl.DataFrame, rows: Int64s, by: pl.DataFrame, columns: list[str]) -> pl.DataFrame:
    sources = np.arange(frame.height)
    sources[rows] = frame.height + np.arange(len(rows))
    return frame.with_columns(pl.concat((frame[c], by[c])).gather(sources).alias(c) for c in columns)
