"""The Numenta Anomaly Benchmark's score, of our model and of a plain rolling z-score.

A folder has `data/<category>/<series>.csv` (columns timestamp and value) and `labels/combined_windows.json`, as NAB's
repository has them (https://github.com/numenta/NAB). NAB chooses each detector's threshold on the series that it then
scores. So there is a second score: of each series with the threshold that is best on the others.
"""

import csv
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from bench.report import Row
from streamgauge.anomaly.detector import Detector
from streamgauge.anomaly.episodes import Found, follow
from streamgauge.anomaly.state import empty
from streamgauge.anomaly.tuning import Tuning
from streamgauge.errors import UserError
from streamgauge.types import Float64s, Int64s

_PROBATION, _MOST_PROBATION = 0.15, 750
"""Of a series, what is not scored, so that a detector may learn it; and at most so many values."""
_THRESHOLDS = 400
"""So many are tried, the more the higher: what is best is among the highest scores."""
_WINDOW = 288
"""Values of the plain z-score: a day of NAB's usual five minutes."""


@dataclass(frozen=True)
class Profile:
    """What a window missed costs, and a detection outside of any; a window found is worth 1."""

    name: str
    missed: float
    outside: float


PROFILES = (Profile("standard", 1.0, 0.11), Profile("low FP", 1.0, 0.22), Profile("low FN", 2.0, 0.11))


@dataclass(frozen=True)
class Labelled:
    """`windows` are pairs of the first and the last place of a labelled anomaly."""

    name: str
    minutes: Int64s
    values: Float64s
    windows: tuple[tuple[int, int], ...]

    @property
    def probation(self) -> int:
        return min(math.floor(_PROBATION * len(self.values)), math.floor(_PROBATION * 5000), _MOST_PROBATION)


def read(folder: Path) -> list[Labelled]:
    """Raises UserError where it is not laid out as NAB's repository is."""
    labels = folder / "labels" / "combined_windows.json"
    files = sorted((folder / "data").glob("*/*.csv"))
    if not files or not labels.is_file():
        raise UserError(
            f"{folder} is not laid out as the Numenta Anomaly Benchmark",
            "it needs data/<category>/<series>.csv and labels/combined_windows.json",
        )
    windows: Mapping[str, Sequence[tuple[str, str]]] = json.loads(labels.read_text())
    return [_labelled(f, f"{f.parent.name}/{f.name}", windows.get(f"{f.parent.name}/{f.name}", ())) for f in files]


def _labelled(file: Path, name: str, windows: Sequence[tuple[str, str]]) -> Labelled:
    with file.open(newline="") as lines:
        rows = [(_time(r["timestamp"]), float(r["value"])) for r in csv.DictReader(lines)]
    times = np.array([t for t, _ in rows])
    places = tuple(
        (int(np.searchsorted(times, _time(a))), int(np.searchsorted(times, _time(b), "right")) - 1) for a, b in windows
    )
    return Labelled(name, (times // 60).astype(np.int64), np.array([v for _, v in rows]), places)


def _time(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def ours(series: Labelled) -> Float64s:
    """The model as it runs in the platform, at the series' own pace: how far out anomalies are where they begin."""
    step = max(1, round(float(np.median(np.diff(series.minutes)))))
    detector, s = Detector(Tuning(), counts=False, step=step), empty(1)
    first = int(series.minutes[0]) // step
    at = (series.minutes // step) - first
    grid = np.full(int(at[-1]) + 1, np.nan)
    grid[at] = series.values
    scores = np.zeros(len(grid))
    for i, value in enumerate(grid):
        minute = (first + i) * step
        for change in follow(detector, s, minute, detector.judge(s, minute, np.array([value]))):
            if isinstance(change, Found) and change.began == minute:
                scores[i] = change.score
    return scores[at]


def plain(series: Labelled) -> Float64s:
    """The deviation from the mean of the values before, in their standard deviations."""
    scores = np.zeros(len(series.values))
    for i in range(2, len(scores)):
        before = series.values[max(0, i - _WINDOW) : i]
        scores[i] = abs(series.values[i] - before.mean()) / max(float(before.std()), 1e-9)
    return scores


def score(series: Labelled, detected: Iterable[int], profile: Profile) -> float:
    """Of detections at these places. A window counts by its earliest detection, the earlier the better; a detection
    outside costs less shortly behind a window than anywhere else.
    """
    found = [i for i in detected if i >= series.probation]
    total = 0.0
    for first, last in series.windows:
        inside = [i for i in found if first <= i <= last]
        width = last - first + 1
        total += _sigmoid(-(last - inside[0] + 1) / width) / _sigmoid(-1) if inside else -profile.missed
    for i in found:
        if any(first <= i <= last for first, last in series.windows):
            continue
        behind = [(last, last - first) for first, last in series.windows if last < i]
        past = (i - behind[-1][0]) / max(behind[-1][1], 1) if behind else math.inf
        total += profile.outside * (_sigmoid(past) if past <= 3 else -1)
    return total


def _sigmoid(x: float) -> float:
    return 2 / (1 + math.exp(5 * x)) - 1


def normalised(total: float, windows: int, profile: Profile) -> float:
    """100 for all windows found at once and nothing else, 0 for a detector that says nothing."""
    nothing = -profile.missed * windows
    return 100 * (total - nothing) / (windows - nothing)


@dataclass(frozen=True)
class Scores:
    """By profile: with the threshold that is best on all series, and with that which is best on the others."""

    chosen_on_all: tuple[float, ...]
    chosen_on_others: tuple[float, ...]


def measure(corpus: Sequence[Labelled], detector: Callable[[Labelled], Float64s]) -> Scores:
    found = [detector(series) for series in corpus]
    above = np.concatenate([f[s.probation :] for f, s in zip(found, corpus, strict=True)])
    positive = above[above > 0]
    ranks = 1 - np.geomspace(1e-5, 1, _THRESHOLDS)
    thresholds = np.unique(np.quantile(positive, ranks)) if positive.size else np.ones(1)
    windows = sum(len(s.windows) for s in corpus)
    on_all: list[float] = []
    on_others: list[float] = []
    for profile in PROFILES:
        table = np.array(
            [
                [score(s, np.flatnonzero(f >= t).tolist(), profile) for t in thresholds]
                for s, f in zip(corpus, found, strict=True)
            ]
        )
        totals = table.sum(axis=0)
        best_on_others = [int((totals - row).argmax()) for row in table]
        on_all.append(normalised(float(totals.max()), windows, profile))
        transferred = sum(float(row[best]) for row, best in zip(table, best_on_others, strict=True))
        on_others.append(normalised(transferred, windows, profile))
    return Scores(tuple(on_all), tuple(on_others))


def rows(folder: Path) -> list[Row]:
    corpus = read(folder)
    names = ", ".join(p.name for p in PROFILES)
    shown: list[Row] = []
    for what, detector in (("this model", ours), ("a rolling z-score", plain)):
        found = measure(corpus, detector)
        figures = ((f"NAB, {len(corpus)} series, {what}: {names}", found.chosen_on_all),)
        figures += (("  with the threshold chosen on the other series", found.chosen_on_others),)
        shown += [Row(figure, " / ".join(f"{s:.1f}" for s in scores)) for figure, scores in figures]
    return shown
