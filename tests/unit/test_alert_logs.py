"""What the alerts' sensor makes of topics that Kafka gives no answer for."""

from dataclasses import replace
from typing import Any

import pytest

from sensors.alerting import sensor
from streamgauge.contract.load import load_contract
from streamgauge.contract.model import Contract
from streamgauge.errors import UserError
from streamgauge.settings import CONTRACTS

GOOD = load_contract(CONTRACTS / "user_events.yaml")
BAD = replace(GOOD, stream="other")
CONNECTION: Any = None


def read(monkeypatch: pytest.MonkeyPatch, answers: dict[str, set[str]], contracts: list[Contract]) -> Any:
    """`answers` has the streams that each client can tell of."""

    def positions(connection: Any, client: Any, contract: Contract) -> Any:
        if contract.stream not in answers[client]:
            raise UserError("no answer")
        return {0: (0, 7)}

    monkeypatch.setattr(sensor, "log_positions", positions)
    clients: Any = answers
    return sensor.read_logs(CONNECTION, clients, contracts)


def test_one_topic_s_error_is_not_kafka_s(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read(monkeypatch, {"kept": {GOOD.stream}, "fresh": set()}, [GOOD, BAD]) == {GOOD.stream: {0: (0, 7)}}


def test_what_a_kept_client_cannot_tell_is_asked_of_a_fresh_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read(monkeypatch, {"kept": set(), "fresh": {GOOD.stream, BAD.stream}}, [GOOD, BAD]).keys() == {
        GOOD.stream,
        BAD.stream,
    }


def test_kafka_is_away_where_no_client_hears_of_any_topic(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read(monkeypatch, {"kept": set(), "fresh": set()}, [GOOD, BAD]) is None
    assert read(monkeypatch, {"kept": set()}, []) == {}
