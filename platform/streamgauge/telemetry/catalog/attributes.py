"""Attributes of metrics and spans."""

from streamgauge.telemetry.catalog.model import Attribute, Stability

STREAM = Attribute("stream", "The stream, as its contract names it.")
VERDICT = Attribute("verdict", "What became of a record: counted, late, duplicates, dead_letters or lost.")
KIND = Attribute("kind", "How a record arrived: late, ahead or misplaced.")
CAUSE = Attribute("cause", "The type of the error that ended a session.")
TARGET = Attribute("target", "Where something is published or delivered to.")
THREAD = Attribute("thread", "The thread's name.")
PARTITION = Attribute("partition", "The partition's number.")
STATE_KIND = Attribute("kind", "ids or sketches.", stability=Stability.DEVELOPMENT)
STAGE = Attribute("stage", "read, classify or commit.", stability=Stability.DEVELOPMENT)
WAITS = Attribute("state", "idle: nothing to do; backpressured: no room behind it.", stability=Stability.DEVELOPMENT)
CACHE_RESULT = Attribute("result", "hit, or miss where Redis lacks them or is away.", stability=Stability.DEVELOPMENT)
RUN_STATE = Attribute("state", "queued or running.", stability=Stability.DEVELOPMENT)
LE = Attribute("le", "The bucket's upper bound in seconds, included.")
RESULT = Attribute("result", "acknowledged or failed.")
SLO = Attribute("slo", "The promise that is missed: ingestion or freshness.")
SENSOR = Attribute("sensor", "The sensor's name.")
SEVERITY = Attribute("severity", "warning or critical.")

ERROR_TYPE = Attribute(
    "error.type", "The class of an error, never its text; absent without one.", convention=True, conditional=True
)
DB_SYSTEM = Attribute("db.system.name", "postgresql or redis.", convention=True)
DB_OPERATION = Attribute("db.operation.name", "INSERT, UPDATE, COMMIT, EVALSHA, …", convention=True)
DB_BATCH = Attribute("db.operation.batch.size", "Keys that are written.", convention=True)
DB_COLLECTION = Attribute("db.collection.name", "The table.", convention=True)
HTTP_METHOD = Attribute("http.request.method", "GET, POST, …", convention=True)
HTTP_ROUTE = Attribute("http.route", "The route's pattern; `other` where there is none.", convention=True)
HTTP_STATUS = Attribute("http.response.status_code", "499 where the caller went first.", convention=True)
REQUEST_ID = Attribute("request.id", "The id that the answer has in `X-Request-Id`.")


def _messaging(name: str, meaning: str) -> Attribute:
    return Attribute(f"messaging.{name}", meaning, convention=True, stability=Stability.DEVELOPMENT)


MESSAGING_SYSTEM = _messaging("system", "Always kafka.")
OPERATION_NAME = _messaging("operation.name", "send, publish, poll or process.")
OPERATION_TYPE = _messaging("operation.type", "send, receive or process.")
DESTINATION = _messaging("destination.name", "The topic.")
CONSUMER_GROUP = _messaging("consumer.group.name", "The worker's consumer group.")
BATCH_COUNT = _messaging("batch.message_count", "Records in the batch.")
CONVERSATION = _messaging("message.conversation_id", "The sender's correlation id.")


def _size(name: str, meaning: str) -> Attribute:
    return Attribute(f"streamgauge.{name}", meaning, stability=Stability.DEVELOPMENT)


RECORDS = _size("records", "Records that are worked on.")
BYTES = _size("bytes", "Bytes of their values.")
EVENTS = _size("events", "Records that are valid events.")
COUNTED = _size("counted", "Events that are counted.")
LATE = _size("late", "Events that came too late.")
DUPLICATES = _size("duplicates", "Events that were counted before.")
DEAD_LETTERS = _size("dead_letters", "Records that are no valid events. A trace that has some is kept.")
ROWS = _size("rows", "Rows that are written.")
OFFSETS = _size("offsets", "Records of the transaction or of the hour, as PARTITION:FIRST-LAST.")
RUN_ID = Attribute("dagster.run.id", "The run; without dashes it is the trace's id.", stability=Stability.DEVELOPMENT)
JOB = Attribute("dagster.job.name", "The run's job.", stability=Stability.DEVELOPMENT)
ASSET = Attribute("dagster.asset.key", "The asset, with slashes.", stability=Stability.DEVELOPMENT)
ASSET_PARTITION = Attribute(
    "dagster.partition", "The partition, or the first and the last of them.", stability=Stability.DEVELOPMENT
)
SPAN_RESULT = Attribute(
    "result",
    "exported; failed: the collector did not take it; dropped: too many wait for it; unsampled.",
    stability=Stability.DEVELOPMENT,
)
LOG_RESULT = Attribute(
    "result",
    "exported; failed: the store did not take it; dropped: too many wait for it.",
    stability=Stability.DEVELOPMENT,
)
