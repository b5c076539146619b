"""The bench's arithmetic."""

from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from bench import anomalies, formats, nab
from bench.__main__ import part
from bench.figures import Run, Sample, delays, memory, run
from bench.ingest import Ingested
from bench.ingest import rows as ingest_rows
from bench.lake import LakeLoad
from bench.lake import rows as lake_rows
from bench.others import Rate
from bench.report import Row, in_words
from bench.serving import Beside, Serving, Times
from bench.serving import rows as serving_rows
from bench.tracing import Traced
from bench.tracing import rows as tracing_rows
from streamgauge.errors import UserError
from streamgauge.types import Float64s
from streaming.load.fill import repeat_some

MIB = 1 << 20


def test_a_rate_is_from_the_first_commit_seen_to_the_last() -> None:
    samples = [
        Sample(at, done, 100 * MIB, cpu) for at, done, cpu in ((0, 0, 1), (5, 100, 2), (6, 600, 3), (7, 1100, 4))
    ]
    found = run(samples)
    assert found.per_second == 500
    assert found.cpu_us == pytest.approx(4 / 1100 * 1e6)
    assert found.steady_us == pytest.approx(2 / 1000 * 1e6)


def test_one_commit_gives_no_rate() -> None:
    with pytest.raises(ValueError, match="at once"):
        run([Sample(0, 0, 1, 0), Sample(1, 10, 1, 0)])


def test_memory_is_looked_at_by_the_way_and_not_by_the_clock() -> None:
    samples = [Sample(i, done, rss * MIB, 0) for i, (done, rss) in enumerate([(0, 9), (25, 100), (26, 120), (29, 110)])]
    samples += [Sample(99, 95, 200 * MIB, 0), Sample(100, 100, 220 * MIB, 0)]
    assert memory(samples, 0.2, 0.3) == 110 * MIB
    assert memory(samples, 0.9, 1.0) == 210 * MIB
    assert memory(samples, 0.5, 0.6) == 110 * MIB


def test_an_event_is_readable_at_the_first_look_past_its_offset() -> None:
    sent = pl.DataFrame({"partition": [0, 0, 0, 1, 2], "offset": [7, 8, 9, 0, 0], "due": [100.0] * 5})
    commits = [(101.0, {0: 8}), (102.0, {0: 9, 1: 0}), (103.0, {0: 9, 1: 5})]
    found = delays(sent, commits).fill_nan(None).to_list()
    assert Counter(found) == Counter([1.0, 2.0, None, 3.0, None])


def test_duplicates_are_whole_records_from_before() -> None:
    keys, values = [b"k%d" % i for i in range(35)], [b"v%d" % i for i in range(35)]
    assert repeat_some(keys, values, 10) == 3
    assert [i for i, k in enumerate(keys) if k != b"k%d" % i] == [10, 20, 30]
    assert len(set(keys)) == len(set(zip(keys, values, strict=True))) == 32


def test_what_falls_short_is_reported() -> None:
    rows = [Row("  speed", "3/s", 0.3, ">= 4/s", False), Row("memory", "1 MiB", None, "< 2 MiB", True), Row("x", "1")]
    assert in_words(rows) == "Falls short: speed is 3/s, expected >= 4/s."
    assert in_words(rows[1:]) == "All that is expected is met."


def test_the_lake_is_held_against_raw_consume_and_against_what_was_sent() -> None:
    loaded = LakeLoad(Rate(1000, 2.0, 0.004), 20_000, 100 * MIB)
    met = {r.figure.strip(): r.met for r in lake_rows(loaded, 1000, 1000)}
    assert met == {
        "Kafka to the lake": False,
        "CPU an event": None,
        "resident memory, peak": True,
        "rows in the lake": True,
    }
    assert [r.met for r in lake_rows(loaded, 800, 1001)] == [True, None, True, False]


def test_the_api_is_held_against_its_bars() -> None:
    def times(*seconds: float) -> Times:
        return Times.of(list(seconds))

    fast, slow = times(*[0.004] * 99, 0.02), times(*[0.004] * 90, *[0.02] * 10)
    assert (fast.p95, slow.p95) == (0.004, 0.02)
    assert fast.per_second == pytest.approx(100 / 0.416)
    bare = times(*[0.002] * 99, 0.02)

    def met(top: Times, day: Times, page: Times | None) -> list[bool | None]:
        built = serving_rows(Serving(20_000, Beside(top, bare, 0.001), Beside(day, bare, 0.1), page))
        return [row.met for row in built if row.expected]

    assert met(fast, fast, times(0.5, 0.9)) == [True, True, True]
    assert met(slow, slow, times(0.5, 1.1)) == [False, False, False]
    assert met(fast, fast, None)[-1] is None


