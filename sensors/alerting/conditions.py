"""The conditions that the alert sensor evaluates, and the alerts that each may raise. docs/alerts.md shows this list.

To add one: name it here, write its runbook, and evaluate it in `sensors/alerting/evaluation.py`.
"""

from dataclasses import dataclass

STALE_CAUSE = "stale/"
NOT_EVALUATED = "StreamgaugeConditionNotEvaluated"


@dataclass(frozen=True)
class AlertKind:
    """One row of the table in docs/alerts.md. `runbook` is a page of docs/runbooks."""

    name: str
    severity: str
    when: str
    ends: str
    runbook: str


@dataclass(frozen=True)
class Condition:
    """What is evaluated by itself: an error in one leaves the others alone."""

    name: str
    kinds: tuple[AlertKind, ...]

    def raises(self, alert: str) -> bool:
        return any(k.name == alert for k in self.kinds)


_BOTH = "warning, then critical"
_FRESH = "its data is within 0.8 of the target again"

FRESHNESS = Condition(
    "freshness",
    (
        AlertKind("StreamgaugeKafkaAway", _BOTH, "Kafka gave no answer for 20 s", "Kafka answers", "kafka-away"),
        AlertKind(
            "StreamgaugeWorkerStopped",
            _BOTH,
            "no commit for any stream in half of the shortest `freshness`",
            "the worker commits",
            "worker-stopped",
        ),
        AlertKind("StreamgaugeDataStale", _BOTH, "an asset is behind by more than its target", _FRESH, "data-stale"),
    ),
)
PROMETHEUS = Condition(
    "prometheus",
    (
        AlertKind(
            "StreamgaugePrometheusSilent",
            _BOTH,
            "Alertmanager has missed the Watchdog of Prometheus for 3 min",
            "the Watchdog arrives",
            "prometheus-silent",
        ),
    ),
)
RUNS = Condition(
    "runs",
    (
        AlertKind(
            "StreamgaugeRunFailed",
            "warning",
            "a run failed and Dagster will not retry it",
            "a success of the same asset and partition, or `alerts accept`",
            "run-failed",
        ),
    ),
)
CHECKS = Condition(
    "checks",
    (
        AlertKind(
            "StreamgaugeCheckFailed",
            "warning",
            "a check of severity ERROR failed",
            "the same check passes for that partition, or `alerts accept`",
            "check-failed",
        ),
    ),
)
UNEXPLAINED = Condition(
    "unexplained hours",
    (
        AlertKind(
            "StreamgaugeHourUnexplained",
            "critical",
            "the layers differ in an hour, with nothing that explains it",
            "it is explained, repaired, or `reconcile accept`",
            "hour-unexplained",
        ),
    ),
)
ARRIVALS = Condition(
    "arrivals",
    (
        AlertKind(
            "StreamgaugeManyLate",
            "warning",
            "of a partition's records, more than a tenth and at least 100 were late",
            "a quarter of an hour without",
            "many-late",
        ),
        AlertKind(
            "StreamgaugeProducerAhead",
            "warning",
            "a record's time was more than 5 s ahead of the broker's clock",
            "a quarter of an hour without",
            "clocks-disagree",
        ),
        AlertKind(
            "StreamgaugeRecordsMisplaced",
            "warning",
            "a record stood in a partition where its key does not belong, or had no key",
            "a quarter of an hour without",
            "records-misplaced",
        ),
        AlertKind(
            "StreamgaugeClocksDisagree",
            "warning",
            "a watermark is more than 5 s in the future",
            "no watermark is",
            "clocks-disagree",
        ),
    ),
)
CONTRACTS = Condition(
    "contracts",
    (
        AlertKind(
            "StreamgaugeContractFaulty",
            "critical",
            "a file in the contracts folder has a mistake and is set aside",
            "the file is put right",
            "contract-faulty",
        ),
    ),
)
ANOMALIES = Condition(
    "anomalies",
    (
        AlertKind(
            "StreamgaugeAnomaly",
            "warning",
            "a series is where chance would not have it",
            "each is over, or `anomalies ack` or `expect`",
            "anomaly",
        ),
    ),
)
NUMBERS = Condition(
    "numbers",
    (
        AlertKind(
            "StreamgaugeNumberOutOfBounds",
            _BOTH,
            "a number is out of the bounds that its contract sets",
            "it is within them for `forMinutes`, at least 5 minutes",
            "number-out-of-bounds",
        ),
    ),
)
CONDITIONS = (FRESHNESS, PROMETHEUS, RUNS, CHECKS, UNEXPLAINED, ARRIVALS, CONTRACTS, ANOMALIES, NUMBERS)

EVALUATION = AlertKind(
    NOT_EVALUATED,
    "warning",
    "evaluating one of these conditions raised an error; its open alerts stay open",
    "the condition is evaluated again",
    "condition-not-evaluated",
)
KINDS = (*(k for c in CONDITIONS for k in c.kinds), EVALUATION)
