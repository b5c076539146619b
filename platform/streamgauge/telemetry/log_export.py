"""Log lines for VictoriaLogs, beside those on stderr: the same fields, by its JSON lines
(https://docs.victoriametrics.com/victorialogs/data-ingestion/#json-stream-api). Who writes a line never waits for it.
"""

import atexit
import json
import logging
import queue
import threading
import time
from urllib.parse import urlencode

from streamgauge.telemetry import metrics
from streamgauge.telemetry.catalog import attributes as a
from streamgauge.telemetry.catalog import log_fields as f
from streamgauge.telemetry.delivery import Delivery
from streamgauge.telemetry.logs import fields_of

SERVICE = "service.name"
_MOST_QUEUED = 8192
"""Lines that wait for the store. Without a bound they would fill the memory while it is away."""
_AT_ONCE = 500
_PATIENCE_SECONDS = 600.0
"""The local stack's store may be minutes in the making."""
_LAST_SECONDS = 2.0
"""How long a process that ends waits for the store: without a bound, one that is away would hold up its restart."""


def export_logs(service: str, url: str | None, *, whole: str | None = None) -> None:
    """From now on this process's lines go to VictoriaLogs, if there is one; at its end, those left too. Of the logger
    `whole` those of any severity do.
    """
    if url is None:
        return
    for result in ("exported", "failed", "dropped"):
        metrics.LOG_RECORDS.add(0, {a.LOG_RESULT.name: result})
    exporter = LogExporter(service, url)
    logging.getLogger().addHandler(exporter)
    atexit.register(exporter.deliver)
    if whole is not None:
        logging.getLogger(whole).setLevel(logging.DEBUG)


def flush_logs() -> None:
    """For a process that may end without its handlers of `atexit`."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, LogExporter):
            handler.deliver()


class LogExporter(logging.Handler):
    def __init__(self, service: str, url: str) -> None:
        super().__init__()
        self._lines: queue.Queue[str] = queue.Queue(_MOST_QUEUED)
        self._delivery = Delivery(url, _PATIENCE_SECONDS)
        self._thread: threading.Thread | None = None
        names = {
            "_stream_fields": SERVICE,
            "_time_field": f.TIMESTAMP.name,
            "_msg_field": f.BODY.name,
            "extra_fields": f"{SERVICE}={service}",
        }
        self._path = f"/insert/jsonline?{urlencode(names)}"

    def emit(self, record: logging.LogRecord) -> None:
        if threading.current_thread() is self._thread:
            return
        if self._thread is None or not self._thread.is_alive():
            # with the first line, and the first after a fork, which takes no thread along
            self._thread = threading.Thread(target=self._work, name="logs", daemon=True)
            self._thread.start()
        try:
            line = json.dumps(fields_of(record))
        except Exception:
            # as logging's own handlers do: who writes a line that can't be formatted is not to fail by it
            self.handleError(record)
            return
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            metrics.LOG_RECORDS.add(1, {a.LOG_RESULT.name: "dropped"})

    def deliver(self) -> None:
        """At the end of the process: what is left, within a bound. Not `flush`, which `logging` calls of all handlers
        whenever somebody configures it, as Dagster does when a run begins.
        """
        self._delivery.hurry()
        until = time.monotonic() + _LAST_SECONDS
        while self._lines.unfinished_tasks and time.monotonic() < until:
            time.sleep(0.02)

    def _work(self) -> None:
        while True:
            lines = [self._lines.get()]
            while len(lines) < _AT_ONCE and not self._lines.empty():
                lines.append(self._lines.get())
            content = "".join(f"{line}\n" for line in lines).encode()
            taken = self._delivery.send(self._path, content, "application/stream+json")
            metrics.LOG_RECORDS.add(len(lines), {a.LOG_RESULT.name: "exported" if taken else "failed"})
            for _ in lines:
                self._lines.task_done()
