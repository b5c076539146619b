"""A run's trace and the log lines of its assets. The trace's id is the run's: who has one has the other.

Runs are few, so all of them are kept. A run's process ends without the handlers of `atexit`, so its end is exported
when its resources are given back.
"""

import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from functools import cache
from logging import getLogger
from uuid import UUID

import dagster as dg
from opentelemetry import trace
from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import Link, Span, SpanContext, TraceFlags

from streamgauge.contract.model import Contract
from streamgauge.dagster.keys import AssetPath
from streamgauge.dagster.names import PARTITION_TAG, RANGE_END_TAG, RANGE_START_TAG
from streamgauge.telemetry.catalog import attributes as a
from streamgauge.telemetry.catalog import log_fields as f
from streamgauge.telemetry.log_export import flush_logs
from streamgauge.telemetry.logs import bound_to
from streamgauge.telemetry.span_export import export_traces, flush_traces
from streamgauge.telemetry.threads import place_of
from streamgauge.telemetry.tracing import lasting, span

log = getLogger(__name__)

_SPAN_BITS = (1 << 64) - 1


class _RunIds(IdGenerator):
    """For a process of one run after another: a trace that begins in it is the run's."""

    def __init__(self) -> None:
        self._random = RandomIdGenerator()
        self._first = False
        self.run_id: str | None = None

    def generate_trace_id(self) -> int:
        self._first = self.run_id is not None
        return self._random.generate_trace_id() if self.run_id is None else _context(self.run_id).trace_id

    def generate_span_id(self) -> int:
        first, self._first = self._first, False
        return _context(self.run_id).span_id if first and self.run_id else self._random.generate_span_id()


@cache
def _ids(zipkin_url: str | None) -> _RunIds:
    """From its first use on, this process's spans are exported."""
    ids = _RunIds()
    export_traces("streamgauge-dagster", zipkin_url, head=ALWAYS_ON, id_generator=ids)
    return ids


@contextmanager
def run_span(run: dg.DagsterRun, zipkin_url: str | None) -> Generator[None]:
    """Around all that a run does."""
    ids = _ids(zipkin_url)
    ids.run_id = run.run_id
    try:
        started = trace.get_tracer("streamgauge.dagster").start_span(
            f"run {run.job_name}",
            trace.set_span_in_context(trace.INVALID_SPAN),
            attributes={a.RUN_ID.name: run.run_id, a.JOB.name: run.job_name, a.ASSET_PARTITION.name: _partition(run)},
        )
    finally:
        ids.run_id = None
    try:
        with lasting(started), bound_to(**{f.RUN_ID.name: run.run_id}):
            yield
    finally:
        flush_traces()
        flush_logs()


@contextmanager
def asset_span(
    context: dg.AssetExecutionContext, contract: Contract, path: AssetPath, inputs: Iterable[str] = ()
) -> Generator[Span]:
    """Around the making of an asset's partitions. `inputs` are the ids of the runs whose results it reads."""
    asset, partition = "/".join(path), _partition(context.run)
    attributes = {a.RUN_ID.name: context.run.run_id, a.ASSET.name: asset, a.ASSET_PARTITION.name: partition}
    links = [Link(_context(run_id)) for run_id in inputs if run_id != context.run.run_id and _is_run(run_id)]
    since = time.monotonic()
    fields = {f.STREAM.name: contract.stream, f.ASSET.name: asset, f.PARTITION.name: partition}
    with span(f"materialize {asset}", attributes, links=links) as making, bound_to(**fields):
        try:
            yield making
        except Exception as e:
            log.error("%s: %s failed by %s%s", asset, partition, type(e).__name__, place_of(e))
            raise
        log.info("%s: %s made in %.1f s", asset, partition, time.monotonic() - since)


def link_to(making: Span, runs: Iterable[str]) -> None:
    """Those whose results it turned out to have read."""
    for run_id in filter(_is_run, runs):
        making.add_link(_context(run_id))


def _is_run(run_id: str) -> bool:
    """What stands in Postgres may also have been made by no run."""
    try:
        return UUID(run_id).int != 0
    except ValueError:
        return False


def _context(run_id: str) -> SpanContext:
    """Of the first span of a run."""
    number = UUID(run_id).int
    return SpanContext(number, number & _SPAN_BITS, True, TraceFlags(TraceFlags.SAMPLED))


def _partition(run: dg.DagsterRun) -> str:
    """The key of its partition, or the first and the last of them."""
    key = run.tags.get(PARTITION_TAG, "")
    first, last = run.tags.get(RANGE_START_TAG, key), run.tags.get(RANGE_END_TAG, key)
    return first if first == last else f"{first}...{last}"
