"""Threads that nobody waits for: what ends one is logged, counted, and starts it again."""

import logging
import threading
from collections.abc import Callable

from streamgauge.telemetry import metrics

log = logging.getLogger(__name__)

_PAUSE_SECONDS = 1.0
"""Between two starts: without it a thread that fails at once would fill the log and a core."""


def supervised(name: str, work: Callable[[], None], stop: threading.Event) -> threading.Thread:
    """A daemon thread that runs `work` until it returns or `stop` is set. An exception starts it again."""

    def run() -> None:
        while not stop.is_set():
            try:
                work()
                return
            except Exception as e:
                note_failure(name, e)
                stop.wait(_PAUSE_SECONDS)

    metrics.THREAD_FAILURES.add(0, {"thread": name})
    return threading.Thread(target=run, name=name, daemon=True)


def note_failure(name: str, e: BaseException) -> None:
    """Counts and logs what ended a thread: the type and the place, but not the text, which may quote an event."""
    metrics.THREAD_FAILURES.add(1, {"thread": name, "error.type": type(e).__name__})
    log.error("the thread %s ended by %s%s", name, type(e).__name__, place_of(e))


def place_of(e: BaseException) -> str:
    """Where an error was raised, as the end of a sentence."""
    at = e.__traceback__
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    return "" if at is None else f" in {at.tb_frame.f_code.co_filename}, line {at.tb_lineno}"


def watch_other_threads() -> None:
    """Counts and logs what ends a thread that is not supervised, a library's for instance."""

    def ended(arguments: threading.ExceptHookArgs) -> None:
        if arguments.exc_value is not None:
            note_failure(arguments.thread.name if arguments.thread is not None else "unknown", arguments.exc_value)

    threading.excepthook = ended
