"""What a worker's sessions hold and wait for, as metrics: read when they are collected, so that no event pays."""

from collections.abc import Iterator, Mapping

from opentelemetry.metrics import Observation

from streamgauge.telemetry.catalog import metrics as catalog
from streamgauge.telemetry.metrics import observe
from streaming.worker.pipeline import StateSize
from streaming.worker.session import Session


def export_gauges(sessions: Mapping[str, Session]) -> None:
    """`sessions` has each stream's present one, and may change."""

    def states() -> Iterator[tuple[str, StateSize]]:
        found = ((stream, session.state) for stream, session in list(sessions.items()))
        return ((stream, state) for stream, state in found if state is not None)

    def sizes() -> Iterator[Observation]:
        for stream, state in states():
            yield Observation(state.id_bytes, {"stream": stream, "kind": "ids"})
            yield Observation(state.sketch_bytes, {"stream": stream, "kind": "sketches"})

    def queued() -> Iterator[Observation]:
        for stream, session in list(sessions.items()):
            for stage, batches in session.queued.items():
                yield Observation(batches, {"stream": stream, "stage": stage})

    def waits() -> Iterator[Observation]:
        for stream, session in list(sessions.items()):
            for stage, waited in session.waits.items():
                of = {"stream": stream, "stage": stage}
                yield Observation(waited.idle, {**of, "state": "idle"})
                yield Observation(waited.backpressured, {**of, "state": "backpressured"})

    observe(catalog.STATE_IDS, lambda: (Observation(s.ids, {"stream": stream}) for stream, s in states()))
    observe(catalog.STATE_MINUTES, lambda: (Observation(s.minutes, {"stream": stream}) for stream, s in states()))
    observe(catalog.STATE_SKETCHES, lambda: (Observation(s.sketches, {"stream": stream}) for stream, s in states()))
    observe(catalog.STATE_SIZE, sizes)
    observe(catalog.QUEUE_BATCHES, queued)
    observe(catalog.STAGE_TIME, waits)
