"""Pseudonyms, and what keeps what they stand for."""

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
    made = OURS.of("ann")
    assert made == Pseudonyms(SECRET, "orders").of("ann") == expected(SECRET, "orders", "ann")
    assert made.startswith(MARK) and len(made) == LENGTH and "ann" not in made
    others = {Pseudonyms("another", "orders").of("ann"), Pseudonyms(SECRET, "users").of("ann"), OURS.of("bob")}
    assert len(others) == 3 and made not in others


def test_columns_are_as_single_values_and_null_stays_null() -> None:
    texts = pl.Series("who", ["ann", None, "", "ann", "~ann", "é"])
    single = [None if v is None else OURS.of(v) for v in texts.to_list()]
    assert OURS.of_each(texts).to_list() == single
    for given in (texts, texts.filter(texts.is_null()), texts.clear()):
        in_frame = given.to_frame().lazy().select(OURS.of_column(pl.col("who")))
        for engine in ("in-memory", "streaming"):
            assert in_frame.collect(engine=engine)["who"].to_list() == OURS.of_each(given).to_list()


def test_what_is_remembered_has_an_end_and_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pseudonyms, "_REMEMBERED", 3)
    few = Pseudonyms(SECRET, "orders")
    assert [few.of(str(i)) for i in range(50)] == [OURS.of(str(i)) for i in range(50)]


def test_only_the_key_opens_what_a_pseudonym_stands_for() -> None:
    sealed, made = OURS.sealed("ann"), OURS.of("ann")
    assert b"ann" not in sealed and sealed != OURS.sealed("ann")
    assert OURS.opened(made, sealed) == "ann"
    assert Pseudonyms("another", "orders").opened(made, sealed) is None
    assert OURS.opened(OURS.of("bob"), sealed) is None


def test_without_a_key_it_is_said_which_setting_is_missing() -> None:
    settings = Settings.model_construct(pseudonym_key=None)
    with pytest.raises(UserError, match="STREAMGAUGE_PSEUDONYM_KEY"):
        pseudonyms_of(settings, load_contract(CONTRACTS / "user_events.yaml"))
