"""From what was observed to figures: pure functions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any

import numpy as np
import polars as pl

from streamgauge.types import Int64s

Commits = Sequence[tuple[float, Mapping[int, int]]]
"""Times in epoch seconds, ascending, each with the offset up to which each partition was readable then."""


@dataclass(frozen=True)
class Sample:
    """The worker at one moment: records committed so far, resident bytes and CPU seconds of the process."""

    at: float
    done: int
    rss: int
    cpu: float


@dataclass(frozen=True)
class Run:
    per_second: float
    cpu_us: float
    rss_peak: int
    rss_quarter: int
    rss_end: int
    steady_us: float
    """CPU an event from the first commit seen to the last, without the process's start."""

    @property
    def growth(self) -> float:
        return self.rss_end / self.rss_quarter - 1


def run(samples: Sequence[Sample]) -> Run:
    """The rate from the first commit seen to the last; CPU and peak memory of the whole process with its start."""
    first = next(b for a, b in pairwise(samples) if b.done > a.done)
    last = samples[-1]
    if last.done == first.done:
        raise ValueError("all records were committed at once: too few for a rate")
    return Run(
        per_second=(last.done - first.done) / (last.at - first.at),
        cpu_us=last.cpu / last.done * 1e6,
        rss_peak=max(s.rss for s in samples),
        rss_quarter=memory(samples, 0.2, 0.3),
        rss_end=memory(samples, 0.9, 1.0),
        steady_us=(last.cpu - first.cpu) / (last.done - first.done) * 1e6,
    )


def memory(samples: Sequence[Sample], since: float, until: float) -> int:
    """The median between two shares of the way: a single look may fall on a batch or beside it."""
    end = samples[-1].done
    between = [s.rss for s in samples if since * end <= s.done <= until * end]
    # a fast run over few records may have no look in between
    return int(median(between or [min(samples, key=lambda s: abs(s.done - since * end)).rss]))


def readable_at(offsets: Int64s, times: Sequence[float], ends: Sequence[int]) -> Any:
    """An array: for each offset of one partition the first time at which `ends` had passed it; NaN if none had."""
    index = np.searchsorted(np.asarray(ends), offsets, side="right")
    return np.append(np.asarray(times, np.float64), np.nan)[index]


def delays(sent: pl.DataFrame, commits: Commits) -> pl.Series:
    """Seconds from each record's `due` (epoch seconds) to the first look that found it; `sent` has its place too."""
    times = [at for at, _ in commits]
    found: list[pl.Series] = []
    for (partition,), rows in sent.group_by("partition"):
        ends = [seen.get(int(str(partition)), 0) for _, seen in commits]
        found.append(pl.Series(readable_at(rows["offset"].to_numpy(), times, ends)) - rows["due"])
    return pl.concat(found) if found else pl.Series(dtype=pl.Float64)
