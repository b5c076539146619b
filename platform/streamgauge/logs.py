"""Log lines on stderr: text for people, JSON for collectors. No line holds an event's payload."""

import json
import logging
import os
import sys
from datetime import UTC, datetime
from typing import TextIO

from streamgauge.settings import Settings


class _Json(logging.Formatter):
    """One object a line, named as in the OpenTelemetry log data model."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "severity_text": record.levelname,
            "logger": record.name,
            "thread": record.threadName,
            "body": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


def configure_logs(settings: Settings, stream: TextIO = sys.stderr) -> None:
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        _Json()
        if settings.log_format == "json"
        else logging.Formatter("%(asctime)s %(levelname)-7s %(threadName)s: %(message)s")
    )
    logging.basicConfig(level=settings.log_level, handlers=[handler], force=True)
    logging.getLogger("httpx").setLevel(logging.WARNING)


def own_stderr() -> TextIO:
    """A stream of our own on what is stderr now, with nothing left on file descriptor 2.

    polars prints its own line there for each broken block it meets, and such a line can quote a number out of
    the record.
    """
    ours = os.fdopen(os.dup(2), "w", buffering=1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    return ours
