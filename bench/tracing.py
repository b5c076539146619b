"""What traces cost the worker: the same topic read from its start by a worker that exports all of its spans, and by one
that makes none, in turns.
"""

import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from psycopg import sql

from bench import program, worker
from bench.figures import Run, run
from bench.report import Row
from streamgauge.contract.model import Contract
from streamgauge.settings import Settings
from streamgauge.stores.postgres import connect

MOST_LOST = 0.03


@dataclass(frozen=True)
class Traced:
    """Runs of the worker, each list in their order."""

    on: list[Run]
    off: list[Run]

    @property
    def lost(self) -> float:
        """The share of the throughput that traces take."""
        return 1 - median(r.per_second for r in self.on) / median(r.per_second for r in self.off)


def measure(contract: Contract, folder: Path, records: int, rounds: int, on_progress: Callable[[int], None]) -> Traced:
    traced = Traced([], [])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    exporting = {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}"}
    with program.running(folder / "collector.log", "bench.children.collector", str(port)):
        for n in range(rounds):
            turns: list[tuple[list[Run], Mapping[str, str]]] = [(traced.off, {}), (traced.on, exporting)]
            # neither always meets what the other has left warm
            for found, environment in turns if n % 2 == 0 else reversed(turns):
                _forget(contract)
                with worker.running(contract, folder, environment) as process:
                    found.append(run(worker.watch(process, contract, records, on_progress)))
    return traced


def rows(traced: Traced) -> list[Row]:
    cost = median(r.steady_us for r in traced.on) / median(r.steady_us for r in traced.off) - 1
    return [
        Row("this worker without traces", f"{median(r.per_second for r in traced.off):,.0f}/s"),
        Row(
            "  with all of them exported",
            f"{median(r.per_second for r in traced.on):,.0f}/s, {traced.lost:.1%} lost",
            None,
            f"< {MOST_LOST:.0%} lost",
            traced.lost < MOST_LOST,
        ),
        Row("  CPU an event, without the start", f"{cost:+.1%}"),
    ]


def _forget(contract: Contract) -> None:
    """What the speed layer has of the stream: a worker then begins where the log does."""
    with connect(Settings.for_role("admin")) as connection:
        for table in (contract.minutes_table, contract.top_table):
            connection.execute(sql.SQL("truncate {}").format(sql.Identifier(table)))
        for table in ("stream_offsets", "stream_delays", "stream_arrivals", "dead_letters"):
            connection.execute(
                sql.SQL("delete from {} where topic = %s").format(sql.Identifier(table)), (contract.topic,)
            )
