"""Spans. Their names and attributes follow the conventions for messaging, databases and HTTP. `error.type` may be on
each.
"""

from streamgauge.telemetry.catalog import attributes as a
from streamgauge.telemetry.catalog.model import Attribute, Emitter, Span

_BATCH = (a.MESSAGING_SYSTEM, a.OPERATION_NAME, a.OPERATION_TYPE, a.DESTINATION, a.BATCH_COUNT)
_STATEMENT = (a.DB_SYSTEM, a.DB_OPERATION, a.DB_COLLECTION, a.ROWS)


def _worker(name: str, meaning: str, *attributes: Attribute, kind: str = "internal") -> Span:
    return Span(name, kind, meaning, Emitter.WORKER, attributes)


SEND = Span("send {topic}", "producer", "A batch that is sent.", Emitter.PRODUCER, (*_BATCH, a.CONVERSATION))

PROCESS = Span(
    "process {topic}",
    "consumer",
    "A batch from read to commit. It has many senders, so it has no parent but links to them. Batches of one "
    "transaction are linked to the first of them, which has the spans of the transaction.",
    Emitter.WORKER,
    (*_BATCH, a.CONSUMER_GROUP),
    link_attributes=(a.CONVERSATION,),
)
POLL = _worker("poll {topic}", "Its reading.", *_BATCH, a.CONSUMER_GROUP, a.BYTES, kind="client")
DECODE = _worker("decode", "From bytes to columns.", a.RECORDS, a.BYTES)
CHECK = _worker("check", "The contract's rules, and what the rollup needs.", a.RECORDS, a.EVENTS, a.DEAD_LETTERS)
VERIFY = _worker("verify topic", "The broker is asked whether the topic is still the one that was read.")
CLASSIFY = _worker(
    "classify",
    "What becomes of the events, and their sums: of all batches of a transaction, to which it is linked.",
    *(a.RECORDS, a.COUNTED, a.LATE, a.DUPLICATES, a.DEAD_LETTERS),
)
COMMIT = _worker("commit", "The transaction, with its repetitions and what it waits for.", a.OFFSETS, a.ROWS)
UPDATE = _worker("UPDATE {table}", "A statement of it.", *_STATEMENT, kind="client")
INSERT = _worker("INSERT {table}", "A statement of it.", *_STATEMENT, kind="client")
COMMITTED = _worker("COMMIT", "Postgres's own commit.", a.DB_SYSTEM, a.DB_OPERATION, kind="client")
PUBLISH = _worker("publish", "What is published after a commit. It is linked to those that came before it was.")
REDIS = _worker("EVALSHA", "What Redis gets.", a.DB_SYSTEM, a.DB_OPERATION, a.DB_BATCH, kind="client")
COUNTS = _worker("publish {topic}", "Minute counts or dead letters that are sent.", *_BATCH, kind="producer")

REQUEST = Span(
    "{method} {route}",
    "server",
    "A request from its arrival to the end of its answer.",
    Emitter.API,
    (a.HTTP_METHOD, a.HTTP_ROUTE, a.HTTP_STATUS, a.ERROR_TYPE, a.REQUEST_ID),
)
STORE = Span(
    "postgresql",
    "client",
    "A request's use of Postgres, waiting for a connection included. Linked to the commit that wrote the newest rows.",
    Emitter.API,
    (a.DB_SYSTEM,),
)
CACHE = Span("redis", "client", "A request's use of Redis.", Emitter.API, (a.DB_SYSTEM,))
ANSWER = Span("answer", "internal", "The making of an answer from what was read.", Emitter.API, (a.BYTES,))

RUN = Span(
    "run {job}",
    "internal",
    "A run, from its first step to its end. All runs are kept.",
    Emitter.DAGSTER,
    (a.RUN_ID, a.JOB, a.ASSET_PARTITION),
)
ASSET = Span(
    "materialize {asset}",
    "internal",
    "The making of an asset's partitions: of the lake with the offsets it read, of facts linked to the runs that took "
    "their records into the lake, of rollups and reconciliation linked to the runs that built the facts.",
    Emitter.DAGSTER,
    (a.RUN_ID, a.ASSET, a.ASSET_PARTITION, a.ROWS, a.OFFSETS),
)

SPANS = tuple(value for value in vars().values() if isinstance(value, Span))