def test_events_over_http_are_held_against_their_bars() -> None:
    def met(seconds: float, counted: int, per_second: float) -> list[bool | None]:
        found = Ingested(Times.of([seconds] * 100), 10_000, 10_000, counted, per_second, 1e-5, {})
        return [row.met for row in ingest_rows(found) if row.expected]

    assert met(0.1, 10_000, 9_900) == [True, True, True]
    assert met(0.2, 9_999, 9_700) == [False, False, False]


def test_a_part_that_fails_leaves_the_figures_of_the_others() -> None:
    def fail(folder: Path) -> list[Row]:
        raise UserError("no space left", "make some")

    assert part("a part", fail) == [Row("a part", "not measured")]
    assert part("a part", lambda folder: [Row(str(folder.is_dir()), "1")]) == [Row("True", "1")]


def test_traces_are_held_against_the_worker_without_them() -> None:
    def runs(*rates: float) -> list[Run]:
        return [Run(rate, 1e6 / rate, 1, 1, 1, 1e6 / rate) for rate in rates]

    def met(*rates: float) -> list[bool | None]:
        return [row.met for row in tracing_rows(Traced(runs(*rates), runs(90, 100, 105))) if row.expected]

    assert met(98, 98, 50) == [True]
    assert met(96, 96, 200) == [False]


def test_both_formats_are_read_whole() -> None:
    found = formats.measure(500)
    assert [r.figure.split(",")[0].strip() for r in formats.rows(found)] == [
        "decoding Avro",
        "the same events as JSON",
        "JSON / Avro",
    ]
    assert min(*found.avro, *found.json) > 0


def test_the_slower_kind_of_series_decides() -> None:
    verdicts = [anomalies.rows(anomalies.Speed(*speed))[0].verdict for speed in ((1e6, 2e5), (1e6, 1e5), (1e5, 1e6))]
    assert verdicts == ["met", "short", "short"]


def series(values: int = 1000, windows: tuple[tuple[int, int], ...] = ((300, 399),)) -> nab.Labelled:
    return nab.Labelled("a/b.csv", np.arange(values) * 5, np.zeros(values), windows)


@pytest.mark.parametrize("profile", nab.PROFILES, ids=lambda p: p.name)
def test_nabs_score_is_100_for_all_at_once_and_0_for_nothing(profile: nab.Profile) -> None:
    assert nab.normalised(nab.score(series(), [300], profile), 1, profile) == pytest.approx(100)
    assert nab.normalised(nab.score(series(), [], profile), 1, profile) == 0
    late = nab.normalised(nab.score(series(), [390], profile), 1, profile)
    assert nab.normalised(nab.score(series(), [350], profile), 1, profile) > late > 0


def test_nabs_score_of_a_detection_outside_falls_with_its_distance() -> None:
    standard, low_fp = nab.PROFILES[:2]
    costs = [-nab.score(series(windows=((300, 399),)), [300, i], standard) + 1 for i in (405, 450, 900)]
    assert 0 < costs[0] < costs[1] < costs[2] == pytest.approx(0.11)
    assert nab.score(series(), [200, 300], low_fp) == pytest.approx(1 - 0.22)
    assert nab.score(series(), [10, 300], standard) == pytest.approx(1), "a detector may learn before it is scored"


def test_nabs_threshold_that_was_chosen_on_others_is_no_better(tmp_path: Path) -> None:
    corpus = [series(), series(windows=((700, 750),))]

    def detector(s: nab.Labelled) -> Float64s:
        scores = np.zeros(len(s.values))
        scores[[s.windows[0][0], 500]] = (1.0, 2.0) if s.windows[0][0] == 300 else (4.0, 3.0)
        return scores

    found = nab.measure(corpus, detector)
    for on_all, on_others in zip(found.chosen_on_all, found.chosen_on_others, strict=True):
        assert on_others <= on_all
    with pytest.raises(UserError, match="not laid out"):
        nab.read(tmp_path)


def test_nabs_files_are_read_with_their_windows(tmp_path: Path) -> None:
    (tmp_path / "data" / "real").mkdir(parents=True)
    (tmp_path / "labels").mkdir()
    lines = [f"2014-04-01 00:{m:02}:00,{m}" for m in range(0, 60, 5)]
    (tmp_path / "data" / "real" / "x.csv").write_text("timestamp,value\n" + "\n".join(lines) + "\n")
    windows = '{"real/x.csv": [["2014-04-01 00:10:00.000000", "2014-04-01 00:20:00.000000"]]}'
    (tmp_path / "labels" / "combined_windows.json").write_text(windows)
    (found,) = nab.read(tmp_path)
    assert (found.windows, found.values.tolist()[:3]) == (((2, 4),), [0, 5, 10])
    assert nab.ours(found).shape == nab.plain(found).shape == (12,)
