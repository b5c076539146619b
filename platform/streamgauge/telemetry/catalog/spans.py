"""Spans. Their names and attributes follow the conventions for messaging and HTTP."""

from streamgauge.telemetry.catalog import attributes as a
from streamgauge.telemetry.catalog.model import Emitter, Span

_BATCH = (a.MESSAGING_SYSTEM, a.OPERATION_NAME, a.OPERATION_TYPE, a.DESTINATION, a.BATCH_COUNT)

SEND = Span("send TOPIC", "producer", "A batch that is sent.", Emitter.PRODUCER, (*_BATCH, a.CONVERSATION))
PROCESS = Span(
    "process TOPIC",
    "consumer",
    "A batch from read to commit. It has many senders, so it has no parent but links to them.",
    Emitter.WORKER,
    (*_BATCH, a.CONSUMER_GROUP),
    link_attributes=(a.CONVERSATION,),
)
REQUEST = Span(
    "METHOD ROUTE",
    "server",
    "A request from its arrival to the end of its answer.",
    Emitter.API,
    (a.HTTP_METHOD, a.HTTP_ROUTE, a.HTTP_STATUS, a.ERROR_TYPE, a.REQUEST_ID),
)

SPANS = (SEND, PROCESS, REQUEST)
