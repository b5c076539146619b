"""No value that the contract calls personal or sensitive is in anything that a check writes down."""

from dataclasses import replace
from typing import Any

import polars as pl
import pytest
from dagster._utils.error import serializable_error_info_from_exc_info

from quality.checks.contract import check_contract
from quality.checks.quarantine import check_quarantine
from quality.masking import Masker, no_values_in_errors
from streamgauge.contract.model import Contract
from streamgauge.errors import UserError
from tests.unit.test_quality_checks import CONTRACTS, USERS, facts

SECRET = "mary.sue@example.org"


def classified(name: str, classification: str) -> Contract:
    fields = tuple(replace(f, classification=classification) if f.name == name else f for f in USERS.fields)
    return replace(USERS, fields=fields)


@pytest.mark.parametrize("classification", ["personal", "sensitive", "confidential", "no such class"])
def test_only_what_is_known_to_be_harmless_is_shown(classification: str) -> None:
    contract = classified("event_type", classification)
    bad = facts(1, event_type=["MarySue"], schema_version=[0])
    outcome = check_contract(contract, bad, Masker(contract))
    assert "MarySue" not in repr(outcome)
    assert outcome.samples[0].fields["event_type"].startswith("masked ")
    shown = check_contract(USERS, bad, Masker(USERS))
    assert shown.samples[0].fields["event_type"] == "MarySue"


def test_what_a_public_field_may_not_hold_is_masked() -> None:
    """A producer that mixes up its fields puts anything anywhere."""
    outcome = check_contract(USERS, facts(2, event_type=[SECRET, "A" * 65]), Masker(USERS))
    assert outcome.failing == 2
    assert SECRET not in repr(outcome)
    assert all(s.fields["event_type"].startswith("masked ") for s in outcome.samples)
    levels = CONTRACTS["system_events"]
    assert Masker(levels).shown(levels.field["level"], SECRET).startswith("masked ")
    assert Masker(levels).shown(levels.field["level"], "ERROR") == "ERROR"


def test_a_mask_tells_rows_apart_within_a_run_and_nobody_across_runs() -> None:
    bad = facts(3, user_id=[SECRET, "bob", SECRET], rule=["future"] * 3)
    ann, bob, again = (s.fields["user_id"] for s in check_quarantine(USERS, 0, bad, Masker(USERS)).samples)
    assert ann == again != bob
    assert ann.endswith("20 characters")
    other = check_quarantine(USERS, 0, bad, Masker(USERS)).samples[0].fields["user_id"]
    assert other != ann


def test_of_a_map_the_keys_are_shown() -> None:
    entries = [{"key": "email", "value": SECRET}, {"key": "size", "value": "3"}]
    bad = facts(1, properties=[entries], rule=["future"])
    sample = check_quarantine(USERS, 0, bad, Masker(USERS)).samples[0]
    assert sample.fields["properties"] == "map of email, size"
    assert SECRET not in repr(sample)
    hidden = classified("properties", "personal")
    assert check_quarantine(hidden, 0, bad, Masker(hidden)).samples[0].fields["properties"] == "map of 2"


@pytest.mark.parametrize("text", ["x" * 500, "a\nb\tc\u202e", "\0"])
def test_what_is_shown_is_short_and_printable(text: str) -> None:
    free = replace(USERS.field["event_type"], pattern=None, max_length=None)
    shown = Masker(USERS).shown(free, text)
    assert shown.isprintable()
    assert len(shown) < 80


def fails_with_the_value() -> Any:
    return pl.DataFrame({"a": [SECRET]}).select(pl.col("a").cast(pl.Int64))


def test_an_error_of_polars_does_not_reach_dagster() -> None:
    with pytest.raises(pl.exceptions.PolarsError) as raw:
        fails_with_the_value()
    assert SECRET in serializable_error_info_from_exc_info((raw.type, raw.value, raw.tb)).to_string()
    with pytest.raises(UserError) as caught, no_values_in_errors("checking"):
        fails_with_the_value()
    kept = serializable_error_info_from_exc_info((caught.type, caught.value, caught.tb))
    assert SECRET not in kept.to_string()
    assert "checking failed with InvalidOperationError" in kept.to_string()
