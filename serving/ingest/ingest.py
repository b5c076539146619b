"""From a request to its verdicts: admitted, read, given to the batcher, and answered when Kafka has it."""

import asyncio
import random
import re
from dataclasses import dataclass

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags
from starlette.requests import Request

from serving.context import current
from serving.ingest.batcher import Batcher, Job, Verdicts
from serving.ingest.body import form_of, read_body
from serving.ingest.publisher import Publisher
from serving.problems import CROWDED, Problem
from streamgauge.contract.model import Contract
from streamgauge.settings import Settings
from streamgauge.telemetry.catalog.log_fields import CORRELATION_ID

_REQUESTS = 64
"""At once, each with a body in memory."""
_GIVEN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(frozen=True)
class Accepted:
    verdicts: Verdicts
    correlation_id: str


class Ingest:
    def __init__(self, settings: Settings) -> None:
        self._publisher = Publisher(settings)
        self._batcher = Batcher(settings, self._publisher)
        self._requests = 0

    def open(self) -> None:
        self._publisher.open()
        self._batcher.start()

    def close(self) -> None:
        self._batcher.stop()
        self._publisher.close()

    async def take(self, request: Request, contract: Contract, sender: str) -> Accepted:
        """`sender` names in the records' headers who sent them. Raises a problem where nothing was taken, or it isn't
        known what was."""
        form = form_of(request.headers)
        if self._requests >= _REQUESTS:
            raise Problem(CROWDED, f"{_REQUESTS} requests are being taken.", headers={"Retry-After": "1"})
        self._requests += 1
        try:
            self._publisher.admit(0)
            body = await read_body(request)
            given = request.headers.get("x-correlation-id", "")
            correlation_id = given if _GIVEN_ID.fullmatch(given) else current().request_id
            current().about[CORRELATION_ID.name] = correlation_id
            answered: asyncio.Future[Verdicts] = asyncio.get_running_loop().create_future()
            self._batcher.submit(Job(contract, form, request.headers, body, sender, correlation_id, _span(), answered))
            return Accepted(await answered, correlation_id)
        finally:
            self._requests -= 1


def _span() -> Context:
    """The request's; where nobody records one, its trace id goes on all the same, as the answer names it."""
    span = trace.get_current_span()
    if not span.get_span_context().is_valid:
        trace_id, span_id = int(current().trace_id, 16), random.getrandbits(64) or 1
        span = NonRecordingSpan(SpanContext(trace_id, span_id, True, TraceFlags(TraceFlags.DEFAULT)))
    return trace.set_span_in_context(span)
