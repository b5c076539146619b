"""What an entry of the list says."""

import re
from dataclasses import dataclass
from enum import StrEnum

SEMANTIC_CONVENTIONS = "1.44.0"
"""The version of https://opentelemetry.io/docs/specs/semconv/ that the names are taken from."""


class Stability(StrEnum):
    """A stable name is renamed with a word in the changelog only; one in development at any time."""

    STABLE = "stable"
    DEVELOPMENT = "development"


class Kind(StrEnum):
    COUNTER = "counter"
    UP_DOWN_COUNTER = "up-down counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    BULK_HISTOGRAM = "bulk histogram"
    """A counter with the attribute `le`, cumulative: it takes many values at once."""


class Emitter(StrEnum):
    WORKER = "worker"
    API = "API"
    PRODUCER = "producer"
    POSTGRES = "postgres"
    REDIS = "redis"
    KAFKA = "kafka"
    DAGSTER = "Dagster"
    HOST = "host"
    PROCESSES = "processes"


EVERY_PROCESS = (Emitter.WORKER, Emitter.API, Emitter.PRODUCER)
"""Of those that serve metrics themselves."""
EVERY_LOG = (*EVERY_PROCESS, Emitter.DAGSTER)
"""Of those that write log lines in our form: of Dagster's what assets, checks and sensors say, not Dagster itself."""


@dataclass(frozen=True)
class Attribute:
    name: str
    meaning: str
    convention: bool = False
    """Whether OpenTelemetry's conventions have it."""
    stability: Stability = Stability.STABLE
    conditional: bool = False
    """Whether it is left out where there is none: an error's, of what went well."""

    @property
    def label(self) -> str:
        """Its name in Prometheus."""
        return self.name.replace(".", "_")


@dataclass(frozen=True)
class Metric:
    """An instrument. `observed` ones are read at each collection and cost nothing in between."""

    name: str
    kind: Kind
    unit: str
    meaning: str
    emitters: tuple[Emitter, ...]
    attributes: tuple[Attribute, ...] = ()
    observed: bool = False
    convention: bool = False
    stability: Stability = Stability.STABLE

    @property
    def series(self) -> tuple[str, ...]:
        """The names of its series in Prometheus, as OpenTelemetry's exporter makes them."""
        name = self.name.replace(".", "_")
        suffix = {"s": "_seconds", "By": "_bytes"}.get(self.unit, "")
        base = name if name.endswith(suffix) else name + suffix
        match self.kind:
            case Kind.COUNTER | Kind.BULK_HISTOGRAM:
                return (f"{base}_total",)
            case Kind.HISTOGRAM:
                return f"{base}_bucket", f"{base}_count", f"{base}_sum"
            case Kind.GAUGE | Kind.UP_DOWN_COUNTER:
                return (base,)


@dataclass(frozen=True)
class LibraryMetric:
    """A series of a library or server, under the name that it gives. `labels` are its own."""

    name: str
    unit: str
    meaning: str
    emitters: tuple[Emitter, ...]
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Span:
    """`name` has what varies in braces."""

    name: str
    kind: str
    meaning: str
    emitter: Emitter
    attributes: tuple[Attribute, ...] = ()
    link_attributes: tuple[Attribute, ...] = ()

    def names(self, name: str) -> bool:
        return re.fullmatch(re.sub(r"\\{\w+\\}", ".+", re.escape(self.name)), name) is not None


@dataclass(frozen=True)
class LogField:
    name: str
    meaning: str
    emitters: tuple[Emitter, ...] = EVERY_LOG
    stability: Stability = Stability.STABLE
    conditional: bool = False
    """Whether it is on few lines only, such as an error's that nobody foresaw."""
