"""Dagster's runs, backfills and ticks as metrics, read by a thread of its own: no scrape waits for its web server."""

import logging
import threading
import time
from collections.abc import Iterator

from opentelemetry.metrics import Observation
from pydantic import SecretStr

from streamgauge.dagster.activity import Activity, read_activity
from streamgauge.dagster.client import Dagster
from streamgauge.errors import UserError
from streamgauge.telemetry.catalog import metrics as catalog
from streamgauge.telemetry.metrics import observe
from streamgauge.telemetry.threads import supervised

log = logging.getLogger(__name__)

_SECONDS = 15.0
"""Between two looks, as between two scrapes: more would only cost Dagster more."""
_STALE_SECONDS = 60.0
"""After which nothing is reported: figures that stand still would look like a Dagster at rest."""
_PATIENCE_SECONDS = 10.0


class DagsterActivity:
    def __init__(self, url: str, key: SecretStr | None) -> None:
        self._dagster = Dagster(url, key, seconds=_PATIENCE_SECONDS)
        self._read: tuple[float, Activity] | None = None
        self._away = False
        self._stop = threading.Event()
        self._thread = supervised("dagster", self._run, self._stop)

    def start(self) -> None:
        observe(
            catalog.DAGSTER_RUNS, lambda: (Observation(n, {"state": s}) for a in self._now() for s, n in a.runs.items())
        )
        observe(catalog.DAGSTER_BACKFILLS, lambda: (Observation(a.backfills) for a in self._now()))
        observe(
            catalog.TICK_TIMESTAMP,
            lambda: (Observation(t.began, {"sensor": t.sensor}) for a in self._now() for t in a.ticks),
        )
        observe(
            catalog.TICK_DURATION,
            lambda: (
                Observation(t.seconds, {"sensor": t.sensor})
                for a in self._now()
                for t in a.ticks
                if t.seconds is not None
            ),
        )
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(timeout=2)

    def _now(self) -> Iterator[Activity]:
        """What was read last, unless that is long ago."""
        if self._read is not None and time.monotonic() - self._read[0] < _STALE_SECONDS:
            yield self._read[1]

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._read = time.monotonic(), read_activity(self._dagster)
                self._away = False
            except UserError as e:
                if not self._away:
                    log.info("metrics of Dagster: %s", e.what)
                self._away = True
            self._stop.wait(_SECONDS)
