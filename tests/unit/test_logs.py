"""A log line is one line, whatever is written in it."""

import io
import json
import logging

from streamgauge.settings import LogSettings, Settings
from streamgauge.telemetry.logs import RunLines, bound, bound_to, configure_logs


def test_what_a_request_holds_begins_no_line_of_its_own() -> None:
    stream, before = io.StringIO(), logging.root.handlers[:]
    try:
        configure_logs(Settings.model_construct(log_format="text", log_level="INFO"), stream)
        token = bound.set({"request_id": "/v1/\nINFO a line"})
        logging.getLogger("test").info("GET %s", "/x\r\n2026-01-01 ERROR \x1b[31mforged\u2028")
        bound.reset(token)
        try:
            raise ValueError("of two lines")
        except ValueError:
            logging.getLogger("test").exception("failed")
    finally:
        logging.root.handlers[:] = before
    first, second, *trace = stream.getvalue().splitlines()
    assert "\\x0d\\x0a2026-01-01 ERROR \\x1b[31mforged\\x2028 request_id=/v1/\\x0aINFO a line" in first
    assert second.endswith("failed")
    assert trace[0].startswith("Traceback")


def test_what_assets_say_is_a_line_and_dagsters_own_events_are_none() -> None:
    stream, before = io.StringIO(), logging.root.handlers[:]
    logger = logging.Logger("dagster")
    logger.addHandler(RunLines())

    def say(event: object) -> None:
        logger.warning(
            "job - run - step - kept", extra={"dagster_meta": {"dagster_event": event, "orig_message": "kept"}}
        )

    try:
        configure_logs(LogSettings(log_format="json"), stream)
        with bound_to(run_id="r1", asset="facts/s", partition="2026-01-01-00"):
            say(None)
            say("STEP_FAILURE")
    finally:
        logging.root.handlers[:] = before
    (line,) = map(json.loads, stream.getvalue().splitlines())
    assert (line["body"], line["run_id"], line["asset"], line["partition"]) == (
        "kept",
        "r1",
        "facts/s",
        "2026-01-01-00",
    )
