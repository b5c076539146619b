"""`streamgauge slo` on a real Prometheus that has figures of days: they are put into its storage before it starts."""

import json
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from streamgauge.cli.slo import slo
from streamgauge.dagster.hours import HOUR, hour_start
from streamgauge.errors import UserError
from streamgauge.settings import PREFIX
from streamgauge.text import share
from tests.integration.free_port import free_port
from tests.integration.monitors import prometheus

pytestmark = pytest.mark.usefixtures("stack")

_STEP = timedelta(seconds=30)
_LEFT, _BROKEN = 0.8, -0.5


def figures(path: Path, now: datetime, bad: dict[datetime, float], left: float) -> None:
    """OpenMetrics: bad events a second in these hours of stream `s`, and the budgets as they are now."""
    lines: list[str] = []
    for hour, rate in bad.items():
        for n in range(int(HOUR / _STEP)):
            at = hour + n * _STEP
            if at <= now:
                lines.append(f'streamgauge:slo_bad:rate5m{{slo="freshness",stream="s"}} {rate} {at.timestamp():.0f}')
    of_now = {
        'streamgauge:slo_objective:ratio{slo="freshness"}': 0.99,
        'streamgauge:slo_objective:ratio{slo="api-latency"}': 0.95,
        'streamgauge:slo_error_budget_remaining:ratio30d{slo="freshness",stream="s"}': left,
        'streamgauge:slo_error_budget_remaining:ratio30d{slo="api-latency"}': 1,
        'streamgauge:slo_burn_rate:ratio1h{slo="freshness",stream="s"}': 1.5,
    }
    for series, value in of_now.items():
        # an instant query looks back for five minutes, and the test may take some
        lines += [f"{series} {value} {(now + n * _STEP).timestamp():.0f}" for n in range(-4, 20)]
    lines.sort(key=lambda line: (line.split(" ")[0], int(line.split(" ")[2])))
    (path / "figures").write_text("\n".join([*lines, "# EOF"]) + "\n")
    command = ["promtool", "tsdb", "create-blocks-from", "openmetrics", path / "figures", path / "prometheus"]
    subprocess.run(command, check=True, capture_output=True)


def run(*arguments: str) -> Result:
    app = typer.Typer()
    app.command()(slo)
    return CliRunner().invoke(app, list(arguments))


@pytest.mark.parametrize(("left", "code"), [(_LEFT, 0), (_BROKEN, 1)])
def test_what_is_left_and_what_used_it(left: float, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = datetime.now(UTC)
    first, second, third = (hour_start(now) - n * 24 * HOUR for n in (1, 3, 10))
    old = hour_start(now) - timedelta(days=31)
    figures(tmp_path, now, {first: 2.0, second: 6.0, third: 1.0, old: 50.0, first - HOUR: 1.0}, left)
    with prometheus(tmp_path, "global: {}\n") as url:
        monkeypatch.setenv(f"{PREFIX}PROMETHEUS_URL", url)
        as_json, shown = run("--json"), run()
    assert (as_json.exit_code, shown.exit_code) == (code, code)
    api, freshness = json.loads(as_json.stdout)
    assert (api["name"], api["stream"], api["objective"], api["remaining"]) == ("api-latency", None, 0.95, 1)
    assert (api["burn_rate"], api["burnt"]) == (None, [])
    assert (freshness["stream"], freshness["remaining"], freshness["burn_rate"]) == ("s", left, 1.5)
    worst = {b["hour"]: (round(b["bad"]), round(b["share"], 2)) for b in freshness["burnt"]}
    assert list(worst)[:2] == [second.isoformat(), first.isoformat()]
    assert worst[second.isoformat()] == (6 * 3600, 0.6)
    assert worst[first.isoformat()] == (2 * 3600, 0.2)
    assert len(worst) == 3
    assert f"{second:%Y-%m-%d %H}h ({share(freshness['burnt'][0]['share'])})" in shown.stdout
    assert ("80.0 %" if left > 0 else "0 %") in shown.stdout


def test_without_prometheus_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{PREFIX}PROMETHEUS_URL", f"http://127.0.0.1:{free_port()}")
    error = run().exception
    assert isinstance(error, UserError)
    assert error.what == "Prometheus does not answer"
    monkeypatch.setenv(f"{PREFIX}PROMETHEUS_URL", "")
    error = run().exception
    assert isinstance(error, UserError)
    assert "no Prometheus" in error.what
