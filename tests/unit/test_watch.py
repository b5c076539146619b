"""When a part of the platform counts as down."""

from typing import Any

import pytest

from serving.watch import Watch
from streamgauge.contract.in_use import ContractsInUse
from streamgauge.settings import CONTRACTS, Settings

SETTINGS = Settings.model_construct(
    kafka_bootstrap_servers="127.0.0.1:1",
    kafka_security_protocol="PLAINTEXT",
    registry_url="http://127.0.0.1:1",
)


@pytest.fixture
def watch() -> Watch:
    nothing: Any = None
    return Watch(SETTINGS, ContractsInUse(CONTRACTS, nothing), nothing, nothing)


def test_one_lost_answer_is_no_outage(watch: Watch) -> None:
    watch.note("dagster", True, "answers")
    (before,) = watch.parts
    for up in (False, True, False, True):
        watch.note("dagster", up, "")
        (now,) = watch.parts
        assert (now.up, now.since) == (True, before.since)


def test_two_in_a_row_are_and_so_is_the_first_look(watch: Watch) -> None:
    watch.note("dagster", True, "answers")
    watch.note("dagster", False, "refused")
    watch.note("dagster", False, "refused")
    (now,) = watch.parts
    assert (now.up, now.detail) == (False, "refused")
    down_since = now.since
    watch.note("dagster", False, "refused")
    assert watch.parts[0].since == down_since
    watch.note("dagster", True, "answers")
    assert watch.parts[0].up
    watch.note("redis", False, "refused")
    assert not watch.is_up("redis")
