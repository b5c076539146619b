"""Evidence and numbers as text: the same when they are read again, and a clear error for anything else."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from streamgauge.contract.load import load_contract
from streamgauge.errors import UserError
from streamgauge.proof.evidence import Evidence, LakeFile, SignedEvidence, signature_of
from streamgauge.proof.number import Asked, ProvenNumber
from streamgauge.settings import CHECKOUT

HOUR = datetime(2026, 11, 5, 7, tzinfo=UTC)
CONTRACT = load_contract(CHECKOUT / "platform" / "contracts" / "user_events.yaml")
KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))


def evidence(**changed: Any) -> Evidence:
    known: dict[str, Any] = {
        "stream": "user_events",
        "hour": HOUR,
        "revision": 1,
        "at": HOUR,
        "contract_version": "1.0.0",
        "contract": "ab",
        "code": "1.0.0-cd",
        "watermark": None,
        "offsets": {"0": 12},
        "reconciliation": {"facts": 12, "unexplained": 0},
        "files": (LakeFile("facts", "event_hour=2026-11-05-07/a.parquet", 10, "00"),),
        "public_key": "ef",
    }
    return Evidence(**{**known, **changed})


def document() -> dict[str, Any]:
    body = evidence().as_text()
    signed = SignedEvidence(body, signature_of(KEY, body), 7)
    asked = Asked("user_events", "1h", HOUR, "count", {"event_type": "PushEvent"})
    return json.loads(json.dumps(ProvenNumber(asked, 12, CONTRACT, [signed]).as_json()))


@given(st.sampled_from([None, HOUR]), st.dictionaries(st.integers(0, 9).map(str), st.integers(0, 2**62)))
def test_evidence_is_read_as_it_was_written(watermark: datetime | None, offsets: dict[str, int]) -> None:
    written = evidence(watermark=watermark, offsets=offsets)
    assert Evidence.from_text(written.as_text()) == written


def test_the_signature_covers_every_byte() -> None:
    body = evidence().as_text()
    signature = signature_of(KEY, body)
    assert SignedEvidence(body, signature, 1).is_signed_by(KEY.public_key())
    for i in range(len(body)):
        changed = body[:i] + ("x" if body[i] != "x" else "y") + body[i + 1 :]
        assert not SignedEvidence(changed, signature, 1).is_signed_by(KEY.public_key())


def test_the_same_numbers_are_the_same_evidence_whenever_they_are_compared() -> None:
    later = evidence(at=HOUR.replace(hour=9), watermark=HOUR, offsets={"0": 99})
    assert evidence().says_as(later)
    assert not evidence().says_as(evidence(revision=2))
    assert not evidence().says_as(evidence(files=()))


def test_a_number_is_read_as_it_was_written() -> None:
    found = ProvenNumber.from_json(json.dumps(document()))
    assert found.as_json() == document()
    assert found.contract == CONTRACT


@pytest.mark.parametrize("key", ["format", "number", "evidence", "contract"])
@pytest.mark.parametrize("value", [None, [], 1.5, "x", {}, [None], {"start": "x"}])
def test_what_is_no_number_is_named_as_such(key: str, value: Any) -> None:
    with pytest.raises(UserError, match="that is no"):
        ProvenNumber.from_json(json.dumps({**document(), key: value}))


def test_what_is_no_json_is_no_number() -> None:
    with pytest.raises(UserError, match="that is no number"):
        ProvenNumber.from_json("{")
