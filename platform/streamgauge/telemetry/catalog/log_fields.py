"""Fields of a log line in JSON, named as in OpenTelemetry's log data model."""

from streamgauge.telemetry.catalog.model import Emitter, LogField

TIMESTAMP = LogField("timestamp", "When it was written, in UTC.")
SEVERITY = LogField("severity_text", "DEBUG, INFO, WARNING, ERROR or CRITICAL.")
LOGGER = LogField("logger", "The module.")
THREAD = LogField("thread", "The thread's name.")
BODY = LogField("body", "What happened, in words.")
EXCEPTION = LogField("exception", "The traceback of an error that nobody foresaw.", conditional=True)
TRACE_ID = LogField("trace_id", "The trace it belongs to.")
SPAN_ID = LogField("span_id", "The span in which it was written.")
REQUEST_ID = LogField("request_id", "The request it was written for.", (Emitter.API,))
CORRELATION_ID = LogField("correlation_id", "The sender's, of events that came over HTTP.", (Emitter.API,))
STREAM = LogField("stream", "The stream it is about.", (Emitter.WORKER, Emitter.API, Emitter.DAGSTER))
OFFSETS = LogField(
    "offsets", "Records of the transaction it was written in, as PARTITION:FIRST-LAST.", (Emitter.WORKER,)
)
RUN_ID = LogField("run_id", "The run of Dagster; without dashes it is the trace's id.", (Emitter.DAGSTER,))
ASSET = LogField("asset", "The asset that is made.", (Emitter.DAGSTER,))
PARTITION = LogField("partition", "Its partition, or the first and the last of them.", (Emitter.DAGSTER,))
SENSOR = LogField("sensor", "The sensor whose tick it is.", (Emitter.DAGSTER,))

LOG_FIELDS = tuple(value for value in vars().values() if isinstance(value, LogField))
