"""The series of one kind of a stream, with all that is known of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from sensors.anomalies.series import WHOLE, Columns, Key
from streamgauge.anomaly.detector import Band, Detector
from streamgauge.anomaly.episodes import Ended, Found, follow
from streamgauge.anomaly.state import State, empty
from streamgauge.types import Float64s

Kind = Literal["counts", "means"]
MOST_SERIES = 1000
"""Of a kind and stream. More would cost more than a person could look at: of those that come, the largest are taken."""
IDLE = 14 * 1440
"""Minutes without an event after which a series is forgotten, so that others find room."""


@dataclass
class Model:
    kind: Kind
    detector: Detector
    keys: list[Key]
    state: State
    left_out: int = 0
    reordered: bool = False
    """Its columns are not those that were stored."""

    @staticmethod
    def new(kind: Kind, detector: Detector) -> "Model":
        return Model(kind, detector, [], empty(0))

    def place(self, key: Key) -> int | None:
        return self.keys.index(key) if key in self.keys else None

    def take_in(self, columns: Columns) -> tuple[Float64s, Float64s | None]:
        """Its own columns, in its order, those of new series among them; of a series without events 0, or NaN."""
        known = set(self.keys)
        new = [i for i, key in enumerate(columns.keys) if key not in known]
        size = columns.number if columns.number is not None else columns.observed
        new.sort(key=lambda i: (bool(columns.keys[i].values), -float(size[:, i].sum()), columns.keys[i].values))
        taken = new[: max(0, MOST_SERIES - len(self.keys))]
        self.left_out = len(new) - len(taken)
        if taken:
            self.keys += [columns.keys[i] for i in taken]
            self.state, self.reordered = self.state.grown(len(taken)), True
        found = {key: i for i, key in enumerate(columns.keys)}
        places = [(mine, found[key]) for mine, key in enumerate(self.keys) if key in found]
        mine, theirs = [m for m, _ in places], [t for _, t in places]
        shape = (len(columns.observed), len(self.keys))
        observed = np.full(shape, 0.0 if self.kind == "counts" else np.nan)
        observed[:, mine] = columns.observed[:, theirs]
        if columns.number is None:
            return observed, None
        number = np.zeros(shape)
        number[:, mine] = columns.number[:, theirs]
        return observed, number

    def judge(
        self, minute: int, observed: Float64s, number: Float64s | None
    ) -> tuple[list[tuple[Key, Found | Ended]], Band | None]:
        """What the minute changes; and the band of the stream's count, once it is known."""
        verdict = self.detector.judge(self.state, minute, observed, number)
        whole = self.place(WHOLE)
        band = None
        if whole is not None and verdict.judged[whole]:
            band = self.detector.band(self.state, minute, 0, verdict.limit, np.array([whole]))
        return list(self._named(follow(self.detector, self.state, minute, verdict))), band

    def forget_idle(self) -> None:
        """Nothing is under way there: a silence ends after a day, as what is normal."""
        kept = (self.state.silence < IDLE) | np.array([not key.values for key in self.keys], np.bool_)
        if not kept.all():
            self.state, self.reordered = self.state.kept(kept), True
            self.keys = [key for key, keep in zip(self.keys, kept.tolist(), strict=True) if keep]

    def _named(self, changes: Iterator[Found | Ended]) -> Iterator[tuple[Key, Found | Ended]]:
        return ((self.keys[change.series], change) for change in changes)
