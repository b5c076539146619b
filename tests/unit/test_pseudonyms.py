"""Pseudonyms, and what keeps what they stand for."""

import random
from concurrent.futures import ThreadPoolExecutor

import polars as pl
import pytest

from streamgauge.contract.load import load_contract
from streamgauge.errors import UserError
from streamgauge.rollup import pseudonyms
from streamgauge.rollup.pseudonyms import LENGTH, MARK, Pseudonyms, pseudonyms_of
from streamgauge.settings import CONTRACTS, Settings
from tests.oracle import SECRET
from tests.oracle import pseudonym as expected

OURS = Pseudonyms(SECRET, "orders")


def test_the_same_value_is_the_same_and_no_other_key_gives_it() -> None:
    built = OURS.of("ann")
    assert built == Pseudonyms(SECRET, "orders").of("ann") == expected(SECRET, "orders", "ann")
    assert built.startswith(MARK) and len(built) == LENGTH and "ann" not in built
    others = {Pseudonyms("another", "orders").of("ann"), Pseudonyms(SECRET, "users").of("ann"), OURS.of("bob")}
    assert len(others) == 3 and built not in others


def test_columns_are_as_single_values_and_null_stays_null() -> None:
    texts = pl.Series("who", ["ann", None, "", "ann", "~ann", "é"])
    single = [None if v is None else OURS.of(v) for v in texts.to_list()]
    assert OURS.of_each(texts).to_list() == single
    for given in (texts, texts.filter(texts.is_null()), texts.clear()):
        in_frame = given.to_frame().lazy().select(OURS.of_column(pl.col("who")))
        for engine in ("in-memory", "streaming"):
            assert in_frame.collect(engine=engine)["who"].to_list() == OURS.of_each(given).to_list()


def test_what_is_remembered_changes_nothing_nor_has_it_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pseudonyms, "_REMEMBERED", 40)
    monkeypatch.setattr(pseudonyms, "_FEWEST_MISSED", 3)
    few = Pseudonyms(SECRET, "orders")
    draws = random.Random(5)
    for _ in range(200):
        asked = [draws.choice((None, *map(str, range(60)))) for _ in range(draws.randrange(12))]
        expected = [None if v is None else OURS.of(v) for v in asked]
        assert few.of_each(pl.Series("who", asked, pl.String)).to_list() == expected
        assert few.remembered <= 40 + 20 + 12


def test_threads_that_meet_the_same_values_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pseudonyms, "_FEWEST_MISSED", 3)
    shared = Pseudonyms(SECRET, "orders")
    batches = [pl.Series([str(i % 97) for i in range(n, n + 40)]) for n in range(0, 2_000, 7)]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(shared.of_each, batches))
    assert [f.to_list() for f in found] == [[OURS.of(v) for v in batch.to_list()] for batch in batches]


def test_only_the_key_opens_what_a_pseudonym_stands_for() -> None:
    sealed, built = OURS.sealed("ann"), OURS.of("ann")
    assert b"ann" not in sealed and sealed != OURS.sealed("ann")
    assert OURS.opened(built, sealed) == "ann"
    assert Pseudonyms("another", "orders").opened(built, sealed) is None
    assert OURS.opened(OURS.of("bob"), sealed) is None


def test_without_a_key_it_is_reported_which_setting_is_missing() -> None:
    settings = Settings.model_construct(pseudonym_key=None)
    with pytest.raises(UserError, match="STREAMGAUGE_PSEUDONYM_KEY"):
        pseudonyms_of(settings, load_contract(CONTRACTS / "user_events.yaml"))
