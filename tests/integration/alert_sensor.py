"""The sensor `alerts` of one stream, tick by tick."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import dagster as dg

from sensors.alerting import sensor
from streamgauge.settings import Settings
from streamgauge.stores.postgres import connect
from tests.integration.running import Running


class Sensor:
    """The sensor `alerts` of one stream; each tick is one of a new process, so far as it remembers."""

    def __init__(self, running: Running, instance: dg.DagsterInstance, **settings: Any) -> None:
        self.settings = Settings.for_role("batch").model_copy(
            update={"dagster_url": "http://dagster.example", "alertmanager_url": None, **settings}
        )
        self._running = running
        self._instance = instance

    def tick(self) -> str:
        built = sensor.definitions(
            [self._running.contract],
            partial(connect, self.settings, autocommit=True, application="sensor under test"),
            lambda: self.settings,
        )
        (alerts,) = list(built.sensors or ())
        return alerts.evaluate_tick(dg.build_sensor_context(instance=self._instance)).skip_message or ""

    def until(self, condition: Callable[[], bool], what: str, seconds: float = 150) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, (
                f"after {seconds:.0f} s still not: {what}; {causes()}\n{self._running.workers.log()[-4000:]}"
            )
            self.tick()
            time.sleep(0.5)

    def go_on(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.tick()
            time.sleep(0.5)


def causes() -> list[Any]:
    with connect(Settings.for_role("reader")) as connection:
        return connection.execute("select cause, severity, description, resolved_at from alerts").fetchall()
