"""Prometheus and Alertmanager of the local stack, as other sites' pages and other users of the machine meet them."""

from datetime import UTC, datetime, timedelta

import httpx
import pytest

from streamgauge.settings import Settings
from streamgauge.stack.control import Stack
from streamgauge.stack.layout import LOOPBACK
from streamgauge.state.firing import Incidents, read_firing
from tests.integration.workers import wait_for

pytestmark = [pytest.mark.timeout(300)]
_FOREIGN = {"Origin": "http://evil.example"}


def _silence() -> dict[str, object]:
    now = datetime.now(UTC)
    return {
        "matchers": [{"name": "alertname", "value": ".+", "isRegex": True}],
        "startsAt": now.isoformat(),
        "endsAt": (now + timedelta(hours=1)).isoformat(),
        "createdBy": "nobody",
        "comment": "nothing",
    }


def test_nobody_without_the_login_sets_silences_or_reads(stack: Stack) -> None:
    try:
        stack.start_program("alertmanager", "prometheus")
        own = {name: Settings.for_role("api").model_dump()[f"{name}_url"] for name in ("alertmanager", "prometheus")}
        bare = {name: f"http://{LOOPBACK}:{stack.layout.port(name)}" for name in own}
        for path in ("/api/v2/silences", "/api/v2/alerts", "/-/ready", "/metrics"):
            assert httpx.get(f"{bare['alertmanager']}{path}").status_code == 401, path
        for path in ("/api/v1/query?query=up", "/api/v1/status/config", "/metrics"):
            assert httpx.get(f"{bare['prometheus']}{path}").status_code == 401, path
        silences = f"{bare['alertmanager']}/api/v2/silences"
        asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
        before_it = httpx.options(silences, headers={**_FOREIGN, **asked})
        assert before_it.status_code == 401 and "access-control-allow-origin" not in before_it.headers
        assert httpx.post(silences, json=_silence(), headers=_FOREIGN).status_code == 401
        assert httpx.get(f"{own['alertmanager']}/api/v2/silences").raise_for_status().json() == []
        # what the attack lacks is the login
        assert httpx.post(f"{own['alertmanager']}/api/v2/silences", json=_silence()).is_success
        found = read_firing(lambda: Incidents((), datetime.now(UTC)), own["alertmanager"], datetime.now(UTC))
        assert found.well
        wait_for(lambda: _up(own["prometheus"]) >= {"prometheus", "alertmanager"}, "Prometheus reads both")
        # an alert that fired before Prometheus knew its Alertmanager is sent again after a minute
        wait_for(lambda: _alerts(own["alertmanager"]) >= {"Watchdog"}, "Alertmanager hears from Prometheus", 150)
    finally:
        for name in ("prometheus", "alertmanager"):
            stack.stop_program(name)


def _up(prometheus: str) -> set[str]:
    found = httpx.get(f"{prometheus}/api/v1/query", params={"query": "up == 1"}).raise_for_status().json()
    return {r["metric"]["job"] for r in found["data"]["result"]}


def _alerts(alertmanager: str) -> set[str]:
    found = httpx.get(f"{alertmanager}/api/v2/alerts").raise_for_status().json()
    return {a["labels"]["alertname"] for a in found}
